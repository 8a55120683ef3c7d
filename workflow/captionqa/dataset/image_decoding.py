"""Decoding: the one picture of a file that is sent, as it is stored, and what is needed to see it as a person does."""

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import check_size
from captionqa.dataset.image_format import JPEG_FORMATS
from captionqa.dataset.image_memory import decoded_bytes
from captionqa.dataset.image_metadata import ORIENTATION, jp2_profile, orientation_of
from captionqa.dataset.image_opening import HEAD_BYTES, LostMetadata, is_animated, open_image
from captionqa.dataset.image_pixels import SIDEWAYS, is_flat, without_alpha
from captionqa.errors import ItemFailure

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.TiffImagePlugin import TiffImageFile

#: The tag of a TIFF's page that says what it is, and its bit for a small copy of another page.
NEW_SUBFILE_TYPE, REDUCED = 254, 1
#: Frames or pages that are decoded in search of one that is not empty.
FRAMES = 64


@dataclass(frozen=True)
class Picture:
    """A decoded picture as it is stored."""

    image: "PillowImage"
    #: Before it is turned upright, in pixels; `image` may have been decoded at a fraction of it.
    size: tuple[int, int]
    #: As EXIF counts it; 1 is upright.
    orientation: int
    #: The embedded colour profile.
    profile: bytes | None
    #: Whether its file is a JPEG, so that it is sent as one.
    is_jpeg: bool = False
    #: Whether earlier versions sent another picture for the file.
    is_new: bool = False


def decode_picture(
    image: "PillowImage", size: tuple[int, int], data: bytes, limits: ImageSettings, lost: LostMetadata | None
) -> Picture:
    """Decode an open image to its end.

    `size` is that of the file in pixels; `lost` has the metadata that the image was opened without.
    """
    is_jpeg, first = image.format in JPEG_FORMATS, image.tell()
    frames = _candidates(image, limits)
    for frame in frames:
        image.seek(frame)
        if len(frames) == 1 or not is_flat(image):
            break
    else:
        if frames:
            image.seek(first)
    image.load()
    # libheif and libjxl turn a picture themselves; a JPEG inside of a JPEG XL comes as it is
    is_upright = image.format == "HEIF" or (image.format == "JXL" and not getattr(image, "jpeg", False))
    orientation, profile = 1 if is_upright else orientation_of(image, data), image.info.get("icc_profile")
    if image.format == "JPEG2000":
        profile = jp2_profile(data)
    if lost is not None:
        orientation, profile = lost.orientation, profile or lost.profile
    return Picture(image, size, orientation, profile, is_jpeg, is_new=image.tell() != first or without_alpha(image))


def decode_tiff(
    data: bytes, limits: ImageSettings, budget_px: int | None, before_decoding: Callable[[int], None]
) -> Picture:
    """The picture of a TIFF: by Pillow the pages that Pillow reads right, by tifffile all others.

    `before_decoding` is called with about as many bytes as a page will take, of which `budget_px` pixels are sent.
    """
    from captionqa.dataset import tiff_decoding

    with io.BytesIO(data) as stream:  # closed, it lets the file go, which the image may hold a while longer
        try:
            image = open_image(stream, data[:HEAD_BYTES])
            tiff_decoding.refuse_camera_raw(cast("TiffImageFile", image).tag_v2, data)
            pages = _full_pages(image, _candidates(image, limits) or [0])
        except ItemFailure:
            raise
        except Exception:  # Pillow raises nearly anything on a TIFF that it does not know
            image, pages = None, [0]
        for page in pages:
            picture = _tiff_page(image, data, page, limits, budget_px, before_decoding)
            if len(pages) == 1 or not is_flat(picture.image):
                return replace(picture, is_new=picture.is_new or page > 0)
        return _tiff_page(image, data, pages[0], limits, budget_px, before_decoding)


def _full_pages(image: "PillowImage", pages: list[int]) -> list[int]:
    """These pages without those that are small copies of another one, as long as there are others."""

    def is_full(page: int) -> bool:
        image.seek(page)
        return not cast("TiffImageFile", image).tag_v2.get(NEW_SUBFILE_TYPE, 0) & REDUCED

    return pages if is_full(pages[0]) else list(filter(is_full, pages)) or pages


def _tiff_page(
    image: "PillowImage | None",
    data: bytes,
    page: int,
    limits: ImageSettings,
    budget_px: int | None,
    before_decoding: Callable[[int], None],
) -> Picture:
    """One page; `image` is Pillow's image of the file, where Pillow opens it."""
    from captionqa.dataset import tiff_decoding

    if image is not None:
        image.seek(page)
        tags = cast("TiffImageFile", image).tag_v2
        if tiff_decoding.pillow_reads(tags):
            check_size(*image.size, limits)
            pixels = image.width * image.height
            before_decoding(decoded_bytes(image, image.size, min(pixels, budget_px or pixels)))
            # Pillow turns the page as it is loaded; its size is that of the turned page before, too. Earlier versions
            # shrunk it to the size of the stored one
            was_squashed = tags.get(ORIENTATION, 1) in SIDEWAYS and budget_px is not None and pixels > budget_px
            with suppress(Exception):  # what Pillow raises on odd tags; tifffile says whether the pixels are damaged
                image.load()
                return Picture(image, image.size, 1, image.info.get("icc_profile"), is_new=was_squashed)
    deep = tiff_decoding.decode_page(data, page, limits, budget_px, before_decoding)
    return Picture(deep.image, deep.image.size, deep.orientation, deep.profile, is_new=deep.is_new)


def _candidates(image: "PillowImage", limits: ImageSettings) -> list[int]:
    """The numbers of the frames or pages of which the first that is not empty is sent; none where there is but one."""
    if not is_animated(image):
        return []
    wanted, count = limits.get("frame"), getattr(image, "n_frames", 1)
    if wanted is not None:
        return [min(wanted, count - 1)]
    first = image.tell()
    return [first, *(frame for frame in range(min(count, FRAMES)) if frame != first)]
