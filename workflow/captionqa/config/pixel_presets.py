"""Pixel presets: named values of `client.images.max_pixels`, each with the place where its number was published.

The places are files of github.com/QwenLM/Qwen3-VL. A preset is a number of pixels on any grid; on that of Qwen3-VL
1,024 of them are one token. With a preset, as with `auto`, images never get more than fits into `max_model_len`.
"""

from dataclasses import dataclass

MEGAPIXEL = 1_000_000
#: The values that mean what fits into `max_model_len`; the first is the one in fingerprints.
FITS = ("auto", "fits")


@dataclass(frozen=True)
class PixelPreset:
    """One named limit on the pixels of an image."""

    px: int
    #: Where the number is from.
    source: str


#: By name, the smallest first.
PIXEL_PRESETS = {
    "qwen_readme": PixelPreset(1280 * 32 * 32, "README.md, 'Pixel Control via Official Processor': 256 to 1280 tokens"),
    "document": PixelPreset(2048 * 32 * 32, "cookbooks/document_parsing.ipynb, `max_pixels` of its function"),
    "qwen_eval": PixelPreset(5120 * 28 * 28, "evaluation/mmmu/run_mmmu.py, RealWorldQA and MathVision: MAX_PIXELS"),
}
