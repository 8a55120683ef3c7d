"""TIFF that Pillow reads wrongly or not at all, as scanners, microscopes and satellites write it, in 8 bits a sample.

tifffile finds the pixels and imagecodecs decompresses them. The tags say what they mean: photometric interpretation,
extra samples, range of the values and the value of no data.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import check_size
from captionqa.dataset.image_metadata import ORIENTATION
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:  # these take long to import, and few data sets need them
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage
    from PIL.TiffImagePlugin import ImageFileDirectory_v2
    from tifffile import TiffPage

NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 254, 258, 259, 262
PLANAR, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 284, 330, 338, 339, 50706
MIN_SAMPLE, MAX_SAMPLE, SMIN_SAMPLE, SMAX_SAMPLE = 280, 281, 340, 341
ICC_PROFILE = 34675
#: Photometric interpretations.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
CAMERA_RAW = (32803, 34892)
#: Those that Pillow reads right, in up to 8 bits a sample.
PILLOW_PHOTOMETRIC = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR)
#: Compressions that versions before 0.11 could decode in more than 8 bits: none, and deflate.
FIRST_COMPRESSIONS = (1, 8, 32946)
ASSOCIATED, UNASSOCIATED = 1, 2
#: Pixels that are converted at once, which bounds the memory for it.
BLOCK_PIXELS = 2**20
#: Bits of the picture in a file of 16 bits that says nothing about them.
USUAL_BITS = (10, 12, 14)
#: The values of white in a file of fractions.
USUAL_WHITES = (1.0, 255.0, 65535.0)
#: A picture whose highest value is below this part of white looks black.
DARK = 1 / 4


@dataclass(frozen=True)
class TiffPicture:
    """A picture in 8 bits a sample."""

    image: "PillowImage"
    #: As EXIF counts it.
    orientation: int
    #: The embedded colour profile.
    profile: bytes | None
    #: Whether earlier versions sent another picture.
    is_new: bool


def refuse_camera_raw(tags: "ImageFileDirectory_v2", data: bytes) -> None:
    """Raise ItemFailure for a camera raw, in whose first place there is a thumbnail."""
    is_preview = bool(tags.get(NEW_SUBFILE_TYPE, 0) & 1) and SUB_IFDS in tags
    if is_preview or DNG_VERSION in tags or tags.get(PHOTOMETRIC) in CAMERA_RAW or data[8:10] == b"CR":
        raise ItemFailure(
            Reason.UNREADABLE_IMAGE, "its content is a camera raw with a small preview: convert it to JPEG or TIFF"
        )


def pillow_reads(tags: "ImageFileDirectory_v2") -> bool:
    """Whether Pillow reads a page right."""
    return (
        max(tags.get(BITS_PER_SAMPLE, (1,))) <= 8
        and set(tags.get(SAMPLE_FORMAT, (1,))) == {1}
        and tags.get(PHOTOMETRIC) in PILLOW_PHOTOMETRIC
        and EXTRA_SAMPLES not in tags
    )


def decode_page(data: bytes, page_number: int, limits: ImageSettings) -> TiffPicture:
    """Decode one page; raises ItemFailure where it is too large, or whatever tifffile and imagecodecs raise."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[page_number]
        if not isinstance(page, tifffile.TiffPage):
            raise ValueError("a page without tags")
        samples = page.samplesperpixel * (8 if page.dtype is None else page.dtype.itemsize)
        check_size(page.imagewidth, page.imagelength, limits, bytes_per_pixel=samples)
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
        if limits.get("damaged", "fail") == "fail" and max(ends, default=0) > len(data):
            raise ValueError("the file is truncated")  # tifffile would leave a part black
        levels, mode, is_declared = _levels(_values(page), page)  # the values are let go before the picture is made
        is_as_before = (
            is_declared
            and not page.extrasamples
            and page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
            and page.compression in FIRST_COMPRESSIONS
            and not file.is_bigtiff
        )
        orientation = page.tags.valueof(ORIENTATION, default=1)
        profile = page.tags.valueof(ICC_PROFILE, default=None)
    return TiffPicture(
        _image(levels, mode),
        orientation if orientation in range(1, 9) else 1,
        None if profile is None else bytes(profile),
        is_new=not is_as_before,
    )


def tiff_size(file: Any) -> tuple[int, int, int]:
    """Width and height in pixels of the first page of an open file, upright, and the number of pages."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return page.imagewidth, page.imagelength, len(tiff.pages)


def _values(page: "TiffPage") -> "NDArray[Any]":
    """A page's values, an array (height, width, samples)."""
    values = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = values.transpose(1, 2, 0)
    return values.reshape(page.imagelength, page.imagewidth, -1)


def _levels(pixels: "NDArray[Any]", page: "TiffPage") -> "tuple[NDArray[np.uint8], str, bool]":
    """A page's values as levels of 0 to 255, their mode by Pillow's name, and whether the declared range was used."""
    photometric = int(page.photometric)
    colours = {RGB: 3, CMYK: 4, CIELAB: 3, ICCLAB: 3, YCBCR: 3}.get(photometric, 1)
    colours = colours if pixels.shape[2] >= colours else 1
    extra = [int(kind) for kind in page.extrasamples]
    alpha = next((kind for kind in extra if kind in (ASSOCIATED, UNASSOCIATED)), None)
    # extra samples come after the colours; those of an unspecified kind, such as near infrared, are left out
    chosen = list(range(colours))
    if alpha is not None and colours + extra.index(alpha) < pixels.shape[2]:
        chosen.append(colours + extra.index(alpha))
    if photometric in (CIELAB, ICCLAB):
        levels, declared = _from_lab(pixels, photometric == ICCLAB), False
    elif photometric == PALETTE and page.colormap is not None:
        levels, declared = (page.colormap[:, pixels[..., 0]] >> 8).astype("uint8").transpose(1, 2, 0), True
    else:
        is_first = chosen == list(range(len(chosen)))  # then a view will do, and nothing is copied
        levels, valid, declared = _in_8_bits(pixels[..., : len(chosen)] if is_first else pixels[..., chosen], page)
        if photometric == WHITE_IS_ZERO:
            levels[..., 0] = 255 - levels[..., 0]
        if valid is not None and colours == 1 and alpha is None:
            levels, alpha, declared = _beside(levels, valid), UNASSOCIATED, False
    if photometric == CMYK and colours == 4:
        return levels[..., :4], "CMYK", declared
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[levels.shape[2]]
    return levels, mode.replace("A", "a") if alpha == ASSOCIATED else mode, declared


def _image(levels: "NDArray[np.uint8]", mode: str) -> "PillowImage":
    import numpy as np
    from PIL import Image

    height, width = levels.shape[:2]
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(levels), "raw", mode, 0, 1)


def _beside(levels: "NDArray[np.uint8]", valid: "NDArray[np.bool_]") -> "NDArray[np.uint8]":
    """Grey levels and an alpha that leaves out what is not valid."""
    import numpy as np

    return np.concatenate([levels[..., :1], np.where(valid, 255, 0).astype(np.uint8)], axis=-1)


def _in_8_bits(pixels: "NDArray[Any]", page: "TiffPage") -> "tuple[NDArray[np.uint8], NDArray[np.bool_] | None, bool]":
    """Values as levels of 0 to 255; where they are valid, or None if all are; whether the declared range was used."""
    import numpy as np

    valid = _valid(pixels, page)
    used = pixels if valid is None else pixels[valid.repeat(pixels.shape[2], axis=2)]
    lowest, highest = (float(used.min()), float(used.max())) if used.size else (0.0, 0.0)
    black, white, declared = _range(lowest, highest, page)
    levels = np.zeros(pixels.shape, np.uint8)
    rows = max(1, BLOCK_PIXELS // max(1, pixels.shape[1]))
    for row in range(0, len(pixels), rows):
        block = pixels[row : row + rows].astype(np.float32)
        if valid is not None:
            block[~valid[row : row + rows, :, 0]] = black
        levels[row : row + rows] = (block.clip(black, white) - black) * (255 / ((white - black) or 1.0)) + 0.5
    return levels, valid, declared


def _valid(pixels: "NDArray[Any]", page: "TiffPage") -> "NDArray[np.bool_] | None":
    """Which pixels have data in all samples, an array (height, width, 1); None if all have."""
    import numpy as np

    valid = None
    if pixels.dtype.kind == "f":
        valid = np.isfinite(pixels).all(axis=2, keepdims=True)
    if page.tags.get("GDAL_NODATA") is not None:
        has_data = (pixels != np.asarray(page.nodata).astype(pixels.dtype)).any(axis=2, keepdims=True)
        valid = has_data if valid is None else valid & has_data
    return None if valid is None or valid.all() else valid


def _range(lowest: float, highest: float, page: "TiffPage") -> tuple[float, float, bool]:
    """The values of black and white, and whether they are those that the file's type of values declares.

    A file says what its values reach to by its tags, or by its type of values. Where a picture would be black by its
    type, as with 12 bits in 16, heights or Hounsfield units, the range that it uses decides.
    """
    import numpy as np

    tags = {code: page.tags.valueof(code, default=None) for code in (MIN_SAMPLE, MAX_SAMPLE, SMIN_SAMPLE, SMAX_SAMPLE)}
    top, bottom = tags[SMAX_SAMPLE] or tags[MAX_SAMPLE], tags[SMIN_SAMPLE] or tags[MIN_SAMPLE]
    if top is not None:
        named = float(np.max(top)), float(np.min(bottom if bottom is not None else 0))
        if named[0] >= highest > named[1] and named[1] <= lowest and highest - named[1] >= DARK * (named[0] - named[1]):
            return named[1], named[0], False
    kind = "f" if page.dtype is None else page.dtype.kind
    if kind == "f":
        whites: tuple[float, ...] = USUAL_WHITES
    elif kind == "u":
        whites = (float(2**page.bitspersample - 1),)
    else:
        whites = ()
    white = next((white for white in whites if highest <= white), None)
    if white is not None and lowest >= 0 and (highest >= DARK * white or highest == lowest):
        return 0.0, white, True
    if lowest >= 0 and kind in "ui":
        for bits in USUAL_BITS:
            if (2**bits - 1) / 2 < highest <= 2**bits - 1:
                return 0.0, float(2**bits - 1), False
    return lowest, highest, False


def _from_lab(pixels: "NDArray[Any]", has_offset: bool) -> "NDArray[np.uint8]":
    """CIELAB in 8 or 16 bits as sRGB. In the kind of ICC, a and b have an offset; in the other they are signed."""
    import numpy as np

    bits = 8 * pixels.dtype.itemsize
    #: XYZ at D50, its white being 1, to linear sRGB.
    to_rgb = np.array([[3.0217, -1.6169, -0.4048], [-0.9437, 1.9161, 0.0276], [0.0694, -0.2290, 1.1596]], np.float32)
    levels = np.zeros((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, BLOCK_PIXELS // max(1, pixels.shape[1]))
    for row in range(0, len(pixels), rows):
        block = pixels[row : row + rows, :, :3]
        signed = block[..., 1:].astype(np.float32)
        # without an offset the values are those of signed integers, read as unsigned ones
        signed -= np.where(has_offset | (signed >= 2 ** (bits - 1)), 2 ** (bits - (1 if has_offset else 0)), 0)
        a, b = np.moveaxis(signed / 2 ** (bits - 8), -1, 0)
        y = (block[..., 0].astype(np.float32) * (100 / (2**bits - 1)) + 16) / 116
        f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
        xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
        linear = (xyz @ to_rgb.T).clip(0, 1)
        curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        levels[row : row + rows] = curved * 255 + 0.5
    return levels
