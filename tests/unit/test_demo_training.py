"""The demo model is taught the words that the workflow asks with."""

import json
import math
import random

import pytest
import yaml
from captionqa.config.prompts import IMAGE_MARK, STYLES, place_captions, without_marks
from projects import ROOT


@pytest.fixture
def world(monkeypatch):
    """What the training draws, says and asks."""
    monkeypatch.syspath_prepend(ROOT / "resources" / "demo")
    import shapes

    return shapes


def test_the_demo_model_is_taught_the_words_that_are_asked(world):
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    template = schema["properties"]["qa"]["properties"]["caption_template"]["default"]
    rng, marked = random.Random(0), 0
    assert world.PROMPTS == STYLES
    for _ in range(10):
        for category in world.CATEGORIES:
            asked = world.question(rng, category)
            marked += IMAGE_MARK in asked.text
            assert world.without_images(asked) == without_marks(asked.text)
            for style in STYLES:
                captions = [world.caption(scene, style) for scene in asked.scenes]
                assert world.with_captions(asked, style) == place_captions(asked.text, captions, template)
    assert marked


def test_the_reader_is_small_and_reads_the_demo_models_tokens():
    demo = ROOT / "resources" / "demo"
    weights = (demo / "reader" / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    sizes = [math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"]
    assert sum(sizes) < 2_000_000
    assert {tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"} == {"BF16"}
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (demo / "reader" / name).read_bytes() == (demo / "model" / name).read_bytes()
    assert "vision_config" not in json.loads((demo / "reader" / "config.json").read_text())
