"""Thumbnails: small JPEGs of the images on the page, made once for each version of an image."""

import hashlib
import io
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from math import inf
from pathlib import Path
from typing import NamedTuple, TypedDict
from urllib.parse import quote

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_encoding import encode_image
from captionqa.dataset.image_ref import CellRef, FileRef, ImageRef, LineRef, MemberRef
from captionqa.dataset.image_source import ImageSources, stamp_of
from captionqa.dataset.item_entry import Stamp
from captionqa.errors import ItemFailure, Reason
from captionqa.shown_text import printable

#: The most pixels of a thumbnail: those of 400 x 300.
THUMBNAIL_PX = 120_000
JPEG_QUALITY = 82
#: The most threads; decoding is all their work.
MAX_THREADS = 4
#: A picture that takes more memory to decode gets no thumbnail.
MAX_PICTURE_BYTES = 10**9
#: Raise it with each change of how thumbnails are made: those of another version are made anew.
VERSION = 1
#: Characters of a name on the page, which of an image within a plan would be the image itself.
NAME_CHARACTERS = 300
_NAME = re.compile(r"([0-9a-f]{24})-(\d+)x(\d+)\.jpg")


class PageImage(TypedDict):
    """An image on the page; one without a thumbnail has a reason."""

    name: str
    #: The thumbnail relative to the page's folder, with its size in pixels; None where there is none.
    thumbnail: str | None
    width: int
    height: int
    #: The image file itself as a URL relative to the page; None for an image within another file.
    original: str | None
    reason: str | None
    #: A caption of it, which is its alternative text; None where there is none.
    caption: str | None


class _Made(NamedTuple):
    """A thumbnail's file and its size in pixels."""

    file: str
    width: int
    height: int


class Thumbnails:
    """The thumbnails of one data set in a folder that other data sets may share."""

    def __init__(self, folder: Path, dataset: Path, allowed_roots: Sequence[Path], images: ImageSettings):
        """`folder` is inside the page's folder; `dataset` and `allowed_roots` are resolved."""
        self._folder = folder
        self._sources = ImageSources(dataset, allowed_roots)
        self._limits: ImageSettings = {
            "max_pixels": THUMBNAIL_PX,
            "pixel_grid_px": 1,
            "max_source_pixels": images["max_source_pixels"],
            "damaged": "send",
        }
        if "frame" in images:
            self._limits["frame"] = images["frame"]
        self._present = {found[1]: _made(found) for found in map(_NAME.fullmatch, _names(folder)) if found}

    def images(self, texts: Iterable[str], deadline: float = inf) -> Iterator[tuple[str, PageImage]]:
        """Each image by its reference, with its thumbnail, which is made where it is not there yet.

        Cells of one file are read in the order of their rows, since each read decodes those before it. After the
        `deadline`, by the monotonic clock, no thumbnail is begun.

        Raises:
            OSError: a thumbnail cannot be written.
        """
        stamps: dict[str, Stamp | None] = {}
        ordered = sorted(texts, key=_position)
        digests = [self._digest(text, stamp_of(self._sources.dataset, text, stamps)) for text in ordered]
        with ThreadPoolExecutor(min(MAX_THREADS, len(os.sched_getaffinity(0)))) as threads:
            yield from zip(ordered, threads.map(self._image, ordered, digests, repeat(deadline)), strict=False)

    def _image(self, text: str, digest: str, deadline: float) -> PageImage:
        image = without_thumbnail(text, None)
        try:
            if time.monotonic() > deadline and digest not in self._present:
                return image | {"reason": "there was no time for its thumbnail"}
            source = self._sources.find(text)
            made = self._present.get(digest) or self._make(source.read()[0], digest)
        except ItemFailure as failure:
            return image | {"reason": f"{failure.reason}: {failure.detail}"}
        file = source.file()
        relative = None if file is None else os.path.relpath(file, self._folder.parent.resolve())
        original = None if relative is None else quote(os.fsencode(relative))
        thumbnail = f"{self._folder.name}/{made.file}"
        return image | {"thumbnail": thumbnail, "width": made.width, "height": made.height, "original": original}

    def _make(self, data: bytes, digest: str) -> _Made:
        from PIL import Image

        sent = encode_image(data, self._limits, THUMBNAIL_PX, before_decoding=_check_memory)
        with Image.open(io.BytesIO(sent.data)) as picture:
            made = _Made(f"{digest}-{picture.width}x{picture.height}.jpg", picture.width, picture.height)
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
        temporary = self._folder / f".{made.file}"
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(self._folder / made.file)
        return made

    def _digest(self, text: str, stamp: Stamp | None) -> str:
        key = f"{VERSION}\0{self._sources.dataset}\0{text}\0{stamp}\0{self._limits.get('frame')}"
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def without_thumbnail(text: str, reason: str | None) -> PageImage:
    """An image by its reference that the page names and does not show."""
    return {
        "name": image_name(text),
        "thumbnail": None,
        "width": 0,
        "height": 0,
        "original": None,
        "reason": reason,
        "caption": None,
    }


def remove_unused(folder: Path, used: Iterable[PageImage]) -> None:
    """Remove the thumbnails of images that the page does not show any more."""
    kept = {image["thumbnail"] for image in used}
    for name in _names(folder):
        if _NAME.fullmatch(name.removeprefix(".")) and f"{folder.name}/{name}" not in kept:
            (folder / name).unlink(missing_ok=True)


def image_name(text: str) -> str:
    """How the page names an image by its reference: one line, and not too long."""
    ref = ImageRef.parse(text)
    if isinstance(ref, FileRef):
        name = ref.path
    elif isinstance(ref, MemberRef):
        name = f"{ref.container}, {ref.name}"
    elif isinstance(ref, CellRef):
        name = f"{ref.container}, row {ref.row} of row group {ref.group}, {ref.column}"
    elif isinstance(ref, LineRef):
        name = f"{ref.container}, byte {ref.start}, {ref.column}"
    else:
        name = "an image within the question file"
    return printable(name[:NAME_CHARACTERS])


def _position(text: str) -> tuple[str, int, int, str]:
    ref = ImageRef.parse(text)
    if isinstance(ref, CellRef):
        return ref.container, ref.group, ref.row, text
    if isinstance(ref, MemberRef | LineRef):
        return ref.container, 0, ref.offset if isinstance(ref, MemberRef) else ref.start, text
    return "", 0, 0, text


def _check_memory(needed: int) -> None:
    if needed > MAX_PICTURE_BYTES:
        raise ItemFailure(Reason.IMAGE_TOO_LARGE, f"it takes about {needed // 10**6} MB to decode")


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _made(found: re.Match[str]) -> _Made:
    return _Made(found[0], int(found[2]), int(found[3]))
