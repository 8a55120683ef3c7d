"""Questions of tables as people have them, from the file to the metrics: shards with pictures, TSV with base64."""

import base64
import json

import pandas as pd
import pytest
from projects import draw_image

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path):
    """The bytes of four different pictures."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        draw_image(path, number)
    return [path.read_bytes() for path in paths]


@pytest.fixture
def asked(project):
    """A project that asks nothing but the questions of this section, and knows these answers."""

    def of(says, **qa):
        (project.folder / "answers.json").write_text(json.dumps(says))
        server = project.config["models"][project.model]["server"]
        server["env"]["STAND_IN_ANSWERS"] = str(project.folder / "answers.json")
        project.config.pop("captions", None)
        project.config["qa"] = qa
        return project

    return of


def test_shards_with_pictures_inside_are_asked_and_graded_by_index(asked, pictures, project):
    image = [{"bytes": data, "path": "images/a/1.png"} for data in pictures]
    rows = [
        {
            "id": 1.0,
            "query": "Which is <image 2>?",
            "options": ["<image 1>", "blue"],
            "label": 0,
            "pictures": image[:2],
        },
        {"id": 2.0, "query": "Which?", "options": ["1", "0"], "label": 0, "pictures": []},
        {"id": 3.0, "query": "Which 3?", "options": ["x", "y"], "label": None, "pictures": image[2:3]},
    ]
    (project.folder / "data").mkdir()
    for number, part in enumerate((rows[:1], rows[1:])):
        pd.DataFrame(part).to_parquet(project.folder / "data" / f"test-0000{number}-of-00003.parquet")
    columns = {"qid": "id", "question": "query", "answer": "label", "images": "pictures"}
    says = {
        "Which is <image>?\nA. <image>\nB. blue": "A",
        "Which?\nA. 1\nB. 0": "A",
        "<image>Which 3?\nA. x\nB. y": "B",
    }
    project = asked(says, question_path="data", columns=columns, answer_is="index0")
    said = project.run()
    assert "1 of 3 shards are not among the files that are read" in said
    assert "1 without a ground truth: asked and not graded" in said
    records = project.qa("results")
    found = {qid: (record["gt_letter"], record["is_correct"]) for qid, record in records.items()}
    assert found == {"1": ("A", True), "2": ("A", True), "3": (None, None)}
    assert records["1"]["image_paths"] == [
        f"test-00000-of-00003.parquet#group=0&row=0&column=pictures&index={index}" for index in (1, 0)
    ]
    sent = {request["text"]: request["images"] for request in project.requests()}
    assert [len(images) for images in sent.values()].count(0) == 1
    assert project.plan() == {}

    project.forget_requests()
    project.config["qa"] |= {"chunks": 7}
    project.run()
    assert project.requests() == []


def test_a_tsv_with_base64_is_read_under_its_preset(asked, pictures, project):
    text = base64.b64encode(pictures[0]).decode()
    rows = [
        {
            "index": 1,
            "image": text,
            "hint": "Look.",
            "question": "Is it?",
            "A": "yes",
            "B": "no",
            "C": "",
            "answer": "A",
        },
        {
            "index": 1000001,
            "image": "1",
            "hint": "",
            "question": "Is it?",
            "A": "no",
            "B": "yes",
            "C": "",
            "answer": "B",
        },
    ]
    pd.DataFrame(rows).to_csv(project.folder / "MMBench.tsv", sep="\t", index=False)
    directly = "Answer with the option's letter from the given choices directly."
    says = {
        f"<image>Hint: Look.\nIs it?\nA. yes\nB. no\n{directly}": "A",
        f"<image>Is it?\nA. no\nB. yes\n{directly}": "B",
    }
    project = asked(says, question_path="MMBench.tsv", preset="mmbench")
    project.run()
    assert {qid: record["is_correct"] for qid, record in project.qa("results").items()} == {"1": True, "1000001": True}
    assert len({tuple(request["images"]) for request in project.requests()}) == 1
    assert project.plan() == {}


def test_an_address_stops_the_run_before_a_server(asked, project):
    rows = [{"qid": "q", "question": "What?", "answer": "x", "image": "https://example.org/a.png"}]
    (project.folder / "q.jsonl").write_text(json.dumps(rows[0]))
    project = asked({}, question_path="q.jsonl")
    assert "addresses are not fetched: download the images" in project.run(check=False)
    assert project.requests() == []
