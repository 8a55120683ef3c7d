"""Colour profiles: pictures in the colours of their embedded profile become sRGB, by littleCMS."""

import io
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.ImageCms import ImageCmsTransform

#: {colour space of a profile: the mode of the pictures that it fits}
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
#: A profile that changes colours by less than this, of 255, on average and at most, is one of the many of sRGB itself.
SAME_ON_AVERAGE = 1.5
SAME_AT_MOST = 10
#: Levels of each channel at which a profile is compared with sRGB.
LEVELS = 9
#: Profiles whose transforms are kept: a data set has a few, each with a table of some hundred kB.
PROFILES = 64


def is_srgb(mode: str, profile: bytes | None) -> bool:
    """Whether a picture of this mode is as it should be without a conversion.

    So is a picture without a profile, and one whose profile is damaged or of another colour space.
    """
    return profile is None or _transform(profile, mode) is None


def to_srgb(image: "PillowImage", profile: bytes | None) -> "PillowImage":
    """The picture in sRGB; itself where `is_srgb`."""
    transform = None if profile is None else _transform(profile, image.mode)
    if transform is None:
        return image
    from PIL import ImageCms

    return ImageCms.applyTransform(image, transform) or image


@lru_cache(PROFILES)
def _transform(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """What turns pictures with a profile into sRGB; None where nothing has to be changed or can be."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None


def _changes_nothing(transform: "ImageCmsTransform", mode: str) -> bool:
    import numpy as np
    from PIL import Image, ImageCms

    levels = np.linspace(0, 255, LEVELS).round().astype(np.uint8)
    channels = np.stack(np.meshgrid(*[levels] * 3), axis=-1).reshape(LEVELS, -1, 3)
    before = Image.fromarray(channels) if mode == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    after = ImageCms.applyTransform(before, transform)
    difference = np.abs(np.asarray(after, int) - np.asarray(before.convert("RGB"), int))
    return bool(difference.mean() <= SAME_ON_AVERAGE and difference.max() <= SAME_AT_MOST)
