"""Headers of image files: format, size and colours, without decoding a picture."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from captionqa.config.settings import ImageSettings
from captionqa.dataset.colour_profile import is_srgb
from captionqa.dataset.image_file import check_size, decoding_failures, read_failures
from captionqa.dataset.image_format import identify
from captionqa.dataset.image_opening import HEAD_BYTES, is_animated, jxl_size, open_image, open_without_metadata
from captionqa.dataset.image_pixels import WITH_ALPHA
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@dataclass(frozen=True)
class Header:
    """What an image file says about itself before its pixels; width and height are in pixels."""

    #: By Pillow's name; MPO counts as JPEG, DIB as BMP.
    format: str
    width: int
    height: int
    #: Whether there are more pictures after the first.
    animated: bool
    #: Whether its colours are those of an embedded profile that is not sRGB.
    other_colours: bool = False
    #: Whether parts of it may be transparent.
    transparent: bool = False


def read_header(path: Path, limits: ImageSettings) -> Header:
    """An image file's header; no picture is decoded, so the picture may still be damaged.

    Raises:
        ItemFailure: as `read_bytes` does, unreadable_image where the header cannot be decoded, image_too_large above
            `limits["max_source_pixels"]`.
    """
    with read_failures(path), open(path, "rb") as file:
        return _checked_header(file, limits)


def bytes_header(data: bytes, limits: ImageSettings) -> Header:
    """The header of an image by its bytes; raises as `read_header` does."""
    return _checked_header(io.BytesIO(data), limits)


def _checked_header(file: IO[bytes], limits: ImageSettings) -> Header:
    with decoding_failures():
        head = file.read(HEAD_BYTES)
        if not head:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, "it is empty")
        file.seek(0)
        header = file_header(file, head)
    check_size(header.width, header.height, limits)
    return header


def file_header(file: IO[bytes], head: bytes) -> Header:
    kind = identify(head)
    if kind == "JXL":
        return Header("JXL", *jxl_size(file.read()), animated=False)
    try:
        with open_image(file, head) as image:
            return _of(image, image.info.get("icc_profile"))
    except ItemFailure:
        raise
    except Exception:  # Pillow's plugins raise nearly anything on files with odd metadata
        file.seek(0)
        if kind == "TIFF":
            from captionqa.dataset.tiff_decoding import tiff_size

            width, height, pages = tiff_size(io.BytesIO(file.read()))
            return Header("TIFF", width, height, animated=pages > 1)
        opened = open_without_metadata(file.read())
        if opened is None:
            raise
        image, lost = opened
        with image:
            return _of(image, lost.profile)


def _of(image: "PillowImage", profile: bytes | None) -> Header:
    kind = image.format or ""
    kind = {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)
    mode = "RGB" if image.mode in ("P", "RGBA") else image.mode
    transparent = image.mode in WITH_ALPHA or "transparency" in image.info
    return Header(kind, image.width, image.height, is_animated(image), not is_srgb(mode, profile), transparent)
