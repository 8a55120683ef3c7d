"""The demo's model with patches eight times as wide; runs in vLLM's environment.

    .venv-vllm/bin/python -m bench.vllm_model resources/demo/model FOLDER

The demo's image processor shrinks every picture to 4,096 pixels, so a large picture costs the server little more than
decoding. Here it has Qwen3-VL's own limits: a picture keeps its size up to 16 megapixels, and is resized, normalized,
cut into patches and handed to the engine as for Qwen3-VL. Patches of 64 pixels a side keep the tokens few, so that the
engine, which has no GPU here, is not the bottleneck.
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

#: How many times as wide a patch is.
WIDER = 8
#: Qwen3-VL's own limit.
LEAST_PX = 65_536
#: Qwen3-VL's own limit.
MOST_PX = 16_777_216
WEIGHT = "model.visual.patch_embed.proj.weight"


def make(source: Path, folder: Path) -> None:
    """Write the model to a new folder.

    It sees a picture as the demo's model sees the same picture shrunk by taking the mean of each 8 x 8 pixels.
    """
    shutil.copytree(source, folder)
    weights = load_file(source / "model.safetensors")
    spread = weights[WEIGHT].repeat_interleave(WIDER, 3).repeat_interleave(WIDER, 4) / WIDER**2
    save_file(weights | {WEIGHT: spread.contiguous()}, folder / "model.safetensors", metadata={"format": "pt"})
    config, processor = folder / "config.json", folder / "processor_config.json"
    changed = json.loads(config.read_text())
    changed["vision_config"]["patch_size"] *= WIDER
    config.write_text(json.dumps(changed))
    changed = json.loads(processor.read_text())
    changed["image_processor"] |= {
        "patch_size": changed["image_processor"]["patch_size"] * WIDER,
        "size": {"shortest_edge": LEAST_PX, "longest_edge": MOST_PX},
    }
    processor.write_text(json.dumps(changed))


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:]))
