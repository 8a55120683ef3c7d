"""Pixels: single steps from a decoded picture to what a person sees. Each leaves a plain picture as it is.

Pictures are converted in strips, so that what is between the first and the last form of a pixel takes no memory.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

#: The EXIF orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
#: A picture is seen on white if a level of it is at most this.
SEEN_ON_WHITE = 240
#: Pixels of a strip.
STRIP_PIXELS = 2**18
#: The values of white in a picture of fractions.
WHITES = (1.0, 255.0, 65535.0)
#: The modes of pictures with transparency, as Pillow names them; a small a is an alpha that the colours include.
WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def upright(image: "PillowImage", orientation: int) -> "PillowImage":
    """The picture turned and mirrored from how it is stored, as EXIF counts that."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image if orientation == 1 else image.transpose(turns[orientation])


def in_8_bits(image: "PillowImage") -> "PillowImage":
    """The picture with 8 bits a sample; a file's 16 bits reach from black to white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # such a picture has one band, whose extrema are two numbers
        white = 65535 if image.mode.startswith("I;16") else _white_level(cast(float, image.getextrema()[1]))
        return _in_strips(
            image, "L", lambda strip: strip.convert("F").point(lambda value: value * (255 / white)).convert("L")
        )
    return image


def laid_out(image: "PillowImage") -> tuple["PillowImage", bool]:
    """The picture without transparency, in RGB, L or CMYK, and whether it is on black.

    It is laid on white, or on black where nothing would be seen on white, such as a white drawing. An alpha of nothing
    but zeros in a BMP is none.
    """
    if image.mode not in WITH_ALPHA and "transparency" not in image.info:
        return image if image.mode in ("RGB", "L", "CMYK") else image.convert(
            "L" if image.mode == "1" else "RGB"
        ), False
    if without_alpha(image):
        return image.convert("RGB"), False
    on_white = _in_strips(image, "RGB", lambda strip: _laid_on("white", strip))
    if _darkest(on_white) > SEEN_ON_WHITE:
        on_black = _in_strips(image, "RGB", lambda strip: _laid_on("black", strip))
        if not _is_one_colour(on_black) and _darkest(on_black) <= SEEN_ON_WHITE:
            return on_black, True
    return on_white, False


def without_alpha(image: "PillowImage") -> bool:
    """Whether what stands in the place of an alpha in a BMP is none."""
    return image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def is_flat(image: "PillowImage") -> bool:
    """Whether all that a person sees is one colour."""
    return _is_one_colour(laid_out(in_8_bits(image))[0])


def _is_one_colour(image: "PillowImage") -> bool:
    return all(low == high for low, high in _extrema(image))


def _darkest(image: "PillowImage") -> int:
    return min(low for low, _ in _extrema(image))


def _extrema(image: "PillowImage") -> list[tuple[int, int]]:
    """The lowest and the highest level of each band of a picture in 8 bits."""
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return [(int(low), int(high)) for low, high in cast(Sequence[tuple[int, int]], bands)]


def _laid_on(colour: str, strip: "PillowImage") -> "PillowImage":
    from PIL import Image

    strip = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", strip.size, colour), strip).convert("RGB")


def _in_strips(image: "PillowImage", mode: str, convert: "Callable[[PillowImage], PillowImage]") -> "PillowImage":
    """The picture in another mode, converted strip by strip."""
    from PIL import Image

    rows = max(1, STRIP_PIXELS // image.width)
    if image.height <= rows:
        return convert(image)
    converted = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(image.height, top + rows))
        converted.paste(convert(image.crop(box)), box)
    return converted


def _white_level(highest: float) -> float:
    """The value of white in a file that does not name it: the smallest usual one that holds the highest value."""
    return next((white for white in WHITES if highest <= white), highest)
