"""Each example in docs/data.md is planned: its configuration is taken from the page."""

import base64
import json
import re
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.presets import CAPTION_FOLDER, preset_names
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.planning import plan_task
from captionqa.files import read_json_lines
from exported import Answers, Captions
from projects import ROOT
from shard_files import image_table, save_to_disk, write_parquet, write_tar

PAGE = (ROOT / "docs" / "data.md").read_text()
QUESTIONS = re.findall(r"^\| .+? \| `(\{question_path.+?\})` \|", PAGE, re.MULTILINE)
TABLE = re.findall(r"^\| (.+?) \| `(dataset_path: .+?)` \|", PAGE, re.MULTILINE)
EXPORTS = re.findall(r"^\| .+? \| `(\{(?:captions|qa): .+?\})` \| `(.+?)` \|", PAGE, re.MULTILINE)
PICTURES = {f"in/{number}.png": f"image {number}".ljust(200).encode() for number in range(4)}


def folder(path):
    for name, data in PICTURES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def imagefolder(path):
    (folder(path) / "metadata.csv").write_text("file_name,text\nin/0.png,x\n")


def parts(path, write, name):
    for number, (key, data) in enumerate(PICTURES.items()):
        write(path / name.format(number), {key: data})


def in_base64(name):
    return f"{name}\t{base64.b64encode(PICTURES[name]).decode()}\n"


#: How the data of each example is made, by the path that its configuration names.
MAKERS = {
    "images": folder,
    "train": imagefolder,
    "train.parquet": lambda path: write_parquet(path, PICTURES),
    "data": lambda path: parts(path, write_parquet, "{}.parquet"),
    "data/train-*.parquet": lambda path: parts(path.parent, write_parquet, "train-{}.parquet"),
    "00000.tar": lambda path: write_tar(path, PICTURES),
    "shards": lambda path: parts(path, write_tar, "{}.tar"),
    "shards/{00000..00003}.tar": lambda path: parts(path.parent, write_tar, "{:05d}.tar"),
    "llava.json": lambda path: (
        folder(path.parent),
        path.write_text(json.dumps([{"image": name} for name in PICTURES])),
    ),
    "annotations/captions.json": lambda path: (
        folder(path.parent.parent / "val2017"),
        path.parent.mkdir(),
        path.write_text(
            json.dumps({"images": [{"file_name": name, "id": 1} for name in PICTURES], "annotations": [{}]})
        ),
    ),
    "list.tsv": lambda path: path.write_text("id\timage\n" + "".join(map(in_base64, PICTURES))),
    "ds": lambda path: save_to_disk(path, [image_table(PICTURES)]),
}


def keys_of(section):
    return dict(pair.split(": ") for pair in section.split(", "))


def test_every_example_has_its_data():
    assert {keys_of(section)["dataset_path"] for _, section in TABLE} == set(MAKERS)


@pytest.mark.parametrize(("what", "section"), TABLE, ids=[section for _, section in TABLE])
def test_an_example_reads_its_images(tmp_path, monkeypatch, make_config, what, section):
    monkeypatch.chdir(tmp_path)
    keys = keys_of(section)
    path = keys["dataset_path"]
    MAKERS[path](Path(path))
    config = make_config({"captions": keys})
    layout = Layout(str(tmp_path / "output"), "tiny")
    plan = plan_task(config, layout, "captions")
    sources = ImageSources(data_root(config.section("captions").data_path))
    entries = [entry for items in plan.item_lists(layout, "captions") for entry in read_json_lines(items)]
    found = {entry["id"]: sources.find(entry.get("images", [entry["id"]])[0]).read()[0] for entry in entries}
    is_tar = path.endswith(".tar") or path == "shards"
    assert found == {name.removesuffix(".png") if is_tar else name: data for name, data in PICTURES.items()}


ROW = {"qid": "q1", "question": "What?", "answer": "red", "image": "a.png"}
CELL = {"bytes": b"\x89PNG", "path": None}
OWN_PRESET = re.search(r"^    about: Rare birds\n(?:    .*\n)+", PAGE, re.MULTILINE)[0]
#: The files of each example of questions, by the path that it names: rows, or text.
FILES = {
    "questions.parquet": {"questions.parquet": [ROW]},
    "q.jsonl": {"q.jsonl": [ROW]},
    "q.json": {"q.json": {"info": {}, "data": [ROW]}},
    "q.csv": {"q.csv": [ROW]},
    "data": {"data/a.parquet": [ROW], "data/b.parquet": [ROW | {"qid": "q2"}]},
    "data/test-*.parquet": {"data/test-0.parquet": [ROW], "data/train-0.parquet": [ROW | {"qid": "q2"}]},
    "one.jsonl": {"one.jsonl": [ROW], "two.jsonl": [ROW | {"qid": "q2"}]},
    "ds": {
        "ds/data-00000-of-00001.arrow": [ROW],
        "ds/state.json": {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]},
    },
    "mmmu.parquet": {
        "mmmu.parquet": [
            {
                "id": "m",
                "question": "<image 1>?",
                "options": "['a', 'b']",
                "answer": "A",
                "subfield": "s",
                "image_1": CELL,
            }
        ]
    },
    "own.jsonl": {
        "own.jsonl": [{"set": "x", "n": 7, "text": "What?", "meta": {"truth": "red"}, "left": "a.png", "right": None}]
    },
    "mcq.csv": {"mcq.csv": [ROW | {"opt1": "x", "opt2": "y", "opt3": None, "answer": 1}]},
    "many.jsonl": {"many.jsonl": [{"photo": "a.png", "items": [{"q": "What?", "a": "x"}, {"q": "Who?", "a": "y"}]}]},
    "vqa.json": {
        "vqa.json": {"questions": [{"question_id": 1, "image_id": 5, "question": "What?"}]},
        "truths.json": {"annotations": [{"question_id": 1, "answers": [{"answer": "x"}, {"answer": "y"}]}]},
    },
    "keys.jsonl": {
        "keys.jsonl": [{"qid": "k", "question": "What?", "answer": "x", "photo": "p"}],
        "photos.parquet": [{"id": "p", "image": CELL}],
    },
    "rare.jsonl": {
        "rare.jsonl": [{"nr": 4, "ask": "What?", "truth": None, "guess": "x", "photo": "a.png"}],
        "rare.yaml": textwrap.dedent(OWN_PRESET),
    },
}
#: (id, question, answer, images) of each question of an example; the others ask the one row.
ASKED = {
    "data": [("q1", "What?", "red", ["a.png"]), ("q2", "What?", "red", ["a.png"])],
    "one.jsonl": [("q1", "What?", "red", ["a.png"]), ("q2", "What?", "red", ["a.png"])],
    "mmmu.parquet": [
        (
            "m",
            "<image>?\nA. a\nB. b\nAnswer with the option's letter from the given choices directly.",
            "A",
            ["mmmu.parquet#group=0&row=0&column=image_1"],
        )
    ],
    "own.jsonl": [("x_007", "What?", "red", ["a.png"])],
    "mcq.csv": [("q1", "What?\nA. x\nB. y", "1", ["a.png"])],
    "many.jsonl": [("0/0", "What?", "x", ["a.png"]), ("0/1", "Who?", "y", ["a.png"])],
    "vqa.json": [("1", "What?", ["x", "y"], ["im/000005.jpg"])],
    "keys.jsonl": [("k", "What?", "x", ["photos.parquet#group=0&row=0&column=image"])],
    "rare.jsonl": [("4", "What?", "x", ["a.png"])],
}


def first_path(section):
    path = section["question_path"]
    return path[0] if isinstance(path, list) else path


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".parquet":
        pd.DataFrame(content).to_parquet(path)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(content)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".csv":
        pd.DataFrame(content).to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))


def test_every_example_of_questions_has_its_data():
    assert {first_path(yaml.safe_load(section)) for section in QUESTIONS} == set(FILES)


@pytest.mark.parametrize("section", QUESTIONS)
def test_an_example_asks_its_questions(tmp_path, monkeypatch, make_config, section):
    monkeypatch.chdir(tmp_path)
    qa = yaml.safe_load(section)
    for name, content in FILES[first_path(qa)].items():
        put(Path(name), content)
    Path(qa.get("dataset_path", ".")).mkdir(exist_ok=True)
    config = make_config({"qa": qa if "dataset_path" in qa else {**qa, "dataset_path": "."}})
    layout = Layout(str(tmp_path / "output"), "tiny")
    plan = plan_task(config, layout, "qa")
    rows = list(read_json_lines(layout.question_rows(plan.rows)))
    assert [(row["id"], row["question"], row["answer"], row["images"]) for row in rows] == ASKED.get(
        first_path(qa), [("q1", "What?", "red", ["a.png"])]
    )
    assert plan.faults == []


def test_every_format_has_an_example(schema):
    sections = [yaml.safe_load(section) for section, _ in EXPORTS]
    for task in ("captions", "qa"):
        formats = {form for section in sections for form in section.get(task, [])}
        assert formats == set(schema["properties"]["export"]["properties"][task]["items"]["enum"])


@pytest.mark.parametrize(("section", "name"), EXPORTS)
def test_an_example_writes_its_files(tmp_path, images, make_config, section, name):
    export = make_config({"export": yaml.safe_load(section)}).export
    if export.captions:
        images.add("a.jpg")
        captions = Captions(tmp_path, make_config, images.path)
        folder = captions.export(export.captions[0], export.truncated == "leave_out", export.shard_mb)
    else:
        folder = Answers(tmp_path, make_config).export(export.qa[0])
    files = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    for one in name.split("`, `"):
        pattern = re.escape(one).replace("MODEL", "tiny").replace("DATE", r"\d+_\d+")
        assert [file for file in files if re.fullmatch(pattern, file)], one


def test_the_page_lists_all_presets():
    for_images, _, for_questions = PAGE.partition("## Presets")[2].partition("A preset of questions")
    assert re.findall(r"^\| `(\w+)` \|", for_images, re.MULTILINE) == preset_names(CAPTION_FOLDER)
    assert re.findall(r"^\| `(\w+)` \|", for_questions, re.MULTILINE) == preset_names()
