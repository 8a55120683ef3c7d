"""The pixels of a TIFF's page as a picture of 8 bits a sample: which samples are sent, and what they mean.

Integers without a sign are converted in blocks of rows, so that beside the file only the picture itself takes memory.
Values of which some may be no data, and colours that are not levels of red, green and blue or of inks, are converted as
a whole.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionqa.dataset.image_memory import CONVERTED_BYTES, SHRUNK_AS_THEY_ARE, bytes_sent
from captionqa.dataset.image_metadata import ORIENTATION
from captionqa.dataset.tiff_levels import (
    expected_range,
    from_lab,
    in_8_bits,
    levels_in,
    value_range,
)

if TYPE_CHECKING:  # these take long to import, and few data sets need them
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage
    from tifffile import TiffPage

#: Photometric interpretations.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLOURS = {RGB: 3, CMYK: 4, CIELAB: 3, ICCLAB: 3, YCBCR: 3}
#: Kinds of extra samples.
ASSOCIATED, UNASSOCIATED = 1, 2
#: Pixels of a block, and bytes of a file that tifffile reads ahead.
BLOCK_PIXELS, READ_BYTES = 2**17, 2**22


@dataclass(frozen=True)
class _Samples:
    """The samples of a page that are sent."""

    #: Their numbers; the alpha is the last one.
    chosen: list[int]
    colours: int
    #: The kind of the alpha, if there is one.
    alpha: int | None

    @property
    def mode(self) -> str:
        """The mode of their picture, by Pillow's name."""
        mode = "CMYK" if self.colours == 4 else {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(self.chosen)]
        return mode.replace("A", "a") if self.alpha == ASSOCIATED else mode

    def of(self, values: "NDArray[Any]") -> "NDArray[Any]":
        """Their values out of an array (height, width, samples)."""
        count = len(self.chosen)
        # the first ones are a view, which copies nothing
        return values[..., :count] if self.chosen == list(range(count)) else values[..., self.chosen]


def page_picture(page: "TiffPage", data: bytes) -> "tuple[PillowImage, bool]":
    """The picture of a page of a file, and whether its range is that which its type of values declares."""
    if not _is_converted_in_blocks(page):
        return _converted_as_a_whole(page)
    expected = None if _lies_open(page) else expected_range(page)
    picture, lowest, highest = _converted(page, data, expected)
    black, white, is_declared = value_range(lowest, highest, page)
    if picture is None or (black, white) != expected:
        picture, _, _ = _converted(page, data, (black, white))
    assert picture is not None
    return picture, is_declared


def page_bytes(page: "TiffPage", budget_px: int | None) -> int:
    """The bytes that a page takes from decoding to encoding, of which at most `budget_px` pixels are sent."""
    pixels, samples = page.imagewidth * page.imagelength, page.samplesperpixel
    value_bytes = 8 if page.dtype is None else page.dtype.itemsize
    each = 4 if _samples(page).mode in SHRUNK_AS_THEY_ARE else 4 + CONVERTED_BYTES
    if page.tags.valueof(ORIENTATION, default=1) != 1:
        each += 4
    if _is_converted_in_blocks(page):
        segment_bytes = 0 if page.is_contiguous else math.prod(page.chunks) * value_bytes
        decoding = 5 * segment_bytes // 4 + (pixels * samples if page.planarconfig == 2 else 0)
    else:
        copies = 2 if samples > 1 else 3  # one more to find values that are far off all others
        decoding = pixels * samples * (copies * value_bytes + 1)
    return pixels * each + max(decoding, bytes_sent(pixels, min(pixels, budget_px or pixels)))


def _is_converted_in_blocks(page: "TiffPage") -> bool:
    return (
        page.dtype is not None
        and page.dtype.kind == "u"
        and page.imagedepth == 1
        and page.tags.get("GDAL_NODATA") is None
        and int(page.photometric) not in (PALETTE, CIELAB, ICCLAB)
    )


def _lies_open(page: "TiffPage") -> bool:
    """Whether a page's values lie in its file as they are, one after another."""
    return bool(page.is_contiguous and page.fillorder == 1 and page.predictor == 1 and not page.is_subsampled)


def _samples(page: "TiffPage") -> _Samples:
    """Extra samples come after the colours; those of an unspecified kind, such as near infrared, are left out."""
    colours = COLOURS.get(int(page.photometric), 1)
    colours = colours if page.samplesperpixel >= colours else 1
    extra = [int(kind) for kind in page.extrasamples]
    alpha = next((kind for kind in extra if kind in (ASSOCIATED, UNASSOCIATED)), None)
    chosen = list(range(colours))
    if alpha is None or colours == 4 or colours + extra.index(alpha) >= page.samplesperpixel:
        return _Samples(chosen, colours, None)
    return _Samples([*chosen, colours + extra.index(alpha)], colours, alpha)


def _converted(
    page: "TiffPage", data: bytes, limits: tuple[float, float] | None
) -> "tuple[PillowImage | None, float, float]":
    """A page's picture with these values for black and white, and the lowest and the highest value that are sent.

    Without limits there is no picture.
    """
    from PIL import Image

    samples, size = _samples(page), (page.imagewidth, page.imagelength)
    in_planes = page.planarconfig == 2 and page.samplesperpixel > 1
    modes = ["L"] * len(samples.chosen) if in_planes else [samples.mode]
    parts = [] if limits is None else [Image.new(mode, size) for mode in modes]
    lowest, highest = math.inf, -math.inf
    levels_of = None if limits is None else levels_in(page.dtype, *limits)
    for sample, row, column, block in _blocks(page, data):
        if in_planes and sample not in samples.chosen:
            continue
        part = samples.chosen.index(sample) if in_planes else 0
        values = block if in_planes else samples.of(block)
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        if levels_of is not None:
            levels = levels_of(values)
            if page.photometric == WHITE_IS_ZERO and part == 0:
                levels[..., 0] = 255 - levels[..., 0]
            parts[part].paste(_image(levels, modes[part]), (column, row))
    if len(parts) > 1:
        return Image.merge(samples.mode, parts), lowest, highest
    return (parts[0] if parts else None), lowest, highest


def _blocks(page: "TiffPage", data: bytes) -> "Iterator[tuple[int, int, int, NDArray[Any]]]":
    """(sample, row, column, values) of each block of a page, an array (height, width, samples).

    Only planes have a sample of their own; it is 0 where a block has all of them.
    """
    import numpy as np

    height, width = page.imagelength, page.imagewidth
    if _lies_open(page):
        assert page.dtype is not None
        kind = page.dtype.newbyteorder(page.parent.byteorder)
        values = np.frombuffer(data, kind, height * width * page.samplesperpixel, page.dataoffsets[0])
        shape = (page.samplesperpixel, height, width, 1) if page.planarconfig == 2 else (1, height, width, -1)
        for sample, plane in enumerate(values.reshape(shape)):
            yield from _in_rows(sample, 0, 0, plane)
        return
    for segment, (sample, _, row, column, _), shape in page.segments(maxworkers=1, buffersize=READ_BYTES):
        whole = np.zeros(shape, page.dtype) if segment is None else segment
        yield from _in_rows(sample, row, column, whole[0, : height - row, : width - column])


def _in_rows(
    sample: int, row: int, column: int, values: "NDArray[Any]"
) -> "Iterator[tuple[int, int, int, NDArray[Any]]]":
    rows = max(1, BLOCK_PIXELS // max(1, values.shape[1]))
    for first in range(0, len(values), rows):
        yield sample, row + first, column, values[first : first + rows]


def _converted_as_a_whole(page: "TiffPage") -> "tuple[PillowImage, bool]":
    import numpy as np

    values = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = values.transpose(1, 2, 0)
    values = values.reshape(page.imagelength, page.imagewidth, -1)
    if page.photometric in (CIELAB, ICCLAB):
        return _image(from_lab(values, page.photometric == ICCLAB), "RGB"), False
    if page.photometric == PALETTE and page.colormap is not None:
        return _image((page.colormap[:, values[..., 0]] >> 8).astype("uint8").transpose(1, 2, 0), "RGB"), True
    samples = _samples(page)
    levels, valid, is_declared = in_8_bits(samples.of(values), page)
    if page.photometric == WHITE_IS_ZERO:
        levels[..., 0] = 255 - levels[..., 0]
    if valid is not None and samples.mode in ("L", "RGB"):  # what is no data is left out, as by an alpha
        alpha = np.where(valid, 255, 0).astype(np.uint8)
        return _image(np.concatenate([levels, alpha], axis=-1), f"{samples.mode}A"), False
    return _image(levels, samples.mode), is_declared


def _image(levels: "NDArray[np.uint8]", mode: str) -> "PillowImage":
    import numpy as np
    from PIL import Image

    height, width = levels.shape[:2]
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(levels), "raw", mode, 0, 1)
