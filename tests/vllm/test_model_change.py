"""Another model under the same name with a real vLLM: weights and a chat template that changed where they lie."""

import os
import shutil

import pytest
from projects import DEMO_MODEL, Project

pytestmark = pytest.mark.vllm


@pytest.fixture
def complete(demo, tmp_path):
    """A copy of the demo after its run, of which the next run asks for one style alone."""
    project = Project(shutil.copytree(demo.folder, tmp_path / "demo"))
    project.model = DEMO_MODEL
    captions = {**demo.config["captions"], "prompt_styles": ["SIMPLE"], "chunks": 1}
    project.config = {**demo.config, "captions": captions, "qa": None}
    yield project
    project.kill()


def test_retouched_weights_and_a_changed_template_under_their_names_ask_for_all_again(complete):
    before, made = complete.captions(), complete.captions(suffix="_provenance")
    weights = complete.folder / "model" / "model.safetensors"
    times, content = weights.stat(), bytearray(weights.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = bytes(2_000)
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    template = complete.folder / "own.jinja"
    template.write_text(template.read_text().replace("{%", "{#- another -#}{%", 1))
    text = complete.run()
    assert "its revision was local-" in text
    assert "the content of own.jinja changed" in text
    after, made_again = complete.captions(), complete.captions(suffix="_provenance")
    assert after.keys() == before.keys()
    assert made_again["started"] > made["finished"]
    (first,), (second,) = made["answered_by"], made_again["answered_by"]
    assert first["model_revision"] != second["model_revision"]
    (server,) = made_again["servers"]  # for one style alone, which asks about each image once
    assert server["argv"][server["argv"].index("--mm-processor-cache-gb") + 1] == "0"
    assert "--no-enable-prefix-caching" in server["argv"]
    assert complete.plan() == {}
