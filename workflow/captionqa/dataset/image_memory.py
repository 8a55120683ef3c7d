"""The memory that a picture takes until it is sent, estimated from its header before it is decoded."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.dataset.image_format import JPEG_FORMATS, identify
from captionqa.dataset.image_metadata import orientation_of
from captionqa.dataset.image_opening import HEAD_BYTES, jxl_size, open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

#: A smaller file is read at once; before a larger one is, its header tells what its picture will take.
LARGE_FILE_BYTES = 4 * 2**20
#: Bytes that Pillow takes for a pixel, by mode; four for all others.
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
#: Bytes for a pixel that decoders take beside Pillow's picture, as measured with pictures of 24 megapixels.
DECODER_BYTES = {"WEBP": 12, "GIF": 5, "AVIF": 6, "HEIF": 6, "JPEG2000": 16, "JXL": 8}
#: A progressive JPEG is kept as coefficients until its last scan is read.
PROGRESSIVE_BYTES = 6
#: For each decoded pixel: the levels that it is converted to, where it is not of these modes.
CONVERTED_BYTES, SHRUNK_AS_THEY_ARE = 4, ("RGB", "L", "CMYK")
#: For each pixel that is sent: its levels, and either those in other colours or its file and that in base64.
SENT_BYTES = 8
#: For each pixel of a JPEG in which zeros are looked for: two pictures that are compared.
COMPARED_BYTES = 13


def decoded_bytes(image: "PillowImage", size: tuple[int, int], sent_px: int) -> int:
    """The bytes that an open image takes from decoding to encoding.

    `size` is that of the file in pixels, of which `draft` may have made less; `sent_px` is how many pixels are sent.
    """
    pixels, each = image.width * image.height, PIXEL_BYTES.get(image.mode, 4)
    # without EXIF Pillow would remember that there is none, though a PNG may have it behind its picture
    if "exif" in image.info and orientation_of(image, b"") != 1:
        each *= 2
    if image.mode not in SHRUNK_AS_THEY_ARE or "transparency" in image.info:
        each += CONVERTED_BYTES
    decoder = pixels * DECODER_BYTES.get(image.format or "", 0)
    if image.format in JPEG_FORMATS and "progressive" in image.info:
        decoder = size[0] * size[1] * PROGRESSIVE_BYTES
    return pixels * each + max(decoder, bytes_sent(pixels, sent_px))


def bytes_sent(pixels: int, sent_px: int) -> int:
    """The bytes that it takes to shrink and encode a picture, beside those of its pixels."""
    half_shrunk = 0 if sent_px >= pixels else 4 * math.isqrt(pixels * sent_px)  # at first one side alone is shrunk
    return half_shrunk + sent_px * SENT_BYTES


def jxl_bytes(size: tuple[int, int]) -> int:
    """The bytes that a JPEG XL of this size takes, which cannot be opened before it is decoded."""
    return size[0] * size[1] * (4 + CONVERTED_BYTES + DECODER_BYTES["JXL"])


def bytes_ahead(path: Path, file_bytes: int, sent_px: int | None) -> int:
    """The bytes that a large file and its picture take, from reading to encoding.

    At most `sent_px` pixels are sent; None is for all. Where the header says nothing, the bytes are those of the file.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(0)
            kind = identify(head)
            if kind == "JXL":
                return file_bytes + jxl_bytes(jxl_size(file.read(LARGE_FILE_BYTES)))
            if kind == "TIFF":
                from captionqa.dataset.tiff_decoding import tiff_bytes

                return file_bytes + tiff_bytes(file, sent_px)
            with open_image(file, head) as image:
                size, pixels = image.size, image.width * image.height
                if sent_px is not None and sent_px < pixels:
                    scale = math.sqrt(pixels / sent_px)
                    image.draft("RGB", (math.ceil(size[0] / scale), math.ceil(size[1] / scale)))
                return file_bytes + decoded_bytes(image, size, min(pixels, sent_px or pixels))
    except Exception:  # whatever is wrong with the file is found and named when it is read
        return file_bytes
