"""Opening image files: Pillow's image of a file, by its content, with whatever decoder that needs.

Nothing but a header is decoded here, except for JPEG XL.
"""

import io
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from captionqa.config.settings import ImageSettings
from captionqa.dataset.image_file import check_size
from captionqa.dataset.image_format import BARE_JXL, JPEG_FORMATS, READ_FORMATS, identify, other_kind
from captionqa.dataset.image_metadata import lost_metadata, without_metadata
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:  # Pillow takes 0.1 s to import; only chunk jobs need it
    from PIL.Image import Image as PillowImage

#: Bytes at the start of a file that tell its format.
HEAD_BYTES = 64
#: In the size header of JPEG XL: the bits of a side by its selector, and width by height for each ratio.
JXL_SIDE_BITS = (9, 13, 18, 30)
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True)
class LostMetadata:
    """What counts of the metadata that a file had to be opened without."""

    orientation: int
    profile: bytes | None


def open_image(file: IO[bytes], head: bytes) -> "PillowImage":
    """Pillow's image of a file whose first bytes are `head`; the file's formats are those that captionqa reads.

    Raises ItemFailure for a file of another kind that is known, or whatever Pillow raises.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # check_size applies the user's own limit, before anything is decoded
    kind = identify(head)
    if kind is None and (other := other_kind(head)):
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"its content is {other}, and no picture: convert it to an image")
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif kind == "JXL":
        import pillow_jxl  # noqa: F401 - importing registers it
    return Image.open(file, formats=READ_FORMATS if kind in (None, "BMP") else (kind,))


def open_without_metadata(data: bytes) -> "tuple[PillowImage, LostMetadata] | None":
    """The image of a file that could not be opened or decoded with its metadata; None where it has none."""
    kind = identify(data[:HEAD_BYTES]) or ""
    stripped = without_metadata(kind, data)
    if stripped is None:
        return None
    return open_image(io.BytesIO(stripped), stripped[:HEAD_BYTES]), LostMetadata(*lost_metadata(kind, data))


def check_jxl_size(data: bytes, limits: ImageSettings) -> tuple[int, int]:
    """Width and height of a JPEG XL; raises ItemFailure where it is too large, before its plugin decodes it."""
    width, height = jxl_size(data)
    check_size(width, height, limits)
    return width, height


def jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a JPEG XL, from the first 64 bits of its code stream."""
    start = 0
    if not data.startswith(BARE_JXL):
        whole, part = data.find(b"jxlc"), data.find(b"jxlp")
        start = whole + 4 if whole >= 0 else part + 8
    if data[start : start + 2] != BARE_JXL:
        raise ValueError("no code stream of JPEG XL")
    bits, taken = int.from_bytes(data[start + 2 : start + 14], "little"), 0

    def take(count: int) -> int:
        nonlocal taken
        taken += count
        return bits >> (taken - count) & (1 << count) - 1

    is_small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if is_small else take(JXL_SIDE_BITS[take(2)]) + 1

    height, ratio = side(), take(3)
    if ratio == 0:
        return side(), height
    across, down = JXL_RATIOS[ratio - 1]
    return height * across // down, height


def is_animated(image: "PillowImage") -> bool:
    """Whether an image has more pictures after the first; the second one of an MPO does not count."""
    return image.format not in JPEG_FORMATS and getattr(image, "is_animated", False)
