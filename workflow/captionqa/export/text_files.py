"""Captions as one text file for each image: a/b.txt for a/b.jpg, a/b.jpg.txt where there is a/b.png too."""

from collections.abc import Iterable

from captionqa.export.caption_stream import Caption
from captionqa.export.json_text import file_name, well_formed
from captionqa.export.target import Target
from captionqa.export.unique_names import DIGEST_BYTES, name_digest, unique_names, without_suffix

#: The most bytes of a file's name on common file systems.
NAME_BYTES = 255
SUFFIX = ".txt"


def write_text_files(captions: Iterable[Caption], target: Target) -> None:
    """Write the files; each has the caption as it is."""
    records = ((caption.id, caption.text) for caption in captions)
    for name, (identity, text) in unique_names(records, without_suffix, lambda name: name, target.scratch):
        content = well_formed(text).encode()
        for path in (target.folder / _relative(name), target.folder / f"{name_digest(identity)}{SUFFIX}"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    file.write(content)
                break
            except (FileExistsError, NotADirectoryError):  # a folder is called as another caption's file
                continue


def _relative(name: str) -> str:
    """The path of a caption's file, within the folder whatever the name is."""
    parts = [part for part in file_name(name).replace("\0", "_").split("/") if part not in ("", ".", "..")] or ["_"]
    parts[-1] += SUFFIX
    return "/".join(map(_fitting, parts))


def _fitting(part: str) -> str:
    if len(part.encode("utf-8", "surrogateescape")) <= NAME_BYTES:
        return part
    kept = part.encode("utf-8", "surrogateescape")[: NAME_BYTES - 2 * DIGEST_BYTES - len(SUFFIX) - 1]
    return f"{kept.decode('utf-8', 'ignore')}-{name_digest(part)}{SUFFIX if part.endswith(SUFFIX) else ''}"
