"""The configurations in the README are planned as they stand there, in a folder of photographs with questions."""

import json
import re
import textwrap

import pytest
import yaml
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.dataset.planning import plan_task
from captionqa.files import read_json_lines
from projects import ROOT, draw_image

README = (ROOT / "README.md").read_text()
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"^    (?:models|qa):\n(?:    .*\n)+", README, re.MULTILINE)]
QUESTION = json.loads(re.search(r'`(\{"qid".+?\})`', README)[1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_image(tmp_path / "photos" / QUESTION["image"], 1)
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    return tmp_path


def test_captions_take_six_lines(folder, schema):
    assert len(BLOCKS[0].splitlines()) == 6
    config = check(yaml.safe_load(BLOCKS[0]), schema)
    plan = plan_task(config, Layout("output", config.model_name), "captions")
    assert plan.items == 1
    assert config.prompt_styles == ["SHORT", "SIMPLE"]


def test_questions_are_added_to_them(folder, schema):
    config = check(yaml.safe_load(BLOCKS[0] + BLOCKS[1]), schema)
    layout = Layout("output", config.model_name)
    row = next(iter(read_json_lines(layout.question_rows(plan_task(config, layout, "qa").rows))))
    assert row["question"] == "What is this?\nA. a cat\nB. a dog"
    assert (row["answer"], row["images"], row["choices"]) == ("B", ["dog.jpg"], ["a cat", "a dog"])


def test_a_data_set_of_the_hub_is_the_one_of_the_examples(schema):
    captions, hub = yaml.safe_load(BLOCKS[0]), yaml.safe_load(BLOCKS[2])
    example = yaml.safe_load((ROOT / "config" / "examples" / "hub_data_set.yaml").read_text())
    assert hub["qa"] == example["qa"]
    assert captions["models"] == example["models"]
