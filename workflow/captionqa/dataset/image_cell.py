"""Cells that hold images: what a value of a parquet file, or of any other table, says about its image."""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import pybase64

from captionqa.dataset.image_format import looks_like_image
from captionqa.errors import ItemFailure, Reason
from captionqa.list_text import parse_list

#: Base64 text, also with line breaks and in the alphabet for addresses.
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\r\n]+={0,2}\s*")
#: An image in base64 has at least this many characters. A text of more than that is no path, whatever its image is.
MIN_BASE64, LONG_BASE64 = 64, 256
#: Characters of a text that are looked at, and those that give enough bytes to know an image by: a multiple of four.
LOOKED_AT, HEAD_CHARACTERS = 1000, 64
#: The longest path that Linux takes, in bytes: a longer text is no file's name.
MAX_PATH = 4096
_DATA_URI = re.compile(r"data:(?P<type>[^,]*?)(?P<base64>;base64)?,", re.IGNORECASE)
#: A longer list is one of images in base64, in whose texts nothing is escaped.
MAX_LIST_TEXT = 65_536
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_WEB = re.compile(r"https?://", re.IGNORECASE)


def cell_image(value: Any, index: int | None = None) -> bytes | str:
    """The bytes of a cell's image, or the name of the file that holds it.

    `value` is binary, a text (base64, a data: URI or a file's name), a struct of `bytes` and `path`, whose bytes win,
    or a list of these, of which `index` selects one.

    Raises:
        ItemFailure: missing_image where there is none, unreadable_image where the value is no image.
    """
    if isinstance(value, str) and index is not None:
        value = image_list(value) or value
    if isinstance(value, list):
        if index is None and len(value) > 1:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds a list of {len(value)} values, not one image")
        value = value[index or 0] if (index or 0) < len(value) else None
    if isinstance(value, dict):
        if "bytes" not in value and "path" not in value:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds a struct of {', '.join(map(str, value))}, not of bytes")
        value = value.get("bytes") or value.get("path")
    if isinstance(value, list):
        return cell_image(value)
    if value is None or value == "" or value == b"":
        raise ItemFailure(Reason.MISSING_IMAGE, "holds no image")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds a {type(value).__name__}, not an image")
    return _text_image(value)


def image_list(text: str) -> list[Any] | None:
    """The images of a list that was written as text, which may be large ones in base64; None for any other text."""
    if len(text) < MAX_LIST_TEXT:
        return parse_list(text)
    if not (text.lstrip().startswith("[") and text.rstrip().endswith("]")):
        return None
    return [single or double for single, double in _QUOTED.findall(text)] or None


def data_uri_bytes(uri: str) -> bytes:
    """The bytes in a data: URI; raises ItemFailure where they cannot be decoded."""
    found = _DATA_URI.match(uri)
    try:
        if found is None:
            raise ValueError("no comma")
        content = unquote_to_bytes(uri[found.end() :])
        return _decoded(content.decode("ascii")) if found["base64"] else content
    except ValueError as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds a damaged data: URI: {error}") from error


def is_inline(text: str) -> bool:
    """Whether a cell's text is the image itself, as a data: URI or in base64, and not the name of a file.

    The first LOOKED_AT characters tell.
    """
    if text[:5].lower() == "data:":
        return "," in text[:LOOKED_AT]
    if len(text) < MIN_BASE64 or not _BASE64.fullmatch(text[:LOOKED_AT]):
        return False
    return len(text) >= LONG_BASE64 or looks_like_image(_decoded(text[:LOOKED_AT], HEAD_CHARACTERS))


def _text_image(text: str) -> bytes | str:
    if is_inline(text):
        if text[:5].lower() == "data:":
            return data_uri_bytes(text)
        try:
            return _decoded(text)
        except ValueError as error:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds damaged base64: {error}") from error
    if _WEB.match(text):
        raise ItemFailure(Reason.MISSING_IMAGE, f"holds an address, {text[:80]!r}, which is not fetched")
    if len(text.encode("utf-8", "surrogateescape")) >= MAX_PATH:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"holds {len(text)} characters that are no image: {text[:20]!r}...")
    return text


def _decoded(text: str, characters: int | None = None) -> bytes:
    """The bytes of base64 text, or of its first characters; raises binascii.Error, which is a ValueError."""
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")[:characters]
    return pybase64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
