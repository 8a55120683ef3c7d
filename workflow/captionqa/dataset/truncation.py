"""Truncation: whether an image file goes on to its end, by its structure, without decoding it."""

from captionqa.dataset.image_file import JPEG_FORMATS

#: Bytes that cameras and programs append to a JPEG as padding.
JPEG_PADDING = b"\0\xff\r\n "
#: How far from the end of the file, padding included, the end of a JPEG is looked for.
JPEG_TAIL_BYTES = 64
JPEG_END = b"\xff\xd9"
PNG_SIGNATURE_BYTES = 8


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


def _png_ends_with_its_picture(data: bytes) -> bool:
    """Whether a PNG's end chunk directly follows its picture, so that no metadata in between can turn the picture."""
    offset, before = PNG_SIGNATURE_BYTES, b""
    while offset + 12 <= len(data):
        kind = data[offset + 4 : offset + 8]
        if kind == b"IEND":
            return before == b"IDAT"
        offset, before = offset + 12 + int.from_bytes(data[offset : offset + 4]), kind
    return False
