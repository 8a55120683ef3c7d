"""The demo model is taught the words that the workflow asks with."""

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
