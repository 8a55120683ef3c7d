"""Image files: which files are images, their bytes and their headers."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.config.settings import ImageSettings
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:  # Pillow takes 0.1 s to import
    from PIL.Image import Image as PillowImage

#: {suffix of image files: the format, by Pillow's name, that it promises}
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **{".png": "PNG", ".webp": "WEBP", ".gif": "GIF"},
}
#: Many phones write MPO: a JPEG with a second picture after it, which JPEG decoders ignore.
JPEG_FORMATS = ("JPEG", "MPO")
#: Bytes at the start of a file that `looks_like_image` needs.
SNIFF_BYTES = 16
#: The first bytes of a TIFF in either byte order.
TIFF_MAGIC = (b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Header:
    """What an image file says about itself before its pixels; width and height are in pixels."""

    #: By Pillow's name; MPO counts as JPEG, DIB as BMP.
    format: str
    width: int
    height: int
    #: Whether there are more pictures after the first.
    animated: bool


def has_image_suffix(name: str) -> bool:
    return promised_format(name) is not None


def promised_format(name: str) -> str | None:
    """The format, by Pillow's name, that a file's suffix promises; None for any other suffix."""
    dot = name.rfind(".")
    return SUFFIXES.get(name[dot:].lower()) if dot >= 0 else None


def looks_like_image(head: bytes) -> bool:
    """Whether a file's first bytes are those of JPEG, PNG, GIF, BMP, TIFF or WebP."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *TIFF_MAGIC))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
    )


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        ItemFailure: missing_image, or unreadable_image where the file cannot be read or is empty.
    """
    return read_stamped(path)[0]


def read_stamped(path: Path) -> tuple[bytes, tuple[int, int]]:
    """The file's bytes, and after these were read its size in bytes and time of change in ns.

    The stamp is that of the file that was read, also where another has its name by now. Raises as `read_bytes` does.
    """
    with _read_failures(path), open(path, "rb", buffering=0) as file:
        data = file.readall()
        status = os.fstat(file.fileno())
    if not data:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r} is empty")
    return data, (status.st_size, status.st_mtime_ns)


def read_header(path: Path, limits: ImageSettings) -> Header:
    """An image file's header; no picture is decoded, so the picture may still be damaged.

    Raises:
        ItemFailure: as `read_bytes` does, unreadable_image where the header cannot be decoded, image_too_large above
            `limits["max_source_pixels"]`.
    """
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None
    with _read_failures(path), open(path, "rb") as file, decoding_failures():
        head = file.read(SNIFF_BYTES)
        if not head:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r} is empty")
        file.seek(0)
        try:
            with Image.open(file) as image:
                header = Header(_family(image), image.width, image.height, is_animated(image))
        except UnidentifiedImageError:
            if not head.startswith(TIFF_MAGIC):
                raise
            import tifffile

            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages.first
                header = Header("TIFF", page.imagewidth, page.imagelength, len(tiff.pages) > 1)
    check_size(header.width, header.height, limits)
    return header


@contextmanager
def _read_failures(path: Path) -> Iterator[None]:
    """Turn an error of the file system into an ItemFailure that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ItemFailure(Reason.MISSING_IMAGE, f"{str(path)!r} vanished") from error
    except OSError as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r}: {error.strerror}") from error


@contextmanager
def decoding_failures() -> Iterator[None]:
    """Turn an error of a decoder into an ItemFailure; warnings, such as those about odd metadata, are ignored."""
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ItemFailure:
        raise
    except UnidentifiedImageError as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, "its content is no image that can be decoded") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{type(error).__name__}: {error}") from error


def check_size(width: int, height: int, limits: ImageSettings) -> None:
    """Raise ItemFailure image_too_large above `limits["max_source_pixels"]`; width and height are in pixels."""
    if width * height > limits["max_source_pixels"]:
        raise ItemFailure(
            Reason.IMAGE_TOO_LARGE,
            f"{width} x {height} pixels; client.images.max_source_pixels is {limits['max_source_pixels']}",
        )


def is_animated(image: "PillowImage") -> bool:
    """Whether an image has more pictures after the first; the second one of an MPO does not count."""
    return image.format not in JPEG_FORMATS and getattr(image, "is_animated", False)


def _family(image: "PillowImage") -> str:
    """The image's format, by the name that its suffixes promise."""
    kind = image.format or ""
    return {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)
