"""Files of a data set that are no images: which are left out by their names, and what each is called when counted."""

import re
from collections import Counter
from collections.abc import Mapping

from captionqa.dataset.image_format import RAW_SUFFIXES

#: Files that systems and programs leave in folders of images.
SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory", "Icon\r"})
#: Folders of theirs; the images in them are previews or copies.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", ".AppleDouble", ".thumbnails", "#recycle", "$RECYCLE.BIN")
_IN_SYSTEM_FOLDER = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, SYSTEM_FOLDERS))})/")
#: What macOS calls the file that holds the metadata of another, and how such a file begins.
APPLE_DOUBLE_PREFIX = "._"
APPLE_DOUBLE_MAGIC = b"\0\x05\x16\x07"
APPLE_DOUBLE = "macOS ._ files"
#: Suffixes that say what a file is; any other is a part of the name.
_SUFFIX = re.compile(r"[^/]\.([A-Za-z0-9]{1,8})$")
#: Kinds that are told apart, and those that a line names.
KINDS, SHOWN = 100, 6
OTHERS = "of other kinds"


def system_kind(name: str) -> str | None:
    """What a file is called that is left out for its path relative to the data set; None for any other file."""
    if found := _IN_SYSTEM_FOLDER.search(name):
        return f"in {found[1]}"
    return "system files" if name.rpartition("/")[2] in SYSTEM_FILES else None


def has_apple_double_name(name: str) -> bool:
    """Whether a file's content has to tell whether it is an image, whatever its suffix."""
    return name.rpartition("/")[2].startswith(APPLE_DOUBLE_PREFIX)


def kind_by_suffix(name: str) -> str:
    """What a file that is no image is called."""
    found = _SUFFIX.search(name)
    if found is None:
        return "without a suffix"
    suffix = found[1].lower()
    return f"{suffix} (camera raw)" if f".{suffix}" in RAW_SUFFIXES else suffix


class SkippedFiles(Counter[str]):
    """How many files of each kind were skipped; of a data set with very many kinds the later ones count as others."""

    def add(self, kind: str) -> None:
        self[kind if kind in self or len(self) < KINDS else OTHERS] += 1


def skipped_text(skipped: Mapping[str, int]) -> str:
    """The counts in words, such as `skipped: 20 macOS ._ files, 1 mp4`; empty where there are none."""
    if not skipped:
        return ""
    kinds = sorted(skipped.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    parts = [f"{count:,} {kind}" for kind, count in kinds[:SHOWN]]
    if rest := sum(count for _, count in kinds[SHOWN:]):
        parts.append(f"{rest:,} {OTHERS}")
    return f"skipped: {', '.join(parts)}"
