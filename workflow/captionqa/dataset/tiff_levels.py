"""The values of a TIFF's page as levels of 0 to 255: their range, what is no data, and CIELAB."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # these take long to import, and few data sets need them
    import numpy as np
    from numpy.typing import NDArray
    from tifffile import TiffPage

MIN_SAMPLE, MAX_SAMPLE, SMIN_SAMPLE, SMAX_SAMPLE = 280, 281, 340, 341
#: Pixels that are converted at once, which bounds the memory for it.
BLOCK_PIXELS = 2**20
#: Bits of the picture in a file of 16 bits that says nothing about them.
USUAL_BITS = (10, 12, 14)
#: The values of white in a file of fractions.
USUAL_WHITES = (1.0, 255.0, 65535.0)
#: A value that is further off all others than so many times the range of these is no data.
FAR = 2
#: A picture whose highest value is below this part of white looks black.
DARK = 1 / 4


def in_8_bits(pixels: "NDArray[Any]", page: "TiffPage") -> "tuple[NDArray[np.uint8], NDArray[np.bool_] | None, bool]":
    """Values as levels of 0 to 255; where they are valid, or None if all are; whether the declared range was used."""
    import numpy as np

    valid = _valid(pixels, page)
    used = pixels if valid is None else pixels[valid.repeat(pixels.shape[2], axis=2)]
    lowest, highest = (float(used.min()), float(used.max())) if used.size else (0.0, 0.0)
    black, white, declared = value_range(lowest, highest, page)
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
    for filler in _fillers(pixels, valid):
        is_other = (pixels != filler).any(axis=2, keepdims=True)
        valid = is_other if valid is None else valid & is_other
    return None if valid is None or valid.all() else valid


def _fillers(pixels: "NDArray[Any]", valid: "NDArray[np.bool_] | None") -> list[Any]:
    """Values that stand for no data without a tag that says so, such as -9999 below heights: far off all others."""
    import numpy as np

    if pixels.dtype.kind not in "fi" or pixels.shape[2] > 1:
        return []
    values, fillers = pixels if valid is None else pixels[valid], []
    for extreme in (np.min, np.max):
        if not values.size or 0 <= (found := extreme(values)) <= USUAL_WHITES[-1]:
            continue
        others = values[values != found]
        if others.size:
            low, high = float(others.min()), float(others.max())
            if max(low - float(found), float(found) - high) > FAR * (high - low) > 0:
                fillers.append(found)
                values = others
    return fillers


def value_range(lowest: float, highest: float, page: "TiffPage") -> tuple[float, float, bool]:
    """The values of black and white, and whether they are those that the file's type of values declares.

    A file says what its values reach to by its tags, or by its type of values. Where a picture would be black by its
    type, as with 12 bits in 16, heights or Hounsfield units, the range that it uses decides.
    """
    import numpy as np

    tags = _range_tags(page)
    top, bottom = tags[SMAX_SAMPLE] or tags[MAX_SAMPLE], tags[SMIN_SAMPLE] or tags[MIN_SAMPLE]
    if top is not None:
        named = _highest(top), float(np.min(bottom if bottom is not None else 0))
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


def expected_range(page: "TiffPage") -> tuple[float, float] | None:
    """The values of black and white that integers without a sign probably have; None for others."""
    if page.dtype is None or page.dtype.kind != "u":
        return None
    tags = _range_tags(page)
    highest = tags[SMAX_SAMPLE] or tags[MAX_SAMPLE] or 2**page.bitspersample - 1
    return value_range(0.0, _highest(highest), page)[:2]


def levels_in(
    kind: "np.dtype[Any] | None", black: float, white: float
) -> "Callable[[NDArray[Any]], NDArray[np.uint8]]":
    """What turns integers of a type into levels of 0 to 255."""
    import numpy as np

    def scaled(values: "NDArray[Any]") -> "NDArray[np.uint8]":
        within = values.astype(np.float32).clip(black, white) - black
        return (within * (255 / ((white - black) or 1.0)) + 0.5).astype(np.uint8)

    if kind is None or kind.itemsize > 2:
        return scaled
    unsigned = np.dtype(f"u{kind.itemsize}")
    table = scaled(np.arange(2 ** (8 * kind.itemsize), dtype=unsigned).view(kind.newbyteorder("=")))
    return lambda values: table[values.view(unsigned.newbyteorder(values.dtype.byteorder))]


def _range_tags(page: "TiffPage") -> dict[int, Any]:
    codes = (MIN_SAMPLE, MAX_SAMPLE, SMIN_SAMPLE, SMAX_SAMPLE)
    return {code: page.tags.valueof(code, default=None) for code in codes}


def _highest(values: Any) -> float:
    import numpy as np

    return float(np.max(values))


def from_lab(pixels: "NDArray[Any]", has_offset: bool) -> "NDArray[np.uint8]":
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
