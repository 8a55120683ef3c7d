"""Image files: their bytes, the largest that is read, and the failures that a file leads to."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from captionqa.config.settings import ImageSettings
from captionqa.errors import ItemFailure, Reason

#: Read beyond the size that a file had when it was opened: the file has grown, or is one that tells no size.
BLOCK_BYTES = 1 << 16
#: The most bytes that the samples of a pixel may have, on average over `max_source_pixels`: four of 16 bits.
BYTES_PER_PIXEL = 8


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
    with read_failures(path):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # open() and readall() would take three system calls more, and the interpreter is given away at each
            parts = [os.read(file, os.fstat(file).st_size + 1)]
            while parts[-1]:
                parts.append(os.read(file, BLOCK_BYTES))
            status = os.fstat(file)
        finally:
            os.close(file)
    data = b"".join(parts[:-1])
    if not data:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{str(path)!r} is empty")
    return data, (status.st_size, status.st_mtime_ns)


@contextmanager
def read_failures(path: Path) -> Iterator[None]:
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


def check_size(width: int, height: int, limits: ImageSettings, bytes_per_pixel: int = 1) -> None:
    """Raise ItemFailure image_too_large above `limits["max_source_pixels"]`; width and height are in pixels."""
    most = limits["max_source_pixels"]
    if width * height > most or width * height * bytes_per_pixel > most * BYTES_PER_PIXEL:
        size = f"{width} x {height} pixels" + (f" of {bytes_per_pixel} bytes" if bytes_per_pixel > 1 else "")
        raise ItemFailure(Reason.IMAGE_TOO_LARGE, f"{size}; client.images.max_source_pixels is {most}")
