"""Image files: what counts as one, and the bytes that are sent to the model for it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionqa.config.settings import ImageSettings
from captionqa.errors import ItemFailure, Reason

#: The suffixes of image files, and the format by Pillow's name that each promises.
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **{".png": "PNG", ".webp": "WEBP", ".gif": "GIF"},
}
#: MPO is what many phones write: a JPEG with a second picture behind it, which decoders of JPEG pass over.
JPEG_FORMATS = ("JPEG", "MPO")
SNIFF_BYTES = 16
TIFF_MAGIC = (b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels: Pillow's name of its format, its size in pixels, and whether
    it goes on after the first picture."""

    format: str
    width: int
    height: int
    animated: bool


def has_image_suffix(name: str) -> bool:
    return promised_format(name) is not None


def promised_format(name: str) -> str | None:
    """The format that a file's suffix promises; None where it is no image suffix."""
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
    """The file's bytes; raises ItemFailure where it cannot be read or is empty."""
    with _read_failures(path), open(path, "rb", buffering=0) as file:
        data = file.readall()
    if not data:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r} is empty")
    return data


def read_header(path: Path, limits: ImageSettings) -> Header:
    """An image file's header; no picture is decoded.

    Raises ItemFailure as `read_bytes` and `data_url` do, for as much as a header shows: one that is read may still
    belong to a damaged picture.
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
            with tifffile.TiffFile(file) as pages:
                header = Header("TIFF", pages.pages[0].imagewidth, pages.pages[0].imagelength, len(pages.pages) > 1)
    check_size(header.width, header.height, limits)
    return header


@contextmanager
def _read_failures(path: Path) -> Iterator[None]:
    """Name what keeps a file from being read."""
    try:
        yield
    except FileNotFoundError as error:
        raise ItemFailure(Reason.MISSING_IMAGE, f"{str(path)!r} vanished") from error
    except OSError as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r}: {error.strerror}") from error


@contextmanager
def decoding_failures() -> Iterator[None]:
    """Name what keeps an image from being decoded; odd metadata is no reason to lose a readable picture."""
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
    if width * height > limits["max_source_pixels"]:
        raise ItemFailure(
            Reason.IMAGE_TOO_LARGE,
            f"{width} x {height} pixels; client.images.max_source_pixels is {limits['max_source_pixels']}",
        )


def is_animated(image) -> bool:
    return image.format not in JPEG_FORMATS and getattr(image, "is_animated", False)


def _family(image) -> str:
    """The image's format, by the one name that its suffixes promise."""
    return {"MPO": "JPEG", "DIB": "BMP"}.get(image.format, image.format)
