"""Captions as WebDataset: tars with a .txt and a .json for each sample, and its images untouched.

Images that are in tars already are not copied: beside each of these a tar is written that has the texts under the same
keys in the same order, under the same name. Images are read in the order in which they are stored.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from captionqa.client.item import NEW_PICTURE
from captionqa.client.item_file import content_digest
from captionqa.dataset.image_format import has_image_suffix, identify
from captionqa.dataset.image_ref import CellRef, FileRef, ImageRef, LineRef, MemberRef
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.tar_items import sample_key
from captionqa.errors import ItemFailure, ResultError
from captionqa.export.caption_stream import SORTED_RECORDS, Caption
from captionqa.export.json_text import json_text, well_formed
from captionqa.export.tar_files import Sample, TarFiles
from captionqa.export.target import Target
from captionqa.export.unique_names import unique_names, without_suffix
from captionqa.external_sort import ExternalSort

#: The stem of tars that hold images.
STEM = "captions"
#: Suffixes that WebDataset decodes, by the format of a file; other formats have their own names.
SUFFIXES = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tiff"}
HEAD_BYTES = 64
#: What WebDataset does not read in a key: line breaks, and dots in its last part.
_BREAKS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: What it takes for notes of its own.
NOTES = "__"

#: Where an image is stored: (how, container, row group or 0, row or offset).
Position = tuple[int, str, int, int]


def write_webdataset(captions: Iterable[Caption], target: Target) -> None:
    """Write the tars.

    Raises:
        ResultError: an image cannot be read any more, or has another content than when it was captioned.
    """
    sources = target.sources
    assert sources is not None
    with ExternalSort(target.scratch, SORTED_RECORDS) as placed, TarFiles(target) as tars:
        records = ((caption.id, caption.fields()) for caption in captions)
        for key, (_, fields) in unique_names(records, _short_key, _whole_key, target.scratch):
            placed.add((*_position(Caption(*fields)), key, fields))
        for *_, key, fields in placed:
            caption = Caption(*fields)
            ref = ImageRef.parse(caption.images[0])
            if isinstance(ref, MemberRef):
                tars.start(_beside(ref.container), is_numbered=False)
                tars.add(_texts(_own_key(caption.id, ref), caption))
            else:
                tars.start(STEM, is_numbered=True)
                tars.add([*_images(key, caption, sources), *_texts(key, caption)])


def _texts(key: str, caption: Caption) -> Sample:
    about = {"id": caption.id, **caption.circumstances()}
    return [(f"{key}.txt", well_formed(caption.text).encode()), (f"{key}.json", json_text(about).encode())]


def _images(key: str, caption: Caption, sources: ImageSources) -> Iterator[tuple[str, bytes]]:
    for number, (text, digest) in enumerate(zip(caption.images, caption.digests, strict=True)):
        try:
            source = sources.find(text)
            data = source.read()[0]
        except ItemFailure as failure:
            raise ResultError(
                f"export.captions: webdataset: the image of {caption.id!r} cannot be read any more ({failure.detail}); "
                "put it back, or run again without it."
            ) from failure
        if content_digest(data) != digest.removesuffix(NEW_PICTURE):
            raise ResultError(
                f"export.captions: webdataset: {source.described()} has changed since it was captioned; run again, "
                "which captions it anew."
            )
        suffix = _suffix(text, data)
        yield f"{key}.{suffix}" if len(caption.images) == 1 else f"{key}.{number}.{suffix}", data


def _suffix(text: str, data: bytes) -> str:
    ref = ImageRef.parse(text)
    if isinstance(ref, FileRef) and has_image_suffix(ref.path):
        return PurePosixPath(ref.path).suffix[1:].lower()
    kind = identify(data[:HEAD_BYTES]) or "img"
    return SUFFIXES.get(kind, kind.lower())


def _position(caption: Caption) -> Position:
    ref = ImageRef.parse(caption.images[0])
    if isinstance(ref, MemberRef):
        return 0, ref.container, 0, ref.offset
    if isinstance(ref, CellRef):
        return 1, ref.container, ref.group, ref.row
    if isinstance(ref, LineRef):
        return 1, ref.container, 0, ref.start
    return 1, "", 0, 0


def _beside(container: str) -> str:
    """The stem of the tar of texts that belongs to a tar of images."""
    parts = [part for part in PurePosixPath(container).with_suffix("").parts if part not in ("/", "..")]
    return "/".join(parts)


def _own_key(name: str, ref: MemberRef) -> str:
    """The key under which the texts of an image of a tar belong to its sample; `name` is that of the item."""
    key, member = sample_key(ref.name)
    candidates = (key, member, f"{member}#{ref.offset}")
    return next((own for own in candidates if name in (own, f"{ref.container}/{own}")), key)


def _short_key(name: str) -> str:
    return _key(without_suffix(name))


def _whole_key(name: str) -> str:
    return _key(name)


def _key(name: str) -> str:
    """A key that WebDataset reads: its readers take what follows the first dot of the last part for the suffix."""
    *folders, last = [part for part in _BREAKS.sub("_", name).split("/") if part not in ("", ".", "..")] or ["_"]
    key = "/".join([*folders, last.replace(".", "_")])
    return f"x{key}" if key.startswith(NOTES) else key
