"""Truncation: whether an image file goes on to its end, told by its structure, without decoding it."""

#: What cameras and programs fill files up with behind the end of a JPEG, and how much of it is looked through.
JPEG_PADDING, JPEG_TAIL_BYTES = b"\0\xff\r\n ", 64
JPEG_END = b"\xff\xd9"
PNG_SIGNATURE_BYTES = 8


def seen_to_end(kind: str, data: bytes) -> bool:
    """Whether a file of this format, by Pillow's name, is seen to be complete.

    False says nothing: the file may be odd behind its picture, or of another format; then only decoding it tells.
    """
    if kind in ("JPEG", "MPO"):
        return data[-JPEG_TAIL_BYTES:].rstrip(JPEG_PADDING).endswith(JPEG_END)
    if kind == "PNG":
        return _png_ends_with_its_picture(data)
    return kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 <= len(data)


def _png_ends_with_its_picture(data: bytes) -> bool:
    """Whether a PNG's end comes right behind its picture: no metadata is between them, which could turn it."""
    place, before = PNG_SIGNATURE_BYTES, b""
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        if kind == b"IEND":
            return before == b"IDAT"
        place, before = place + 12 + int.from_bytes(data[place : place + 4]), kind
    return False
