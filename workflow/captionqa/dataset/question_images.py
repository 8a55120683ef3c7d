"""The images of a row: paths as they are, and cells with bytes by the place where these are."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from captionqa.dataset.cell import CellError, is_empty
from captionqa.dataset.embedded import Embedded
from captionqa.dataset.field_value import ELEMENT_NUMBER, Source, parsed, reader_of
from captionqa.dataset.image_cell import MAX_PATH, MIN_BASE64, image_list, is_inline
from captionqa.dataset.image_ref import CellRef, FileRef, LineRef, UrlRef
from captionqa.dataset.table_files import KINDS
from captionqa.dataset.table_rows import RowPlace

#: What a plain path does not have: blanks around it, and the signs of addresses, of lists and of references.
_UNUSUAL = re.compile(r"^\s|\s$|[:#{\[]")
_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|hf)://", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:/", re.IGNORECASE)
#: The fields of a struct that may hold the path of an image.
_PATHS = ("path", "file_name", "filename", "url")
#: Stands for the number of an element that a reference has no place for.
NAMELESS = -1


class RowImages:
    """Names the images of rows; paths are relative to the folder of the data set."""

    def __init__(self, dataset: Path, source: Source, allow_urls: bool = False, explode: str | None = None):
        """`source` is the columns of images, in their order; `explode` is the column whose elements are rows."""
        self._allow_urls = allow_urls
        self._dataset = os.path.abspath(dataset)
        paths = [source] if isinstance(source, str) else source if isinstance(source, Sequence) else []
        self._readers = [(path, reader_of(path)) for path in paths]
        self._container = cache(self._container_of)
        self._explode = explode
        #: The first image at an address that is not fetched, as the beginning of a sentence.
        self.address: str | None = None

    def images(self, cells: Mapping[str, Any], place: RowPlace) -> list[str | None]:
        """The images of a row in their order, None for a place without one; in the form of `image_ref`.

        Raises:
            CellError: a cell holds something else.
        """
        images: list[str | None] = []
        for path, read in self._readers:
            value = read(cells)
            if isinstance(value, str) and "[" in value:
                value = value if (elements := image_list(value)) is None else elements
            images += self._images(value, cells, place, path)
        return images

    def _images(self, value: Any, cells: Mapping[str, Any], place: RowPlace, path: str) -> Iterator[str | None]:
        number = cells.get(ELEMENT_NUMBER) if self._is_exploded(path) else None
        if not isinstance(value, list):
            yield self._image(value, cells, place, path, number)
            return
        for index, one in enumerate(value):
            if number is not None:
                index = number if len(value) == 1 else NAMELESS
            for inner in _flat(one):
                yield self._image(inner, cells, place, path, index)

    def _image(self, value: Any, cells: Mapping[str, Any], place: RowPlace, path: str, index: int | None) -> str | None:
        if isinstance(value, str) and len(value) < MIN_BASE64 and not _UNUSUAL.search(value):
            return value or None
        value = parsed(value)
        if isinstance(value, Mapping):
            if value.get("bytes"):
                return self.cell(cells, place, path, index)
            if not any(name in value for name in ("bytes", *_PATHS)):
                raise CellError(f"must be a path or a list of paths, not {str(value)[:60]}")
            value = next((value[name] for name in _PATHS if value.get(name)), None)
        if is_empty(value):
            return None
        if isinstance(value, Embedded):
            return self.cell(cells, place, path, index)
        if not isinstance(value, str):
            raise CellError(f"must be a path or a list of paths, not {str(value)[:60]}")
        if self._allow_urls and UrlRef.FORM.match(value):
            return str(UrlRef(urldefrag(value).url))
        if self.address is None and _ADDRESS.match(value):
            self.address = f"{place}: the image is the address {value[:80]!r}"
        if is_inline(value):
            return self.cell(cells, place, path, index)
        if len(value) >= MAX_PATH:
            raise CellError(f"holds a text that is neither a path nor an image: {value[:20]!r}...")
        return str(FileRef(unquote(urlsplit(value).path) if _FILE_ADDRESS.match(value) else value))

    def cell(self, cells: Mapping[str, Any], place: RowPlace, path: str, index: int | None) -> str:
        """The reference to a cell with the bytes of an image."""
        if index == NAMELESS:
            raise CellError("holds several images in one element of a list; write them as files, and their paths here")
        container = self._container(place.file)
        if place.group >= 0:
            return str(CellRef(container, place.group, place.row_in_group, path, index))
        column = path
        if KINDS.get(place.file.suffix.lower()) in ("csv", "tsv"):
            column = str(list(cells).index(path))
        return str(LineRef(container, place.offset, place.length, column, index))

    def _is_exploded(self, path: str) -> bool:
        """Whether a path leads into the list whose elements are rows."""
        start = self._explode
        return start is not None and (path == start or path.startswith((f"{start}.", f"{start}[].")))

    def _container_of(self, file: Path) -> str:
        """A file with rows, relative to the folder of the data set where it is in it."""
        path = os.path.abspath(file)
        relative = os.path.relpath(path, self._dataset)
        return path if relative.startswith("..") else relative


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value
