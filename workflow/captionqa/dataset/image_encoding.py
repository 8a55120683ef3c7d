"""Image encoding: the bytes that are sent to the model for an image file.

There is one way from a file to what is sent, and each step on it is done once, for all formats:

    identify     image_format      by the first bytes; other kinds are named and not opened
    open, bound  image_opening     the header; pixels, times their bytes, are bounded before any is decoded
    wait         image_memory      for as much memory as the picture will take (`before_decoding`)
    pass through here              a JPEG, PNG or WebP that needs none of the steps below is sent as it is
    decode       image_decoding    the frame or page that is sent; tiff_decoding: samples, range, photometric
    turn         image_pixels      as EXIF or XMP says
    8 bits       image_pixels
    alpha        image_pixels      on white, or on black where it is white itself
    shrink       here              onto the model's grid
    colours      colour_profile    from the embedded profile to sRGB; after shrinking there are fewer pixels
    encode       here              JPEG for a JPEG, PNG for all others
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pybase64

from captionqa.config.settings import ImageSettings
from captionqa.dataset.colour_profile import is_srgb, to_srgb
from captionqa.dataset.image_decoding import Picture, decode_picture, decode_tiff
from captionqa.dataset.image_file import check_size, decoding_failures
from captionqa.dataset.image_format import identify
from captionqa.dataset.image_header import file_header
from captionqa.dataset.image_memory import COMPARED_BYTES, decoded_bytes, jxl_bytes
from captionqa.dataset.image_metadata import ORIENTATION
from captionqa.dataset.image_opening import (
    HEAD_BYTES,
    LostMetadata,
    check_jxl_size,
    is_animated,
    open_image,
    open_without_metadata,
)
from captionqa.dataset.image_pixels import SIDEWAYS, in_8_bits, laid_out, upright
from captionqa.dataset.truncation import is_certainly_complete, is_filled_with_zeros, zeros_in_jpeg
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:  # Pillow takes 0.1 s to import; only chunk jobs need it
    from PIL.Image import Image as PillowImage

#: The formats, by Pillow's name, that every server decodes; any other is sent as PNG.
MIME_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image's bytes as they are sent to the model."""

    #: Their format by Pillow's name, one of MIME_TYPES.
    format: str
    data: bytes
    #: Whether they are the file's own bytes.
    is_untouched: bool
    #: Whether earlier versions sent another picture for the file.
    is_new: bool = False

    def data_url(self) -> bytes:
        return b"data:%b;base64,%b" % (MIME_TYPES[self.format].encode(), pybase64.b64encode(self.data))


def encode_image(
    data: bytes,
    limits: ImageSettings,
    budget_px: int | None,
    decode: bool = False,
    before_decoding: Callable[[int], None] = lambda _: None,
) -> EncodedImage:
    """Encode an image file so that any server decodes it to the picture that a person sees.

    Bytes that need no change are passed through. They are decoded, and so checked for damage, only with `decode` or
    where their end cannot be seen. More than `budget_px` pixels are shrunk onto the model's grid
    (`limits["pixel_grid_px"]`). `before_decoding` is called once or more where more than the header is about to be
    decoded, with about as many bytes as the picture will take from then on.

    Raises:
        ItemFailure: unreadable_image, or image_too_large above `limits["max_source_pixels"]`.
    """
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = limits.get("damaged") == "send"
    file = _File(data, limits, budget_px, decode, before_decoding)
    with decoding_failures():
        kind = identify(data[:HEAD_BYTES])
        if kind == "TIFF":
            return file.encoded(decode_tiff(data, limits, budget_px, before_decoding))
        if kind == "JXL":  # its plugin decodes it as it is opened
            before_decoding(jxl_bytes(check_jxl_size(data, limits)))
        try:
            with io.BytesIO(data) as stream:  # closed, it lets the file go, which the image may hold a while longer
                return file.opened_and_encoded(open_image(stream, data[:HEAD_BYTES]))
        except ItemFailure:
            raise
        except (
            Exception
        ):  # Pillow's plugins raise nearly anything on odd metadata, which is no reason to lose a picture
            opened = open_without_metadata(data)
            if opened is None:
                raise
            return file.opened_and_encoded(*opened)


def is_new_picture(
    data: bytes, limits: ImageSettings, budget_px: int | None, before_decoding: Callable[[int], None] = lambda _: None
) -> bool:
    """Whether earlier versions sent another picture for a file, as `EncodedImage.is_new`; raises as `encode_image`."""
    with decoding_failures(), io.BytesIO(data) as stream:
        header = file_header(stream, data[:HEAD_BYTES])
    if header.format in MIME_TYPES and not header.animated and not header.transparent:
        return header.other_colours and limits.get("colour") != "as_is"
    return encode_image(data, limits, budget_px, False, before_decoding).is_new


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


@dataclass(frozen=True, slots=True)
class _File:
    """The bytes of an image file, and how they are to be sent; see `encode_image`."""

    data: bytes
    limits: ImageSettings
    budget_px: int | None
    decode: bool
    before_decoding: Callable[[int], None]

    def opened_and_encoded(self, image: "PillowImage", lost: LostMetadata | None = None) -> EncodedImage:
        """An open image as it is sent; `lost` has the metadata that it was opened without."""
        with image:
            check_size(image.width, image.height, self.limits)
            stored, size = image.size, self._shrunk_size(image.size)
            kind = image.format or ""
            if kind == "JPEG" and self.limits.get("damaged") != "send":
                self._check_for_zeros(stored)
            if size is None and lost is None and kind in MIME_TYPES and self._is_plain(image, kind):
                return EncodedImage(kind, self.data, is_untouched=True)
            if size is not None:
                image.draft("RGB", size)  # a JPEG is decoded at a fraction of its size, which saves much of the work
            self.before_decoding(decoded_bytes(image, stored, math.prod(size or stored)))
            return self.encoded(decode_picture(image, stored, self.data, self.limits, lost))

    def encoded(self, picture: Picture) -> EncodedImage:
        """A decoded picture as it is sent."""
        image, is_on_black = laid_out(in_8_bits(upright(picture.image, picture.orientation)))
        size = self._shrunk_size(picture.size)
        if size is not None:
            image = _resized(image, size[::-1] if picture.orientation in SIDEWAYS else size)
        profile = picture.profile if self._colours_are_converted else None
        is_new = picture.is_new or is_on_black or not is_srgb(image.mode, profile)
        return _encode(to_srgb(image, profile), picture.is_jpeg, is_new)

    @property
    def _colours_are_converted(self) -> bool:
        return self.limits.get("colour") != "as_is"

    def _shrunk_size(self, size: tuple[int, int]) -> tuple[int, int] | None:
        if self.budget_px is None or size[0] * size[1] <= self.budget_px:
            return None
        return grid_size(*size, self.limits["pixel_grid_px"], self.budget_px)

    def _is_plain(self, image: "PillowImage", kind: str) -> bool:
        """Whether any server sees an image as a person does.

        An image that may be plain is decoded to its end where that is asked for, or its end cannot be seen.
        """
        from PIL import Image

        if image.mode not in ("RGB", "L") or is_animated(image):
            return False
        if self._colours_are_converted and not is_srgb(image.mode, image.info.get("icc_profile")):
            return False
        if self.decode or not is_certainly_complete(kind, self.data):
            if self.limits.get("damaged") == "send":  # a part may be missing, which the server would reject
                return False
            self.before_decoding(decoded_bytes(image, image.size, math.prod(image.size)))
            image.load()
        # a PNG's own getexif would decode the picture to find metadata behind it; the base class's does not
        return "transparency" not in image.info and Image.Image.getexif(image).get(ORIENTATION, 1) == 1

    def _check_for_zeros(self, size: tuple[int, int]) -> None:
        """Raise ItemFailure where a part of a JPEG was lost and filled with zeros, which decodes to grey in silence."""
        found = zeros_in_jpeg(self.data)
        if found is None:
            return
        self.before_decoding(math.prod(size) * COMPARED_BYTES)
        if is_filled_with_zeros(self.data, *found, _pixels):
            raise ItemFailure(
                Reason.UNREADABLE_IMAGE, f"zeros stand in place of a part of its picture, from byte {found[0]}"
            )


def _pixels(data: bytes) -> bytes:
    with open_image(io.BytesIO(data), data[:HEAD_BYTES]) as image:
        return image.tobytes()


def _resized(image: "PillowImage", size: tuple[int, int]) -> "PillowImage":
    from PIL import Image

    return image.resize(size, Image.Resampling.BICUBIC)


def _encode(image: "PillowImage", is_jpeg: bool, is_new: bool) -> EncodedImage:
    """A picture in 8 bits as RGB, without metadata."""
    buffer = io.BytesIO()
    image = image if image.mode == "RGB" else image.convert("RGB")
    image.info = {}
    if is_jpeg:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return EncodedImage("JPEG", buffer.getvalue(), is_untouched=False, is_new=is_new)
    image.save(buffer, "PNG", compress_level=1)
    return EncodedImage("PNG", buffer.getvalue(), is_untouched=False, is_new=is_new)
