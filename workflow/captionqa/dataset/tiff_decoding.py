"""TIFF that Pillow reads wrongly or not at all, as scanners, microscopes and satellites write it, in 8 bits a sample.

tifffile finds the pixels and imagecodecs decompresses them. The tags say what they mean: photometric interpretation,
extra samples, range of the values and the value of no data.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import check_size
from captionqa.dataset.image_metadata import ORIENTATION
from captionqa.dataset.tiff_pixels import (
    BLACK_IS_ZERO,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    page_bytes,
    page_picture,
)
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:  # these take long to import, and few data sets need them
    from PIL.Image import Image as PillowImage
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 254, 258, 259, 262
PLANAR, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 284, 330, 338, 339, 50706
ICC_PROFILE = 34675
CAMERA_RAW = (32803, 34892)
#: Those that Pillow reads right, in up to 8 bits a sample.
PILLOW_PHOTOMETRIC = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR)
#: Compressions that versions before 0.11 could decode in more than 8 bits: none, and deflate.
FIRST_COMPRESSIONS = (1, 8, 32946)


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


def decode_page(
    data: bytes,
    page_number: int,
    limits: ImageSettings,
    budget_px: int | None,
    before_decoding: Callable[[int], None],
) -> TiffPicture:
    """Decode one page, of which at most `budget_px` pixels will be sent.

    Raises ItemFailure where it is too large, or whatever tifffile and imagecodecs raise.
    """
    import tifffile

    with io.BytesIO(data) as stream, tifffile.TiffFile(stream) as file:
        page = file.pages[page_number]
        if not isinstance(page, tifffile.TiffPage):
            raise ValueError("a page without tags")
        samples = page.samplesperpixel * (8 if page.dtype is None else page.dtype.itemsize)
        check_size(page.imagewidth, page.imagelength, limits, bytes_per_pixel=samples)
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
        if limits.get("damaged", "fail") == "fail" and max(ends, default=0) > len(data):
            raise ValueError("the file is truncated")  # tifffile would leave a part black
        before_decoding(page_bytes(page, budget_px))
        image, is_declared = page_picture(page, data)
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
        image,
        orientation if orientation in range(1, 9) else 1,
        None if profile is None else bytes(profile),
        is_new=not is_as_before,
    )


def tiff_bytes(file: Any, budget_px: int | None) -> int:
    """As `page_bytes`, of the first page of an open file."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        return page_bytes(tiff.pages.first, budget_px)


def tiff_size(file: Any) -> tuple[int, int, int]:
    """Width and height in pixels of the first page of an open file, upright, and the number of pages."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return page.imagewidth, page.imagelength, len(tiff.pages)
