"""The images of a row: paths as they are, and cells with bytes by the place where these are."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pybase64

from captionqa.dataset.cell import CellError, is_empty
from captionqa.dataset.embedded import Embedded
from captionqa.dataset.field_value import Source, lookup, parsed
from captionqa.dataset.image_format import looks_like_image
from captionqa.dataset.table_rows import RowPlace
from captionqa.errors import InputError
from captionqa.list_text import parse_list

_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|hf)://", re.IGNORECASE)
_DATA_ADDRESS = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:/", re.IGNORECASE)
#: A path is shorter than this, an image in base64 longer.
MIN_BASE64_CHARACTERS = 64
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*=*\s*")
#: Characters of base64 that give enough bytes to know an image by: a multiple of four.
_HEAD_CHARACTERS = 64


def row_images(cells: Mapping[str, Any], source: Source, place: RowPlace) -> list[str | None]:
    """The images of a row in their order, None for a place without one.

    Raises:
        CellError: a cell holds something else.
        InputError: an image is given by an address of the internet.
    """
    paths = [source] if isinstance(source, str) else source if isinstance(source, Sequence) else []
    images: list[str | None] = []
    for path in paths:
        value = lookup(cells, path)
        if isinstance(value, str) and len(value) < MIN_BASE64_CHARACTERS * 1000:
            value = value if (elements := parse_list(value)) is None else elements
        images += _images(value, place, path)
    return images


def _images(value: Any, place: RowPlace, column: str) -> Iterator[str | None]:
    if not isinstance(value, list):
        yield _image(value, place, column)
        return
    for index, one in enumerate(_flat(value)):
        yield _image(one, place, f"{column}[{index}]")


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _image(value: Any, place: RowPlace, column: str) -> str | None:
    """One image: its path, or the place of its bytes; None where there is none."""
    value = parsed(value)
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return cell_name(place, column)
        if "path" not in value and "bytes" not in value:
            raise CellError(f"must be a path or a list of paths, not {str(value)[:60]}")
        value = value.get("path")
    if is_empty(value):
        return None
    if isinstance(value, Embedded | bytes):
        return cell_name(place, column)
    if not isinstance(value, str):
        raise CellError(f"must be a path or a list of paths, not {str(value)[:60]}")
    if _ADDRESS.match(value):
        raise InputError(
            f"{place}: the image is the address {value[:80]}, and addresses are not fetched; download the images and "
            "give their paths."
        )
    if _DATA_ADDRESS.match(value) or _is_base64(value):
        return cell_name(place, column)
    if _FILE_ADDRESS.match(value):
        return unquote(urlsplit(value).path)
    return value


def cell_name(place: RowPlace, column: str) -> str:
    """What a plan calls the bytes of a cell."""
    return f"{place.file}#row={place.row}&column={column}"


def _is_base64(text: str) -> bool:
    """Whether a text is an image in base64."""
    if len(text) < MIN_BASE64_CHARACTERS or not _BASE64.fullmatch(text[:1000]):
        return False
    head = "".join(text[:1000].split())[:_HEAD_CHARACTERS]
    return looks_like_image(pybase64.b64decode(head))
