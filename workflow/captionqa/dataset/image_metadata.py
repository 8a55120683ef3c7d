"""Metadata of image files: how a picture is turned, read from what is left of it; files without their metadata.

No metadata is a reason to lose a picture.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ORIENTATION = 0x0112
#: What EXIF begins with in a JPEG.
EXIF_HEADER = b"Exif\0\0"
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
PNG_SIGNATURE_BYTES = 8
#: The chunks of a PNG that are about its pixels; all others are metadata.
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
#: Those of an animation, with the bytes that each has at least; without them the PNG is its first picture.
PNG_ANIMATION = {b"acTL": 8, b"fcTL": 26, b"fdAT": 4}
#: The largest colour profile that is read from a PNG, in bytes; those of CMYK printers have 3 MB.
MAX_PROFILE_BYTES = 16 * 2**20
#: The markers of a JPEG's metadata, except for its colour model and its colour profile (APP2).
JPEG_METADATA = frozenset((0xE1, *range(0xE3, 0xEE), 0xEF, 0xFE))
#: {the markers of a JPEG's colour model, APP0 and APP14: the bytes that decoders read of them}
JPEG_COLOUR_MODEL = {0xE0: 14, 0xEE: 12}
JPEG_START_OF_SCAN = 0xDA
#: Begins the colours of a JPEG 2000 whose profile follows.
JP2_PROFILE_METHOD = b"\2"
#: The bits of a WebP's header that promise metadata.
WEBP_METADATA_FLAGS = 0x0C


def orientation_of(image: "PillowImage", data: bytes) -> int:
    """How a picture is stored, as EXIF counts it: 1 is upright. A PNG has to be decoded before."""
    from PIL import Image

    try:
        # a PNG's own getexif would decode the picture to find metadata behind it; the base class's does not
        found = Image.Image.getexif(image).get(ORIENTATION, 1)
    except Exception:  # Pillow raises nearly anything on malformed EXIF
        found = _orientation_in(image.info.get("exif") or data)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _orientation_in(exif: bytes) -> int | None:
    """The orientation in EXIF, or in a file that has EXIF in it, without reading anything else of it."""
    start = exif.find(EXIF_HEADER)
    body = exif[start + len(EXIF_HEADER) if start >= 0 else 0 :]
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    if order is not None and len(body) >= 10:
        (offset,) = struct.unpack_from(f"{order}I", body, 4)
        if offset + 2 <= len(body):
            (count,) = struct.unpack_from(f"{order}H", body, offset)
            for entry in range(offset + 2, min(offset + 2 + 12 * count, len(body) - 11), 12):
                tag, kind = struct.unpack_from(f"{order}HH", body, entry)
                if tag == ORIENTATION:
                    value: int = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", body, entry + 8)[0]
                    return value
    found = XMP_ORIENTATION.search(exif)
    return int(found[1]) if found else None


def jp2_profile(data: bytes) -> bytes | None:
    """The colour profile in the header of a JPEG 2000, which Pillow does not read; None where there is none."""
    colours = _box(_box(data, b"jp2h"), b"colr")
    return colours[3:] or None if colours.startswith(JP2_PROFILE_METHOD) else None


def _box(data: bytes, kind: bytes) -> bytes:
    """The content of the first box of a kind; empty where there is none."""
    offset = 0
    while offset + 8 <= len(data):
        length = int.from_bytes(data[offset : offset + 4])
        if data[offset + 4 : offset + 8] == kind:
            return data[offset + 8 : offset + length]
        if length < 8:  # it goes to the end, or has a length of 64 bits: that is the picture
            break
        offset += length
    return b""


def without_metadata(kind: str, data: bytes) -> bytes | None:
    """The same picture in a file without metadata; None where there is none, or it is not known how to leave it out."""
    strip = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}.get(kind)
    stripped = data if strip is None else strip(data)
    return None if stripped == data else stripped


def lost_metadata(kind: str, data: bytes) -> tuple[int, bytes | None]:
    """The orientation of a file that `without_metadata` leaves without, and a colour profile that it leaves out."""
    exif, profile = data, None
    if kind == "PNG":
        chunks = {data[start + 4 : start + 8]: data[start + 8 : end - 4] for start, end in _png_places(data)}
        exif = chunks.get(b"eXIf", b"") or chunks.get(b"iTXt", b"")
        profile = _png_profile(chunks.get(b"iCCP", b""))
    found = _orientation_in(exif)
    return found if found is not None and 1 <= found <= 8 else 1, profile


def _png_places(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk of a PNG begins and ends."""
    offset = PNG_SIGNATURE_BYTES
    while offset + 8 <= len(data):
        end = offset + 12 + int.from_bytes(data[offset : offset + 4])
        yield offset, end
        offset = end


def _png(data: bytes) -> bytes:
    """A PNG of the chunks that are about pixels, with their checksums: a wrong one shows that pixels are damaged."""
    chunks = [(data[start + 4 : start + 8], data[start:end]) for start, end in _png_places(data)]
    is_animated = all(len(chunk) >= PNG_ANIMATION.get(kind, -12) + 12 for kind, chunk in chunks)
    kept = [
        chunk
        for kind, chunk in chunks
        if kind in PNG_PIXELS
        and (is_animated or kind not in PNG_ANIMATION)
        # a picture goes without a chunk of no great importance, as the small letter says, whose checksum is wrong
        and (not kind[:1].islower() or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]))
    ]
    return data[:PNG_SIGNATURE_BYTES] + b"".join(kept)


def _png_profile(chunk: bytes) -> bytes | None:
    """The colour profile in the content of an iCCP chunk."""
    _, _, body = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(body[1:], MAX_PROFILE_BYTES) or None
    except zlib.error:
        return None


def _jpeg(data: bytes) -> bytes:
    """A JPEG without its metadata; what follows the start of its first scan stays as it is."""
    kept, offset = [data[:2]], 2
    while offset + 4 <= len(data) and data[offset] == 0xFF and data[offset + 1] != JPEG_START_OF_SCAN:
        end = offset + 2 + int.from_bytes(data[offset + 2 : offset + 4])
        is_whole = end - offset - 4 >= JPEG_COLOUR_MODEL.get(data[offset + 1], 0)
        if data[offset + 1] not in JPEG_METADATA and is_whole:
            kept.append(data[offset:end])
        offset = end
    return b"".join((*kept, data[offset:]))


def _webp(data: bytes) -> bytes:
    kept, offset = [], 12
    while offset + 8 <= len(data):
        kind, length = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        end = offset + 8 + length + length % 2
        if kind == b"VP8X":
            flags = bytes([data[offset + 8] & ~WEBP_METADATA_FLAGS])
            kept.append(data[offset : offset + 8] + flags + data[offset + 9 : end])
        elif kind not in (b"EXIF", b"XMP "):
            kept.append(data[offset:end])
        offset = end
    body = b"".join(kept)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
