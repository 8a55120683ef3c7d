"""Each configuration in config/examples is planned, by a dry run in a user's folder."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from hub_server import serve_hub
from PIL import Image
from projects import ROOT, draw_image

EXAMPLES = {path.stem: path for path in sorted((ROOT / "config" / "examples").glob("*.yaml"))}
#: The chunk jobs of each example: (caption_chunk, answer_chunk).
CHUNKS = {
    "captions_only": (2, 0),
    "captions_by_schema": (1, 0),
    "qa_only": (0, 1),
    "hub_data_set": (0, 1),
    "existing_server": (1, 0),
    "two_gpus": (1, 0),
    "replicas": (1, 1),
    "reader": (2, 5),
    "grid": (0, 8),
}


@pytest.fixture(scope="module")
def hub():
    with serve_hub() as hub:
        yield hub


def ai2d(folder):
    """A shard of AI2D's test split, with one question."""
    draw_image(folder / "a.png", 1)
    picture = {"bytes": (folder / "a.png").read_bytes(), "path": None}
    row = {"question": "What?", "options": ["x", "y"], "answer": "1", "image": picture}
    return pd.DataFrame([row]).to_parquet()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_planned(tmp_path, hub, name):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (2400, 1600)).save(tmp_path / "photos" / "one.png")
    question = {"qid": "q1", "question": "What?", "choices": ["a", "b"], "answer": "A", "image": "one.png"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(question) + "\n")
    hub.repositories["lmms-lab/ai2d"] = {"main": {"data/test-00000-of-00001.parquet": ai2d(tmp_path)}}
    shutil.copy(ROOT / "config" / "examples" / "attributes.schema.json", tmp_path)
    command = [sys.executable, "-m", "captionqa", "run", str(EXAMPLES[name]), "-n"]
    environment = {"PYTHONPATH": str(ROOT / "workflow"), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert (int(rows.get("caption_chunk", 0)), int(rows.get("answer_chunk", 0))) == CHUNKS[name]
    if name == "captions_only":
        assert "images to send are above 1.3 megapixels; client.images.max_pixels: qwen_readme" in done.stderr
