"""Damage that decoders do not report: whether an image file goes on to its end, and whether a part of it is zeros."""

import re
from collections.abc import Callable

from captionqa.dataset.image_format import JPEG_FORMATS

#: Bytes that cameras and programs append to a JPEG as padding.
JPEG_PADDING = b"\0\xff\r\n "
#: How far from the end of the file, padding included, the end of a JPEG is looked for.
JPEG_TAIL_BYTES = 64
JPEG_END = b"\xff\xd9"
JPEG_START_OF_SCAN = 0xDA
#: What ends a scan: any marker but those within it.
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
PNG_SIGNATURE_BYTES = 8
#: What an interrupted copy leaves in a file. Flat areas give zeros too, so that only decoding tells.
ZEROS = bytes(512)
#: What is left of them in a sample of evenly spaced bytes.
SAMPLED_ZEROS = bytes(4)
#: Bytes of a picture that are changed to see whether they count.
PROBE = b"\xaa" * 48


def is_certainly_complete(kind: str, data: bytes) -> bool:
    """Whether the bytes of an image file are certainly complete; `kind` is the format by Pillow's name.

    False proves nothing: the file may have something unusual behind its picture, or another format. Then only decoding
    shows whether it is complete.
    """
    if kind in JPEG_FORMATS:
        return data[-JPEG_TAIL_BYTES:].rstrip(JPEG_PADDING).endswith(JPEG_END)
    if kind == "PNG":
        return _png_ends_with_its_picture(data)
    return kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 <= len(data)


def zeros_in_jpeg(data: bytes) -> tuple[int, int] | None:
    """Where a scan of a JPEG has a long run of zeros, and where that scan ends; None where none has.

    Only the first picture of the file is looked at.
    """
    if SAMPLED_ZEROS not in data[:: len(ZEROS) // len(SAMPLED_ZEROS)]:  # which costs a few microseconds
        return None
    start = _start_of_scan(data)
    zeros = data.find(ZEROS, start)
    if zeros < 0 or 0 <= data.find(JPEG_END, start) < zeros:
        return None
    marker = MARKER.search(data, zeros)
    return None if marker is None else (zeros, marker.start())


def is_filled_with_zeros(data: bytes, zeros: int, end: int, decoded: Callable[[bytes], bytes]) -> bool:
    """Whether zeros stand in a JPEG in place of a part of its picture, as `zeros_in_jpeg` has found them.

    Zeros decode to another number of pixels than the bytes that were lost. Either the decoder lacks bytes at the end,
    so that more of them make a difference; or it has all pixels before it has read all bytes, so that the last bytes
    make none, though the zeros do. Zeros that make no difference are padding.
    """
    picture = decoded(data)

    def is_seen(at: int, length: int) -> bool:
        """Whether the picture is another with the probe in place of `length` bytes."""
        return decoded(data[:at] + PROBE + data[at + length :]) != picture

    if is_seen(end, 0):
        return True
    return not is_seen(end - len(PROBE), len(PROBE)) and is_seen(zeros + len(PROBE), len(PROBE))


def _start_of_scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins, behind all metadata; its end where there is none."""
    offset = 2
    while offset + 4 <= len(data):
        if data[offset + 1] == JPEG_START_OF_SCAN:
            return offset
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4])
    return len(data)


def _png_ends_with_its_picture(data: bytes) -> bool:
    """Whether a PNG's end chunk directly follows its picture, so that no metadata in between can turn the picture."""
    offset, before = PNG_SIGNATURE_BYTES, b""
    while offset + 12 <= len(data):
        kind = data[offset + 4 : offset + 8]
        if kind == b"IEND":
            return before == b"IDAT"
        offset, before = offset + 12 + int.from_bytes(data[offset : offset + 4]), kind
    return False
