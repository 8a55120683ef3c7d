"""Exports of small results: each format is read back, and no item is lost."""

import ast
import hashlib
import json
import re
import string
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from captionqa.config.export_config import ExportConfig
from captionqa.config.exports import export_folders
from captionqa.errors import ConfigError, ResultError
from captionqa.export.answer_stream import GradedAnswer
from captionqa.export.export import ANSWER_FORMATS, CAPTION_FORMATS, check_exports
from captionqa.export.lmms_eval import write_lmms_eval
from captionqa.export.lost_files import drop_lost_exports
from captionqa.export.named_files import file_path
from captionqa.export.target import Target
from captionqa.export.vlmevalkit import write_vlmevalkit
from captionqa.files import read_json
from captionqa.grading.scoring import GradingRules
from captionqa.results.repeated_question import repeated_record
from exported import QUESTION, Answers, Captions, answer
from PIL import Image
from shard_files import write_parquet, write_tar

#: Names as people have them: folders, letters of other scripts, a line break, one stem twice, no suffix, leading dots.
NAMES = [
    "a.jpg",
    "a.png",
    "a.jpg.png",
    "b/A.jpg",
    "b/deep er/c.tiff",
    "b/line\nbreak.png",
    "b/v1.0\n/x.jpg",
    "b/übung 猫.webp",
    "b/v1.0.final.jpg",
    ".hidden.jpg",
    "__notes__/x.jpg",
    "plain",
    f"{'long' * 60}.png",
]
CUT, FAILED = "b/A.jpg", "b/deep er/c.tiff"


@pytest.fixture
def folder_of_images(tmp_path, images, make_config):
    images.add(*NAMES)
    return Captions(tmp_path, make_config, images.path, cut=[CUT], failed=[FAILED])


def json_pieces(folder, suffix):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"*.{suffix}"))]


def lines_of(folder):
    """The rows of all JSON lines; what splits lines at other places than \\n would break the texts."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open(newline="\n")]


def read_jsonl(folder):
    frames = [pd.read_json(path, lines=True) for path in folder.glob("*.jsonl")]
    assert sum(map(len, frames)) == len(lines_of(folder))
    return {row["id"]: row["caption"] for row in lines_of(folder)}


def read_parquet(folder):
    table = pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))))
    assert set(table["truncated"]) <= {True, False}
    return dict(zip(table["id"], table["caption"], strict=True))


def read_imagefolder(folder):
    return {row["file_name"]: row["text"] for row in lines_of(folder)}


def read_llava(folder):
    captions = {}
    for entry in [entry for piece in json_pieces(folder, "json") for entry in piece]:
        human, gpt = entry["conversations"]
        assert (human["from"], human["value"]) == ("human", "<image>\nDescribe this image in detail.")
        assert gpt["from"] == "gpt"
        # its loader counts an image for each mark
        assert "<image>" not in gpt["value"]
        captions[entry["image"]] = gpt["value"].replace("< image >", "<image>")
    return captions


def read_coco(folder):
    pieces = json_pieces(folder, "json")
    names = {image["id"]: image["file_name"] for piece in pieces for image in piece["images"]}
    assert all(
        {image["id"] for image in piece["images"]} == {note["image_id"] for note in piece["annotations"]}
        for piece in pieces
    )
    return {names[note["image_id"]]: note["caption"] for piece in pieces for note in piece["annotations"]}


def samples(folder):
    """{key: {suffix: content}}, by the rule of WebDataset's own readers."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, suffix = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", member.name).groups()
                sample = found.setdefault(key, {})
                assert suffix not in sample
                sample[suffix] = tar.extractfile(member).read()
    return found


def read_webdataset(folder):
    return {json.loads(sample["json"])["id"]: sample["txt"].decode() for sample in samples(folder).values()}


READERS = {
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "imagefolder": read_imagefolder,
    "llava": read_llava,
    "coco": read_coco,
    "webdataset": read_webdataset,
}


def test_the_formats_are_those_of_the_schema(schema):
    export = schema["properties"]["export"]["properties"]
    assert list(CAPTION_FORMATS) == export["captions"]["items"]["enum"]
    assert list(ANSWER_FORMATS) == export["qa"]["items"]["enum"]


@pytest.mark.parametrize("form", READERS)
def test_no_caption_is_lost(folder_of_images, form):
    assert READERS[form](folder_of_images.export(form)) == folder_of_images.expected
    assert folder_of_images.summary["items"] == len(NAMES) - 1
    assert folder_of_images.summary["failed"] == 1


@pytest.mark.parametrize("form", READERS)
def test_captions_that_ended_at_max_tokens_can_be_left_out(folder_of_images, form):
    captions = READERS[form](folder_of_images.export(form, leave_out=True))
    assert captions == {name: text for name, text in folder_of_images.expected.items() if name != CUT}
    assert folder_of_images.summary["left_out_truncated"] == 1


def test_each_image_has_a_text_file(folder_of_images):
    folder = folder_of_images.export("txt")
    found = {str(path.relative_to(folder)): path.read_bytes().decode() for path in folder.rglob("*.txt")}
    names = {
        "a.png": "a.png.txt",
        "b/A.jpg": "b/A.txt",
        "b/line\nbreak.png": "b/line\nbreak.txt",
        "b/v1.0\n/x.jpg": "b/v1.0\n/x.txt",
        "b/übung 猫.webp": "b/übung 猫.txt",
        "b/v1.0.final.jpg": "b/v1.0.final.txt",
        ".hidden.jpg": ".hidden.jpg.txt",
        "__notes__/x.jpg": "__notes__/x.txt",
        "plain": "plain.txt",
        NAMES[-1]: f"{'long' * 60}.txt",
    }
    by_text = {text: name for name, text in found.items()}
    assert by_text.keys() == set(folder_of_images.expected.values())
    written = {name: by_text[text] for name, text in folder_of_images.expected.items()}
    # both a.jpg, which shares its stem, and a.jpg.png would be called so
    shared = {name for name, path in written.items() if re.fullmatch(r"a\.jpg-[0-9a-f]{16}\.txt", path)}
    assert shared == {"a.jpg", "a.jpg.png"}
    assert {name: path for name, path in written.items() if name not in shared} == names


def test_a_tar_holds_the_images_untouched_under_keys_of_their_own(folder_of_images):
    images = folder_of_images.config.captions.dataset_path
    found = samples(folder_of_images.export("webdataset"))
    for sample in found.values():
        name = json.loads(sample["json"])["id"]
        suffix = name.rpartition(".")[2] if name != "plain" else "png"
        assert sample[suffix] == Path(images, name).read_bytes()
    assert {"b/v1_0_final", "b/line_break", "b/übung 猫", "a_png", "x__notes__/x", "_hidden_jpg"} <= found.keys()


@pytest.mark.parametrize("form", ["jsonl", "parquet", "llava", "coco", "webdataset"])
def test_files_stay_below_the_size(tmp_path, images, make_config, monkeypatch, form):
    names = [f"{number:04d}.png" for number in range(300)]
    images.add(*names)
    # not to be compressed much
    captions = Captions(
        tmp_path, make_config, images.path, text=lambda name: hashlib.shake_256(name.encode()).hexdigest(300)
    )
    monkeypatch.setattr("captionqa.export.export.MB", 40_000)
    folder = captions.export(form, shard_mb=1)
    sizes = [path.stat().st_size for path in folder.iterdir() if not path.name.startswith(".")]
    assert len(sizes) > 1
    assert max(sizes) <= 40_000
    assert READERS[form](folder) == captions.expected


def test_images_of_a_tar_get_texts_under_their_own_keys(tmp_path, make_config, encode):
    pictures = {name: encode(Image.new("RGB", (8, 8), (index, 0, 0))) for index, name in enumerate("abcd")}
    first = {"x/0.jpg": pictures["a"], "x/1.left.jpg": pictures["b"], "x/1.right.jpg": pictures["c"]}
    write_tar(tmp_path / "ds" / "in" / "0.tar", first, beside=())
    write_tar(tmp_path / "ds" / "1.tar", {"x/0.jpg": pictures["d"]}, beside=("txt",))
    captions = Captions(tmp_path, make_config, tmp_path / "ds")
    assert set(captions.expected) == {"in/0.tar/x/0", "1.tar/x/0", "x/1.left.jpg", "x/1.right.jpg"}
    folder = captions.export("webdataset")
    with tarfile.open(folder / "in" / "0.tar") as tar:
        assert tar.getnames() == [
            f"x/{key}.{suffix}" for key in ("0", "1.left.jpg", "1.right.jpg") for suffix in ("txt", "json")
        ]
    with tarfile.open(folder / "1.tar") as tar:
        assert tar.extractfile("x/0.txt").read().decode() == captions.expected["1.tar/x/0"]
        assert json.load(tar.extractfile("x/0.json"))["id"] == "1.tar/x/0"


@pytest.mark.parametrize("form", ["jsonl", "parquet", "webdataset"])
def test_images_of_a_parquet_file_are_exported(tmp_path, make_config, encode, form):
    pictures = {f"in/{index}.x.png": encode(Image.new("RGB", (8, 8), (index, 0, 0))) for index in range(7)}
    write_parquet(tmp_path / "ds" / "0.parquet", pictures, group=3)
    captions = Captions(tmp_path, make_config, tmp_path / "ds", failed=["in/3.x.png"])
    folder = captions.export(form)
    assert READERS[form](folder) == captions.expected
    if form == "webdataset":
        found = samples(folder)
        assert {key: sample["png"] for key, sample in found.items()} == {
            name.removesuffix(".png").replace(".", "_"): data for name, data in pictures.items() if "3" not in name
        }


@pytest.mark.parametrize("form", ["imagefolder", "llava", "coco"])
def test_a_format_that_names_files_refuses_images_that_are_none(tmp_path, make_config, encode, form):
    write_parquet(tmp_path / "ds" / "0.parquet", {"a.png": encode(Image.new("RGB", (8, 8)))})
    captions = Captions(tmp_path, make_config, tmp_path / "ds")
    sentence = f"export.captions: {form} names image files, and 'a.png' is inside of another file; use webdataset"
    with pytest.raises(ResultError, match=sentence):
        captions.export(form)
    assert not (tmp_path / "export" / form).exists()
    config = make_config({"captions": {"dataset_path": str(tmp_path / "ds")}, "export": {"captions": ["jsonl", form]}})
    with pytest.raises(ConfigError, match=sentence):
        check_exports(config, captions.layout)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["../up.png"], "'../up.png' is outside"),
        (["/data/a.png"], "'/data/a.png' is outside"),
        (["a.png", "b.png"], "names one image for each caption, and 'x' has 2"),
        (["caf\udce9.png"], "has names in UTF-8"),
    ],
)
def test_a_path_that_is_none_in_the_folder_is_one_sentence(images, message):
    with pytest.raises(ResultError, match=message):
        file_path("x", images, "coco")


def test_an_image_that_changed_since_is_not_exported_with_the_old_caption(folder_of_images):
    path = f"{folder_of_images.config.captions.dataset_path}/a.png"
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(ResultError, match=r"'a\.png' has changed since it was captioned; run again"):
        folder_of_images.export("webdataset")


def test_an_image_that_is_gone_is_named(folder_of_images):
    Path(folder_of_images.config.captions.dataset_path, "a.png").unlink()
    with pytest.raises(ResultError, match=r"the image of 'a\.png' cannot be read any more .*; put it back"):
        folder_of_images.export("webdataset")


@pytest.mark.parametrize("form", ["jsonl", "webdataset", "coco"])
def test_an_export_that_fails_leaves_the_one_before(folder_of_images, form):
    folder = folder_of_images.export(form)
    chunk = Path(folder_of_images.chunk)
    chunk.write_bytes(chunk.read_bytes()[:-400])
    with pytest.raises(ResultError, match=r"is damaged|holds"):
        folder_of_images.export(form)
    assert READERS[form](folder) == folder_of_images.expected
    assert [path.name for path in folder.parent.iterdir()] == [form]


@pytest.mark.parametrize("form", ["imagefolder", "llava", "coco"])
def test_the_files_of_a_list_of_images_can_be_named(tmp_path, images, make_config, form):
    images.add("in/a.png", "in/b.png")
    path = images.path / "list.json"
    path.write_text(json.dumps([{"image": "in/a.png"}, {"image": "in/b.png"}]))
    captions = Captions(tmp_path, make_config, path)
    check_exports(
        make_config({"captions": {"dataset_path": str(path)}, "export": {"captions": [form]}}), captions.layout
    )
    assert READERS[form](captions.export(form)) == captions.expected


def test_an_export_of_the_same_results_is_not_written_again(folder_of_images):
    folder = folder_of_images.export("jsonl")
    before = folder.stat().st_ino
    (folder / ".export").unlink()  # as Snakemake does before a job
    folder_of_images.export("jsonl")
    assert folder.stat().st_ino == before
    folder_of_images.export("jsonl", leave_out=True)
    assert folder.stat().st_ino != before
    assert CUT not in read_jsonl(folder)


def test_an_export_asks_for_a_task_that_is_configured(make_config):
    with pytest.raises(ConfigError, match=r"export\.qa: the configuration asks for no qa"):
        make_config({"qa": None, "export": {"qa": ["jsonl"]}})
    assert make_config().export == ExportConfig(captions=[], qa=[], shard_mb=500, truncated="keep")


@pytest.fixture
def answers(tmp_path, make_config):
    return Answers(tmp_path, make_config)


GRADED = ["q/1", "q/2", "q3", "q4"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_row_has_the_question_the_output_and_the_grade(answers, form):
    folder = answers.export(form)
    rows = lines_of(folder) if form == "jsonl" else pq.read_table(folder).to_pylist()
    assert [row["qid"] for row in rows] == GRADED
    assert (answers.summary["items"], answers.summary["failed"]) == (4, 2)
    first, second, third, fourth = rows
    wanted = {
        "question": QUESTION,
        "choices": ["red", "blue"],
        "gt_answers": [r"\boxed{A}"],
        "gt_letter": "A",
        "output": "The answer is A.",
        "predicted_letter": "A",
        "is_correct": True,
        "score": 1.0,
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "category": "c",
        "source": "s",
        "image_paths": ["a.png"],
        "model": "tiny",
    }
    assert {column: first[column] for column in wanted} == wanted
    assert first["rule"]
    assert (second["truncated"], second["finish_reason"]) == (True, "length")
    assert third["gt_answers"] == ["blue", "teal"]
    assert fourth["output"] == "A cat.\nOr two.\\ud83d"
    assert (fourth["gt_answers"], fourth["is_correct"], fourth["score"]) == ([], None, None)


def test_raw_responses_have_all_answers_graded_or_not(answers):
    rows = lines_of(answers.export("responses"))
    assert [row["qid"] for row in rows] == [*GRADED, "q6"]
    assert {name: rows[1][name] for name in ("output", "finish_reason", "prompt_tokens", "completion_tokens")} == {
        "output": "B",
        "finish_reason": "length",
        "prompt_tokens": 10,
        "completion_tokens": 7,
    }
    assert rows[0]["server"]["url"] == "http://node:8000"


def lmms_score(sample):
    """What lmms-eval's `baselines/loader.py` takes for the score of a sample."""
    for key in sample:
        if "score" in key.lower() and isinstance(sample[key], int | float):
            return float(sample[key])
    target, given = sample.get("target"), sample.get("filtered_resps")
    if target and given:
        return 1.0 if str(given).strip().upper() == str(target).strip().upper() else 0.0
    return None


def test_lmms_eval_reads_the_samples(answers):
    folder = answers.export("lmms_eval") / "tiny"
    results, samples_file = sorted(folder.iterdir())
    prefix = results.name.removesuffix("_results.json")
    assert samples_file.name == f"{prefix}_samples_captionqa.jsonl"
    assert re.fullmatch(r"\d{8}_\d{6}", prefix)
    rows = lines_of(folder)
    assert [row["doc_id"] for row in rows] == [0, 1, 2, 3]
    assert [lmms_score(row) for row in rows] == [1.0, 0.0, 1.0, None]
    assert [row["target"] for row in rows] == ["A", "A", "['blue', 'teal']", ""]
    assert rows[0]["filtered_resps"] == "A"
    assert rows[0]["resps"] == ["The answer is A."]
    assert "resps" not in rows[3]
    assert rows[0]["token_counts"] == [{"input_tokens": 10, "output_tokens": 7}]
    assert {"doc_hash", "input"} <= rows[0].keys()
    about = read_json(results)
    assert about["n-samples"] == {"captionqa": {"original": 6, "effective": 4}}
    assert about["results"]["captionqa"]["accuracy,none"] == pytest.approx(2 / 5)


#: Questions as the tools that read them tell apart: several images, five options, none, no truth, nothing to read.
ODD_ROWS = {
    "q1": (
        r"\boxed{B}",
        QUESTION,
        answer('<think>Red?\tNo.</think>\nIt is "blue".\t猫\nThe answer is B.'),
        {"images": ["a.png", "b/c.png"]},
    ),
    "q2": ("E", "Which?\nA. 1\nB. 2\nC. 3\nD. 4\nE. 5", answer("A or B"), {"category": "many"}),
    "q3": (["blue", "teal"], "Which colour?", answer("teal"), {"images": ["[x].png"]}),
    "q4": ("7", "How many?", answer("<think>One, two"), {"images": ["[x]"], "category": "count"}),
    "q5": (None, QUESTION, answer("A")),
    "q6": (None, "What?", answer("A cat.")),
    "q7": (r"\boxed{A}", QUESTION, None),
}


def vlmevalkit_table(folder, name):
    """A table as VLMEvalKit's `load` reads it."""
    return pd.read_csv(folder / "tiny" / f"tiny_{name}.tsv", sep="\t")


def vlmevalkit_choices(row):
    """As its `build_choices`."""
    return {letter: row[letter] for letter in string.ascii_uppercase if letter in row and not pd.isna(row[letter])}


def vlmevalkit_paths(text):
    """As its `toliststr`, which evaluates what looks like a list."""
    return ast.literal_eval(text) if text[0] == "[" and text[-1] == "]" else [text]


def test_vlmevalkit_reads_multiple_choice_and_open_ended_questions(tmp_path, make_config):
    answers = Answers(tmp_path, make_config, ODD_ROWS)
    folder = answers.export("vlmevalkit")
    assert {path.name for path in (folder / "tiny").iterdir()} == {
        f"tiny_captionqa_{kind}{ending}" for kind in ("mcq", "openended") for ending in (".tsv", "_acc.csv")
    }
    assert (answers.summary["items"], answers.summary["failed"]) == (6, 1)

    table = vlmevalkit_table(folder, "captionqa_mcq")
    # what its `build_dataset` tells multiple choice by
    assert {"index", "question", "A", "B", "E", "answer", "prediction", "image_path"} <= set(table)
    assert "F" not in table
    assert list(table["index"]) == ["q1", "q2", "q5"]
    first, second, third = (row for _, row in table.iterrows())
    assert vlmevalkit_choices(first) == {"A": "red", "B": "blue"}
    assert list(vlmevalkit_choices(second)) == list("ABCDE")
    assert first["question"] == QUESTION
    words = 'It is "blue".\t猫\nThe answer is B.'
    assert (first["answer"], first["prediction"], first["thinking"]) == ("B", words, "Red?\tNo.")
    assert (second["answer"], second["prediction"]) == ("E", "A or B")
    assert pd.isna(third["answer"])
    assert list(table["hit"].fillna(-1)) == [1, 0, -1]
    assert [vlmevalkit_paths(text) for text in table["image_path"]] == [["a.png", "b/c.png"], ["a.png"], ["a.png"]]
    assert first["log"].endswith(", B")

    table = vlmevalkit_table(folder, "captionqa_openended")
    assert not {"A", "B"} & set(table)
    assert list(table["index"]) == ["q3", "q4", "q6"]
    assert ast.literal_eval(table["answer"][0]) == ["blue", "teal"]
    assert table["answer"][1] == "7"
    assert list(table["hit"].fillna(-1)) == [1, 0, -1]
    # an answer that ended within its reasoning has no words of its own
    assert pd.isna(table["prediction"][1])
    assert [vlmevalkit_paths(text) for text in table["image_path"]] == [["[x].png"], ["[x]"], ["a.png"]]


@pytest.fixture
def of_second_round():
    """A graded answer that stands for its question, and was asked with the choices in another order."""
    row = {"id": "q", "question": QUESTION, "answer": "A", "images": [], "category": "c", "source": "s"}
    row |= {"repeats": {"orders": [[], [1, 0], [1, 0]], "samples": 1}}
    items = [
        ("q", "No idea."),
        ("q\0round 2 sample 1", "The answer is B."),
        ("q\0round 3 sample 1", "The answer is B."),
    ]
    lines = [{"id": item, "answer": answer(text), "files": []} for item, text in items]
    record = repeated_record(row, lines, GradingRules(), {})
    assert (record["gt_letter"], record["predicted_letter"], record["is_correct"]) == ("A", "A", True)
    return GradedAnswer("tiny", record, lines[1]["answer"])


def test_vlmevalkit_gets_the_choices_in_the_order_of_the_answer_that_counts(tmp_path, of_second_round):
    write_vlmevalkit([of_second_round], Target(tmp_path, 10**6, tmp_path))
    [(_, shown)] = vlmevalkit_table(tmp_path, "captionqa_mcq").iterrows()
    # so that whoever grades the prediction by the row finds what `hit` says
    assert vlmevalkit_choices(shown) == {"A": "blue", "B": "red"}
    assert (shown["answer"], shown["prediction"], shown["hit"]) == ("B", "The answer is B.", 1)
    assert shown["log"].endswith(", B")
    assert shown["question"].index("A. blue") < shown["question"].index("B. red")


def test_lmms_eval_gets_the_choices_in_the_order_of_the_answer_that_counts(tmp_path, of_second_round):
    metrics = {"overall_accuracy": 1.0, "mean_score": 1.0, "total_questions": 1}
    settings = {"model": "tiny", "model_path": "tiny", "sampling": {}}
    made = {"settings": settings, "finished": "2026-01-01T00:00:00+00:00"}
    write_lmms_eval([of_second_round], Target(tmp_path, 10**6, tmp_path), metrics, made)
    [sample] = lines_of(tmp_path / "tiny")
    # so that whoever reads the letter in `resps` anew finds what `score` says
    assert (sample["target"], sample["filtered_resps"], sample["resps"]) == ("B", "B", ["The answer is B."])
    assert sample["score"] == 1
    assert sample["input"].index("A. blue") < sample["input"].index("B. red")


def test_the_accuracies_are_those_that_vlmevalkit_would_report_of_the_hits(tmp_path, make_config):
    folder = Answers(tmp_path, make_config, ODD_ROWS).export("vlmevalkit")
    for name, whole in (("captionqa_mcq", 1), ("captionqa_openended", 100)):
        table = vlmevalkit_table(folder, name)
        reported = pd.read_csv(folder / "tiny" / f"tiny_{name}_acc.csv")
        wanted = {"Overall": table["hit"].mean() * whole}
        wanted |= {category: hits.mean() * whole for category, hits in table.groupby("category")["hit"]}
        assert list(reported.drop(columns="split", errors="ignore")) == list(wanted)
        assert {column: reported[column][0] for column in wanted} == pytest.approx(wanted)
    assert "split" in pd.read_csv(folder / "tiny" / "tiny_captionqa_mcq_acc.csv")


def test_vlmevalkit_gets_no_table_of_a_kind_of_question_that_is_not_there(tmp_path, make_config):
    folder = Answers(tmp_path, make_config, {"q3": ODD_ROWS["q3"]}).export("vlmevalkit")
    assert {path.name for path in folder.rglob("*.tsv")} == {"tiny_captionqa_openended.tsv"}
    assert [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")] == []


def test_lmms_eval_gets_answers_without_their_reasoning_beside_the_whole(tmp_path, make_config):
    rows = lines_of(Answers(tmp_path, make_config, ODD_ROWS).export("lmms_eval") / "tiny")
    by_qid = {row["qid"]: row for row in rows}
    assert list(by_qid) == ["q1", "q2", "q3", "q4", "q5", "q6"]
    assert (by_qid["q1"]["filtered_resps"], by_qid["q1"]["resps"]) == ("B", [ODD_ROWS["q1"][2]["text"]])
    assert by_qid["q1"]["image_paths"] == ["a.png", "b/c.png"]
    assert (by_qid["q2"]["filtered_resps"], by_qid["q2"]["score"]) == ("A or B", 0.0)
    assert (by_qid["q4"]["filtered_resps"], by_qid["q4"]["resps"]) == ("", ["<think>One, two"])
    assert [lmms_score(row) for row in rows] == [1.0, 0.0, 1.0, 0.0, None, None]


def test_results_without_their_answers_are_refused(answers):
    results = Path(answers.made["results"])
    results.write_text(results.read_text().replace("q/1", "q/0"))
    with pytest.raises(ResultError, match="'q/0' is in no chunk result"):
        answers.export("jsonl")


def test_only_an_export_of_which_no_file_is_left_is_written_again(make_config):
    config = make_config({"captions": None, "export": {"qa": ["jsonl", "parquet", "responses"]}})
    lost, kept, empty = (Path(folder) for _, folder in export_folders(config, config.layout()))
    for folder, files in ((lost, 1), (kept, 2), (empty, 0)):
        folder.mkdir(parents=True)
        (folder / ".export").write_text(json.dumps({"files": files}))
        (folder / ".made_from").touch()
    (kept / "answers-00001.parquet").touch()
    drop_lost_exports(config, config.layout())
    assert list(lost.iterdir()) == []
    assert all((folder / name).exists() for folder in (kept, empty) for name in (".export", ".made_from"))
