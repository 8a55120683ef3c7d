"""Image encoding: the bytes that are sent to the model for an image file."""

import io
import math
from collections.abc import Callable

import pybase64

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import JPEG_FORMATS, TIFF_MAGIC, check_size, decoding_failures, is_animated
from captionqa.dataset.truncation import seen_to_end

#: Formats that the server decodes just as well, by Pillow's name; anything else is sent as PNG.
MIME_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


EXIF_ORIENTATION = 0x0112


TIFF_BITS_PER_SAMPLE = 0x0102


SIDEWAYS = (5, 6, 7, 8)


JPEG_QUALITY = 95


def bytes_url(kind: str, data: bytes) -> bytes:
    """The data URL of an image's bytes; `kind` is their format by Pillow's name."""
    return b"data:%b;base64,%b" % (MIME_TYPES[kind].encode(), pybase64.b64encode(data))


def data_url(
    data: bytes,
    limits: ImageSettings,
    budget_px: int | None,
    decode: bool = False,
    untouched: Callable[[str, bytes], bytes] = bytes_url,
) -> bytes:
    """An image file's bytes as a data URL that any server decodes to the picture a person sees.

    Bytes that are right as they are pass through, as the URL that `untouched` makes of their format by Pillow's name
    and of them; only `decode` finds damage ahead of their end. EXIF orientation is applied; CMYK, palette, 16-bit and
    alpha become plain 8-bit RGB (alpha on white); of animations the first frame is taken; more than `budget_px` pixels
    are shrunk onto the model's grid (`limits["pixel_grid_px"]`).

    Raises:
        ItemFailure: unreadable_image, or image_too_large above `limits["max_source_pixels"]`.
    """
    from PIL import Image  # takes 0.1 s to import; only chunk jobs need it

    Image.MAX_IMAGE_PIXELS = None  # the limit is the user's own, checked below before anything is decoded
    with decoding_failures(), _open(data, limits) as image:
        check_size(image.width, image.height, limits)
        shrink = budget_px is not None and image.width * image.height > budget_px
        if not shrink and _plain(image, decode or not seen_to_end(image.format, data)):
            return untouched(image.format, data)
        return _encode(image, limits["pixel_grid_px"], budget_px if shrink else None)


def grid_size(width: int, height: int, grid_px: int, budget_px: int) -> tuple[int, int]:
    """The size in pixels that an image is shrunk to: multiples of the grid, at most `budget_px` in all.

    The rule is `smart_resize` of Qwen2-VL's image processor in transformers, so that the server has nothing to resize.
    """
    scale = math.sqrt(width * height / budget_px)

    def fit(side: float) -> int:
        return max(grid_px, math.floor(side / grid_px) * grid_px)

    fitted = fit(width / scale), fit(height / scale)
    # a thin strip cannot be narrower than the grid, so its length has to give way
    return min(fitted[0], fit(budget_px / fitted[1])), min(fitted[1], fit(budget_px / fitted[0]))


def _open(data: bytes, limits: ImageSettings):
    """Pillow's image of a file; a TIFF of more than 8 bits comes through tifffile, where it can read it.

    Pillow knows no doubles, and mistakes 16-bit planes and 16-bit pictures whose zero is white.
    """
    from PIL import Image, UnidentifiedImageError

    is_tiff, image = data.startswith(TIFF_MAGIC), None
    try:
        image = Image.open(io.BytesIO(data))
        if not is_tiff or max(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (1,))) <= 8:
            return image
    except UnidentifiedImageError:
        if not is_tiff:
            raise
    try:
        return _open_deep_tiff(data, limits)
    except ValueError:  # a compression that tifffile needs more packages for
        if image is None:
            raise
        return image


def _open_deep_tiff(data: bytes, limits: ImageSettings):
    import numpy as np
    import tifffile
    from PIL import Image

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, limits)
        pixels = page.asarray().astype(float)
        orientation = page.tags.valueof(EXIF_ORIENTATION, default=1)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    top = np.iinfo(page.dtype).max if page.dtype.kind == "u" else _white(pixels.max(initial=0.0))
    pixels = (pixels.clip(0, top) * (255 / top)).astype(np.uint8)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = 255 - pixels
    image = Image.fromarray(pixels)
    image.getexif()[EXIF_ORIENTATION] = int(orientation)
    return image


def _white(high: float) -> float:
    """What white is in files that do not say: 1.0, 8 bits or 16 bits, whichever their highest value fits into."""
    return next((white for white in (1.0, 255.0, 65535.0) if high <= white), high)


def _plain(image, decode: bool) -> bool:
    """Whether any server sees an image as a person does; one of which that may be so is decoded if `decode`."""
    from PIL import Image

    if image.format not in MIME_TYPES or image.mode not in ("RGB", "L") or is_animated(image):
        return False
    if decode:
        image.load()
    # a PNG's own getexif decodes it, for what may come behind the picture
    return "transparency" not in image.info and Image.Image.getexif(image).get(EXIF_ORIENTATION, 1) == 1


def _encode(image, grid_px: int, budget_px: int | None) -> bytes:
    from PIL import Image, ImageOps

    lossy = image.format in JPEG_FORMATS
    size = None if budget_px is None else grid_size(*image.size, grid_px, budget_px)
    if lossy and size is not None:
        # lets libjpeg decode at a fraction of the size, which is much of the work for large photographs
        image.draft("RGB", size)
    if size is not None and image.getexif().get(EXIF_ORIENTATION, 1) in SIDEWAYS:
        size = size[::-1]
    image = _to_rgb(ImageOps.exif_transpose(image))
    if size is not None:
        image = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    kind, how = ("JPEG", {"quality": JPEG_QUALITY, "subsampling": 0}) if lossy else ("PNG", {"compress_level": 1})
    image.save(buffer, kind, **how)
    return bytes_url(kind, buffer.getvalue())


def _to_rgb(image):
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        top = 65535 if image.mode.startswith("I;16") else _white(image.getextrema()[1])
        return image.convert("F").point(lambda value: value * (255 / top)).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
