"""Another model under the same name with a real vLLM: weights and a chat template that changed where they lie."""

import os
import shutil
from pathlib import Path

import pytest
from projects import DEMO_MODEL, Project

pytestmark = pytest.mark.vllm


@pytest.fixture
def small(demo_config, tmp_path):
    """The demo's model in a folder of its own, three of its images, and a chat template that an option names."""
    project = Project(tmp_path)
    project.model = DEMO_MODEL
    model = demo_config["models"][DEMO_MODEL]
    folder = Path(shutil.copytree(model["path"], tmp_path / "model"))
    shutil.copy(folder / "chat_template.jinja", tmp_path / "own.jinja")
    images = sorted(Path(demo_config["captions"]["dataset_path"]).rglob("*.png"))[:3]
    (tmp_path / "images").mkdir()
    for image in images:
        shutil.copy(image, tmp_path / "images")
    server = {**model["server"], "extra_args": [*model["server"]["extra_args"], "--chat-template", "own.jinja"]}
    project.config = {
        "output_dir": "out",
        "models": {DEMO_MODEL: {**model, "path": str(folder), "server": server}},
        "captions": {"dataset_path": "images", "prompt_styles": ["SIMPLE"], "max_tokens": 16, "chunks": 1},
    }
    yield project
    project.end()


def test_retouched_weights_and_a_changed_template_under_their_names_ask_for_all_again(small):
    small.run()
    before, made = small.captions(), small.captions(suffix="_provenance")
    weights = small.folder / "model" / "model.safetensors"
    times, content = weights.stat(), bytearray(weights.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200_000] = bytes(200_000)
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    template = small.folder / "own.jinja"
    template.write_text(template.read_text().replace("{%", "{#- another -#}{%", 1))
    text = small.run()
    assert "its revision was local-" in text
    assert "the content of own.jinja changed" in text
    after, made_again = small.captions(), small.captions(suffix="_provenance")
    assert after.keys() == before.keys()
    assert made_again["started"] > made["finished"]
    (first,), (second,) = made["answered_by"], made_again["answered_by"]
    assert first["model_revision"] != second["model_revision"]
    assert small.plan() == {}
