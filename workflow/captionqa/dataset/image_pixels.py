"""Pixels: single steps from a decoded picture to what a person sees. Each leaves a plain picture as it is."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

#: The EXIF orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
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
        return image.convert("F").point(lambda value: value * (255 / white)).convert("L")
    return image


def on_white(image: "PillowImage") -> "PillowImage":
    """The picture on white, in RGB, L or CMYK. An alpha of nothing but zeros in a BMP is none."""
    from PIL import Image

    if image.mode in WITH_ALPHA or "transparency" in image.info:
        if without_alpha(image):
            return image.convert("RGB")
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


def without_alpha(image: "PillowImage") -> bool:
    """Whether what stands in the place of an alpha in a BMP is none."""
    return image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def is_flat(image: "PillowImage") -> bool:
    """Whether all that a person sees is one colour."""
    extrema = on_white(in_8_bits(image)).getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)


def _white_level(highest: float) -> float:
    """The value of white in a file that does not name it: the smallest usual one that holds the highest value."""
    return next((white for white in WHITES if highest <= white), highest)
