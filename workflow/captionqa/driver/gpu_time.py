"""GPU time by arithmetic: how long a number of tokens takes, before anything was measured.

The work is counted as in Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1: two
floating-point operations per parameter and token, of the prompt and of the answer. An image token stands for four
patches, each of which goes through the vision encoder first. Servers reach a part of a GPU's peak that differs widely
with the batch, the images and the server's processor, so the result is a range.
"""

import re
from dataclasses import dataclass
from pathlib import Path

#: Dense bfloat16 operations a second, by NVIDIA's data sheets.
PEAK_FLOPS = {"L40S": 362e12, "A100": 312e12, "H100": 989e12}
#: The parts of the peak between which servers of vision-language models lie.
LEAST_OF_PEAK, MOST_OF_PEAK = 0.05, 0.4
#: Parameters of the vision encoder (Qwen3-VL's is SigLIP 2 So400m), and how many of its patches make one token.
VISION_PARAMETERS, PATCHES_PER_TOKEN = 0.4e9, 4
BYTES_PER_PARAMETER = 2
#: A size in a model's name: 4B, 0.5B, or 30B-A3B, of which 3 billion parameters work on each token.
_SIZE = re.compile(r"(?<![\w.])(?P<all>\d+(?:\.\d+)?)B(?:-A(?P<active>\d+(?:\.\d+)?)B)?(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Tokens:
    """Tokens of some requests."""

    #: Of images, and of images and texts together.
    image: float
    prompt: float
    answer: float


def active_parameters(path: str) -> float | None:
    """How many parameters of a model work on each token; None where neither its folder nor its name tells.

    `path` is a hub id or a local folder, whose weights are taken to be of two bytes a parameter.
    """
    if match := _SIZE.search(path.rpartition("/")[2]):
        return float(match["active"] or match["all"]) * 1e9
    weights = sum(file.stat().st_size for file in Path(path).glob("*.safetensors"))
    return weights / BYTES_PER_PARAMETER or None


def gpu_seconds(tokens: Tokens, parameters: float, peak_flops: float) -> tuple[float, float]:
    """The least and the most seconds of one GPU that the tokens take."""
    operations = 2 * parameters * (tokens.prompt + tokens.answer)
    operations += 2 * VISION_PARAMETERS * PATCHES_PER_TOKEN * tokens.image
    return operations / (peak_flops * MOST_OF_PEAK), operations / (peak_flops * LEAST_OF_PEAK)
