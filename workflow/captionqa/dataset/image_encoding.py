"""Image encoding: the bytes that are sent to the model for an image file."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pybase64

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import JPEG_FORMATS, TIFF_MAGIC, check_size, decoding_failures, is_animated
from captionqa.dataset.truncation import is_certainly_complete

if TYPE_CHECKING:  # Pillow takes 0.1 s to import; only chunk jobs need it
    from PIL.Image import Image as PillowImage
    from PIL.TiffImagePlugin import TiffImageFile

#: The formats, by Pillow's name, that every server decodes; any other is sent as PNG.
MIME_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
EXIF_ORIENTATION = 0x0112
TIFF_BITS_PER_SAMPLE = 0x0102
#: The EXIF orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image's bytes as they are sent to the model."""

    #: Their format by Pillow's name, one of MIME_TYPES.
    format: str
    data: bytes
    #: Whether they are the file's own bytes.
    is_untouched: bool

    def data_url(self) -> bytes:
        return b"data:%b;base64,%b" % (MIME_TYPES[self.format].encode(), pybase64.b64encode(self.data))


def encode_image(
    data: bytes,
    limits: ImageSettings,
    budget_px: int | None,
    decode: bool = False,
    before_decoding: Callable[[], None] = lambda: None,
) -> EncodedImage:
    """Encode an image file so that any server decodes it to the picture that a person sees.

    Bytes that need no change are passed through. They are decoded, and so checked for damage, only with `decode` or
    where their end cannot be seen. EXIF orientation is applied. CMYK, palette, 16-bit and alpha become plain
    8-bit RGB, with alpha on white. Of an animation the first frame is taken. More than `budget_px` pixels are shrunk
    onto the model's grid (`limits["pixel_grid_px"]`).
    `before_decoding` is called once or more where more than the header is about to be decoded.

    Raises:
        ItemFailure: unreadable_image, or image_too_large above `limits["max_source_pixels"]`.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # check_size applies the user's own limit, before anything is decoded
    with decoding_failures(), _open(data, limits, before_decoding) as image:
        check_size(image.width, image.height, limits)
        shrink = budget_px is not None and image.width * image.height > budget_px
        kind = image.format
        if not shrink and kind in MIME_TYPES:
            load = before_decoding if decode or not is_certainly_complete(kind, data) else None
            if _is_plain(image, load):
                return EncodedImage(kind, data, is_untouched=True)
        before_decoding()
        return _encode(image, limits["pixel_grid_px"], budget_px if shrink else None)


def grid_size(width: int, height: int, grid_px: int, budget_px: int) -> tuple[int, int]:
    """The width and height in pixels that an image is shrunk to: multiples of the grid, at most `budget_px` in all.

    The rule is that of `smart_resize` in transformers' image processor of Qwen2-VL, so the server resizes nothing.
    """
    scale = math.sqrt(width * height / budget_px)

    def fit(side: float) -> int:
        return max(grid_px, math.floor(side / grid_px) * grid_px)

    fitted = fit(width / scale), fit(height / scale)
    # a thin strip cannot be narrower than the grid, so it gets shorter
    return min(fitted[0], fit(budget_px / fitted[1])), min(fitted[1], fit(budget_px / fitted[0]))


def _open(data: bytes, limits: ImageSettings, before_decoding: Callable[[], None]) -> "PillowImage":
    """Pillow's image of a file; tifffile opens a TIFF of more than 8 bits, if it can.

    Pillow does not read doubles. It misreads 16-bit planes, and 16-bit pictures in which zero is white.
    """
    from PIL import Image, UnidentifiedImageError

    is_tiff, image = data.startswith(TIFF_MAGIC), None
    try:
        image = Image.open(io.BytesIO(data))
        if not is_tiff or max(cast("TiffImageFile", image).tag_v2.get(TIFF_BITS_PER_SAMPLE, (1,))) <= 8:
            return image
    except UnidentifiedImageError:
        if not is_tiff:
            raise
    before_decoding()
    try:
        return _open_deep_tiff(data, limits)
    except ValueError:  # a compression for which tifffile needs more packages
        if image is None:
            raise
        return image


def _open_deep_tiff(data: bytes, limits: ImageSettings) -> "PillowImage":
    """The first page of a TIFF, scaled to 8 bits."""
    import numpy as np
    import tifffile
    from PIL import Image

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        check_size(page.imagewidth, page.imagelength, limits)
        pixels = page.asarray().astype(float)
        orientation = page.tags.valueof(EXIF_ORIENTATION, default=1)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    is_unsigned = page.dtype is not None and page.dtype.kind == "u"
    white = np.iinfo(page.dtype).max if is_unsigned else _white_level(pixels.max(initial=0.0))
    pixels = (pixels.clip(0, white) * (255 / white)).astype(np.uint8)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = 255 - pixels
    image = Image.fromarray(pixels)
    image.getexif()[EXIF_ORIENTATION] = int(orientation)
    return image


def _white_level(highest: float) -> float:
    """The value of white in a file that does not name it: the smallest usual one that holds the highest value."""
    return next((white for white in (1.0, 255.0, 65535.0) if highest <= white), highest)


def _is_plain(image: "PillowImage", before_decoding: Callable[[], None] | None) -> bool:
    """Whether any server sees an image as a person does.

    An image that may be plain is decoded to its end where there is something to call before that.
    """
    from PIL import Image

    if image.mode not in ("RGB", "L") or is_animated(image):
        return False
    if before_decoding is not None:
        before_decoding()
        image.load()
    # a PNG's own getexif would decode the picture to find metadata behind it; the base class's does not
    return "transparency" not in image.info and Image.Image.getexif(image).get(EXIF_ORIENTATION, 1) == 1


def _encode(image: "PillowImage", grid_px: int, budget_px: int | None) -> EncodedImage:
    """An upright RGB image of at most `budget_px` pixels: JPEG for a JPEG, PNG for all others."""
    from PIL import Image, ImageOps

    is_lossy = image.format in JPEG_FORMATS
    size = None if budget_px is None else grid_size(*image.size, grid_px, budget_px)
    if is_lossy and size is not None:
        # lets libjpeg decode at a fraction of the size, which saves much of the work for large photographs
        image.draft("RGB", size)
    if size is not None and image.getexif().get(EXIF_ORIENTATION, 1) in SIDEWAYS:
        size = size[::-1]
    image = _to_rgb(ImageOps.exif_transpose(image))
    if size is not None:
        image = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    if is_lossy:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return EncodedImage("JPEG", buffer.getvalue(), is_untouched=False)
    image.save(buffer, "PNG", compress_level=1)
    return EncodedImage("PNG", buffer.getvalue(), is_untouched=False)


def _to_rgb(image: "PillowImage") -> "PillowImage":
    """The image in 8-bit RGB, transparency laid on white."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # such an image has one band, whose extrema are two numbers
        white = 65535 if image.mode.startswith("I;16") else _white_level(cast(float, image.getextrema()[1]))
        return image.convert("F").point(lambda value: value * (255 / white)).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")
