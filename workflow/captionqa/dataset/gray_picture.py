"""Gray pictures: what is sent in place of an image to a model that must see a picture and no content."""

import io
from functools import lru_cache

from captionqa.dataset.image_encoding import EncodedImage

#: The middle of the range of 8 bits.
GRAY = (128, 128, 128)
#: How many sizes are kept: questions on one image come together, and many data sets have few sizes.
KEPT_SIZES = 64


def gray_picture(image: EncodedImage) -> EncodedImage:
    """A gray PNG of the width and height of an image as it would be sent."""
    from PIL import Image

    with Image.open(io.BytesIO(image.data)) as opened:
        return EncodedImage("PNG", _gray_png(opened.width, opened.height), is_untouched=False)


@lru_cache(KEPT_SIZES)
def _gray_png(width: int, height: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (width, height), GRAY).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
