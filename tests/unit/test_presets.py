"""Presets: each reads the tables of its data set, and gives way to what the configuration says."""

import base64
import copy
import json

import pandas as pd
import pytest
import yaml
from captionqa.config.check import check
from captionqa.config.instructions import instructions_by_type
from captionqa.config.presets import load_preset, preset_names
from captionqa.config.qa_config import ColumnsConfig
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.question_file import Questions
from captionqa.driver.data_view import look_at
from captionqa.errors import ConfigError, InputError

IMAGE = {"bytes": b"\x89PNG\r\n\x1a\n" + bytes(100), "path": None}
BASE64 = base64.b64encode(IMAGE["bytes"]).decode()
#: The presets that the documents promise.
PROMISED = {
    "mmmu", "mmmu_pro", "mathvista", "mathverse", "scienceqa", "ai2d", "mmbench",
    "mmstar", "chartqa", "docvqa", "vqav2", "textvqa", "realworldqa",
    "pope", "hallusionbench", "blink", "virl39k", "captionqa", "easy_vqa",
}  # fmt: skip
VOTES = [
    {"answer": word, "answer_confidence": "yes", "answer_id": number}
    for number, word in enumerate(["net"] * 9 + ["web"])
]

#: {name of the case: (preset, name of the table, its rows, (id, choices, gt, gt_letter, images) of each question)}
CASES = {
    "mmmu": (
        "mmmu", "val.parquet",
        [{"id": "a", "question": "<image 1>?", "options": "['$6', \"$7's\"]", "answer": "B", "subfield": "s",
          "image_1": IMAGE, "image_2": None},
         {"id": "b", "question": "How many?", "options": "[]", "answer": "['0.5', '1/2']", "subfield": "s",
          "image_1": IMAGE, "image_2": IMAGE}],
        [("a", ["$6", "$7's"], "B", "B", 1), ("b", [], ["0.5", "1/2"], None, 2)],
    ),
    "mmmu_pro": (
        "mmmu_pro", "t.parquet",
        [{"id": "a", "question": "What?", "options": "['x', 'y']", "answer": "A", "subject": "s", "image_1": IMAGE}],
        [("a", ["x", "y"], "A", "A", 1)],
    ),
    "mmmu_pro, vision": (
        "mmmu_pro", "t.parquet",
        [{"id": "a", "options": "['x', 'y']", "answer": "B", "subject": "s", "image": IMAGE}],
        [("a", ["x", "y"], "B", "B", 1)],
    ),
    "mathvista": (
        "mathvista", "t.parquet",
        [{"pid": "1", "question": "Which?", "query": "Hint: one.\nQuestion: Which?\nChoices:\n(A) 1\n(B) 2",
          "image": "gone.png", "decoded_image": IMAGE, "choices": ["1", "2"], "answer": "2",
          "metadata": {"task": "vqa", "source": "s"}}],
        [("1", ["1", "2"], "2", "B", 1)],
    ),
    "mathverse": (
        "mathverse", "t.parquet",
        [{"sample_index": "1", "question": "", "query_wo": "Choose.\nA:3\nB:4", "image": IMAGE, "answer": "B",
          "problem_version": "Vision Only", "metadata": {"source": "s"}}],
        [("1", ["3", "4"], "B", "B", 1)],
    ),
    "scienceqa": (
        "scienceqa", "t.parquet",
        [{"image": IMAGE, "question": "Which?", "choices": ["Ohio", "Utah"], "answer": 0, "hint": "Look.",
          "subject": "s",
          "lecture": ""},
         {"image": None, "question": "Which?", "choices": ["run", "1"], "answer": 1, "hint": "", "subject": "s",
          "lecture": ""}],
        [("0", ["Ohio", "Utah"], "0", "A", 1), ("1", ["run", "1"], "1", "B", 0)],
    ),
    "ai2d": (
        "ai2d", "t.parquet",
        [{"question": "Which?", "options": ["10", "1", "2"], "answer": "2", "image": IMAGE}],
        [("0", ["10", "1", "2"], "2", "C", 1)],
    ),
    "mmbench": (
        "mmbench", "t.tsv",
        [{"index": 1, "question": "Which?", "hint": "", "A": "yes", "B": "no", "C": "", "D": "", "answer": "A",
          "category": "c", "image": BASE64, "source": "s"},
         {"index": 1000001, "question": "Which?", "hint": "", "A": "no", "B": "yes", "C": "", "D": "", "answer": "B",
          "category": "c", "image": "1", "source": "s"}],
        [("1", ["yes", "no"], "A", "A", 1), ("1000001", ["no", "yes"], "B", "B", 1)],
    ),
    "mmstar": (
        "mmstar", "t.parquet",
        [{"index": 0, "question": "Which?\nOptions: A: red, B: blue", "answer": "B", "image": IMAGE, "category": "c",
          "meta_info": {"source": "s"}}],
        [("0", ["red", "blue"], "B", "B", 1)],
    ),
    "chartqa": (
        "chartqa", "t.parquet", [{"image": IMAGE, "query": "How many?", "label": ["14"], "human_or_machine": 0}],
        [("0", [], "14", None, 1)],
    ),
    "chartqa, lmms": (
        "chartqa", "t.parquet", [{"type": "human_test", "question": "How many?", "answer": "14", "image": IMAGE}],
        [("0", [], "14", None, 1)],
    ),
    "docvqa": (
        "docvqa", "t.parquet",
        [{"questionId": "9", "question": "What?", "question_types": ["form"], "image": IMAGE, "answers": ["1", "one"]}],
        [("9", [], ["1", "one"], None, 1)],
    ),
    "textvqa": (
        "textvqa", "t.parquet",
        [{"question_id": 3, "question": "What?", "image": IMAGE, "answers": ["nokia"] * 9 + ["x"],
          "image_classes": []}],
        [("3", [], ["nokia", "x"], None, 1)],
    ),
    "vqav2": (
        "vqav2", "t.parquet",
        [{"question_id": 3, "question": "What?", "image": IMAGE, "answers": VOTES, "multiple_choice_answer": "net",
          "answer_type": "other", "image_id": 1, "question_type": "what"}],
        [("3", [], ["net", "web"], None, 1)],
    ),
    "okvqa": (
        "okvqa", "t.parquet",
        [{"question_id": 3, "question": "What?", "image": IMAGE, "answers": ["net"] * 10, "answer_type": "other"}],
        [("3", [], "net", None, 1)],
    ),
    "realworldqa": (
        "realworldqa", "t.parquet", [{"image": IMAGE,
          "question": "Which?\n\nA. Left\nB. Right\nPlease answer.", "answer": "A"}],
        [("0", ["Left", "Right"], "A", "A", 1)],
    ),
    "pope": (
        "pope", "t.parquet",
        [{"id": "7", "question_id": "1", "question": "Is it?", "answer": "yes", "image_source": "x", "image": IMAGE,
          "category": "popular"}],
        [("7", [], "yes", None, 1)],
    ),
    "pope, JSON lines": (
        "pope", "t.jsonl", [{"question_id": 1, "image": "a.jpg", "text": "Is it?", "label": "no"}], [("1", [],
          "no", None, 1)],
    ),
    "hallusionbench": (
        "hallusionbench", "t.parquet",
        [{"category": "VS", "subcategory": "map", "set_id": "0", "figure_id": number, "question_id": "2",
          "question": "Is it?", "gt_answer": number, "image": image} for number, image in (("1", IMAGE), ("0", None))],
        [("VS_map_0_1_2", [], "yes", None, 1), ("VS_map_0_0_2", [], "no", None, 0)],
    ),
    "blink": (
        "blink", "t.parquet",
        [{"idx": "v_1", "question": "Which?", "sub_task": "Art", "image_1": IMAGE, "image_2": IMAGE, "image_3": None,
          "image_4": None, "choices": ["the second", "the third"], "answer": "(B)",
           "prompt": "Which?\n(A) the second\n(B) the third"}],
        [("v_1", ["the second", "the third"], "(B)", "B", 2)],
    ),
    "seedbench": (
        "seedbench", "t.parquet",
        [{"question_id": "5", "question": "Which?", "choice_a": "w", "choice_b": "x", "choice_c": "y", "choice_d": "z",
          "answer": "C", "image": [IMAGE]}],
        [("5", ["w", "x", "y", "z"], "C", "C", 1)],
    ),
    "mmvp": (
        "mmvp", "Questions.csv",
        [{"Index": 1, "Question": "Are they open?", "Options": "(a) Open (b) Closed", "Correct Answer": "(a)"}],
        [("1", ["Open", "Closed"], "(a)", "A", 1)],
    ),
    "gqa, JSON": (
        "gqa", "t.json", {"201": {"question": "Is it?", "imageId": "n1", "answer": "no", "fullAnswer": "No."}},
        [("201", [], "no", None, 1)],
    ),
    "virl39k": (
        "virl39k", "t.parquet",
        [{"qid": "M-1", "question": "<image>Which?\nA. x\nB. y", "answer": r"\boxed{B}", "PassRate_32BTrained": 0.5,
          "category": "c", "source": "s", "image": ["images/a.png"]}],
        [("M-1", ["x", "y"], "B", "B", 1)],
    ),
    "captionqa": (
        "captionqa", "t.parquet",
        [{"id": "n", "images": [IMAGE], "domain": "natural", "questions": [
            {"question": "Where?", "choices": ["2", "1"], "answer": "1", "category": ["a"], "source": "s"},
            {"question": "Is it?", "choices": ["Yes", "No"], "answer": "No", "category": ["a", "b"], "source": "s"}]}],
        [("n/0", ["2", "1"], "1", "B", 1), ("n/1", ["Yes", "No"], "No", "B", 1)],
    ),
    "easy_vqa": ("easy_vqa", "questions.json", [["What shape?", "circle", 12]], [("0", [], "circle", None, 1)]),
}  # fmt: skip


def write(path, rows):
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        pd.DataFrame(rows).to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))


def as_asked(view):
    return [tuple(item[key] for key in ("id", "choices", "gt", "gt_letter", "images")) for item in view.items()]


@pytest.mark.parametrize(("preset", "name", "rows", "wanted"), CASES.values(), ids=CASES)
def test_a_preset_reads_its_data_set(tmp_path, preset, name, rows, wanted):
    write(tmp_path / name, rows)
    view = look_at([str(tmp_path / name)], preset)
    assert as_asked(view) == wanted
    assert view.questions.faults == []


@pytest.mark.parametrize(("preset", "name", "rows", "wanted"), CASES.values(), ids=CASES)
def test_a_data_set_is_known_by_its_columns(tmp_path, preset, name, rows, wanted):
    write(tmp_path / name, rows)
    view = look_at([str(tmp_path / name)])
    assert as_asked(view) == wanted
    assert view.preset in (preset, None if preset == "virl39k" else preset)


def test_the_two_files_of_vqa_are_joined(tmp_path):
    write(tmp_path / "questions.json", {"questions": [{"image_id": 7, "question": "What?", "question_id": 70}]})
    annotations = {"annotations": [{"question_id": 70, "answers": VOTES, "answer_type": "other"}]}
    write(tmp_path / "v2_mscoco_train2014_annotations.json", annotations)
    (row,) = Questions(tmp_path / "questions.json", preset="vqav2")
    assert (row["id"], row["category"], row["images"]) == ("70", "other", ["train2014/COCO_train2014_000000000007.jpg"])
    assert row["answer"] == ["net"] * 9 + ["web"]


def test_the_images_of_gqa_are_in_a_table_of_their_own(tmp_path):
    for folder in ("testdev_balanced_images", "testdev_balanced_instructions"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "testdev_balanced_images" / "a.parquet", [{"id": "n1", "image": IMAGE}])
    table = tmp_path / "testdev_balanced_instructions" / "a.parquet"
    write(table, [{"id": "2", "imageId": "n1", "question": "Is it?", "answer": "no", "fullAnswer": "No."}])
    (row,) = Questions(table, dataset=tmp_path, preset="gqa")
    assert row["images"] == ["testdev_balanced_images/a.parquet#group=0&row=0&column=image"]


def test_every_promised_preset_is_there_and_names_its_source():
    assert set(preset_names()) >= PROMISED
    assert {case[0] for case in CASES.values()} | {"gqa"} == set(preset_names())
    for name in preset_names():
        preset = load_preset(name)
        assert preset.about
        assert preset.source


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_a_valid_configuration(raw_config, schema, name):
    raw = raw_config()
    raw["qa"] |= {"preset": name}
    config = check(raw, schema)
    preset = load_preset(name)
    assert all(getattr(config.qa, key) == value for key, value in preset.qa.items())


def test_what_the_configuration_says_wins_over_the_preset(raw_config, schema, tmp_path):
    raw = raw_config()
    raw["qa"] |= {"preset": "chartqa", "scoring": "exact", "instruction": None, "columns": {"category": "kind"}}
    config = check(raw, schema)
    assert (config.qa.scoring, config.qa.instruction) == ("exact", None)
    write(tmp_path / "t.parquet", [{"image": IMAGE, "query": "How many?", "label": ["14"], "kind": "bar"}])
    (row,) = Questions(tmp_path / "t.parquet", config.qa.columns, preset="chartqa")
    assert (row["question"], row["category"]) == ("How many?", "bar")


def test_an_instruction_goes_by_the_kind_of_question(tmp_path):
    write(tmp_path / "t.parquet", CASES["mmmu"][2])
    instructions = instructions_by_type(load_preset("mmmu").qa["instruction"])
    rows = list(Questions(tmp_path / "t.parquet", ColumnsConfig(), preset="mmmu", instructions=instructions))
    assert rows[0]["question"].endswith("B. $7's\nAnswer with the option's letter from the given choices directly.")
    assert rows[1]["question"] == "How many?\nAnswer the question using a single word or phrase."


def test_instructions_go_by_the_type_that_a_column_or_the_choices_say(tmp_path):
    rows = [
        {"q": "Is it red?\nA. Yes\nB. No", "kind": None},
        {"q": "Which?\nA. Yesterday\nB. Now", "kind": None},
        {"q": "How many?", "kind": None},
        {"q": "Is it blue?", "kind": "Yes/No"},
        {"q": "Which?\nA. one\nB. two", "kind": "open-ended"},
        {"q": "What shape?", "kind": "of its own"},
    ]
    write(tmp_path / "t.jsonl", [{**row, "a": "x"} for row in rows])
    columns = ColumnsConfig(question="q", answer="a", type="kind", choices=None)
    given = {"multiple_choice": "CHOOSE", "open_ended": "SAY", "yes_no": "YES OR NO"}

    def asked(instructions):
        return [
            row["question"].rpartition("\n")[2]
            for row in Questions(tmp_path / "t.jsonl", columns, None, None, None, instructions)
        ]

    assert asked(given) == ["YES OR NO", "CHOOSE", "SAY", "YES OR NO", "SAY", "SAY"]
    del given["yes_no"]
    assert asked(given) == ["CHOOSE", "CHOOSE", "SAY", "SAY", "SAY", "SAY"]


def test_instructions_are_given_once(raw_config, schema):
    raw = raw_config()
    raw["qa"] |= {"instruction": "Answer.", "instructions": {"yes_no": "Yes or no?"}}
    with pytest.raises(ConfigError, match="leave one of the two out"):
        check(raw, schema)
    raw = raw_config()
    raw["qa"] |= {"preset": "mmmu", "instructions": {"yes_no": "Yes or no?"}}
    assert check(raw, schema).qa.instructions_by_type == {"yes_no": "Yes or no?"}


def test_a_sampling_preset_gives_what_is_left_out_and_is_the_same_as_its_values(raw_config, schema):
    def checked(sampling, **qa):
        raw = raw_config()
        raw["captions"] = None
        raw["qa"].pop("max_tokens", None)
        raw["qa"] |= qa
        raw["client"] = {**raw.get("client", {}), "sampling": sampling}
        raw["models"]["tiny"]["server"] = {**raw["models"]["tiny"].get("server", {}), "max_model_len": 65536}
        return check(raw, schema)

    config = checked({"preset": "qwen3_vl_thinking", "temperature": 1})
    assert config.client.sampling == {
        "temperature": 1,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "seed": 1234,
    }
    assert config.qa.max_tokens == 40960
    spelled = checked(dict(config.client.sampling), max_tokens=40960)
    assert fingerprint(qa_settings(config, "tiny")) == fingerprint(qa_settings(spelled, "tiny"))
    assert checked({"preset": "qwen3_vl_instruct"}, max_tokens=64).qa.max_tokens == 64
    assert checked({"preset": None}).client.sampling == checked({}).client.sampling
    with pytest.raises(ConfigError, match="there is no preset 'qwen'; known are qwen3_vl_instruct"):
        checked({"preset": "qwen"})


def test_a_model_may_have_a_sampling_preset_of_its_own(raw_config, schema):
    raw = raw_config()
    raw["qa"].pop("max_tokens", None)
    raw["models"]["tiny"]["sampling"] = {"preset": "qwen3_vl_thinking", "temperature": 0.5}
    raw["models"]["plain"] = {"path": "org/plain"}
    config = check(raw, schema)
    assert config.sampling_of("tiny") == {
        **config.client.sampling,
        **{"temperature": 0.5, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1, "presence_penalty": 0},
        "seed": 1234,
    }
    assert config.sampling_of("plain")["temperature"] == 0
    assert config.qa.max_tokens == 128
    raw["models"]["tiny"]["sampling"] = {"preset": "qwen"}
    with pytest.raises(ConfigError, match=r"models\.tiny\.sampling\.preset: there is no preset 'qwen'"):
        check(raw, schema)


def test_a_sampling_preset_whose_answers_do_not_fit_is_refused(raw_config, schema):
    raw = raw_config()
    raw["qa"].pop("max_tokens", None)
    raw["client"] = {**raw.get("client", {}), "sampling": {"preset": "qwen3_vl_instruct"}}
    raw["captions"] = None
    raw["models"]["tiny"].pop("server", None)
    for existing in ({}, {"url": "http://node:8000"}):  # by max_model_len images are shrunk for either
        raw["models"]["tiny"] |= existing
        with pytest.raises(ConfigError, match=r"32,768 tokens, and models\.tiny\.server\.max_model_len is 8,192"):
            check(copy.deepcopy(raw), schema)
    raw["models"]["tiny"]["server"] = {"max_model_len": None}  # the model's own limit
    assert check(raw, schema).qa.max_tokens == 32768


def test_a_users_own_preset_is_a_file(tmp_path, raw_config, schema):
    own = {"about": "mine", "source": "me", "scoring": "anls", "layouts": [{"question": "q", "answer": "a"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own))
    raw = raw_config()
    raw["qa"] |= {"preset": str(tmp_path / "mine.yaml")}
    assert check(raw, schema).qa.scoring == "anls"
    write(tmp_path / "t.jsonl", [{"q": "What?", "a": "x"}])
    (row,) = Questions(tmp_path / "t.jsonl", preset=str(tmp_path / "mine.yaml"))
    assert (row["question"], row["answer"], row["images"]) == ("What?", "x", [])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("mmu", None, r"there is no preset 'mmu' \(did you mean mmmu\?\); known are ai2d, "),
        ("own.yaml", None, "there is no preset"),
        ("own.yaml", "a: [", "cannot be read"),
        ("own.yaml", "about: x", "has no list of layouts"),
        ("own.yaml", "layout: []\nlayouts: [{question: q}]", "has the unknown key 'layout'"),
        ("own.yaml", "layouts: [{qestion: q}]", r"unknown key 'qestion' \(did you mean 'question'\?\)"),
        ("own.yaml", "layouts: [question]", "has the layout 'question', which is no mapping of qa.columns"),
        ("own.yaml", "layouts: [{question: q, has: id}]", "with `has` as a list of columns"),
    ],
)  # fmt: skip
def test_a_preset_that_is_none_is_one_sentence(tmp_path, monkeypatch, raw_config, schema, name, content, says):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_text(content)
    raw = raw_config()
    raw["qa"] |= {"preset": f"./{name}" if "." in name else name}
    load_preset.cache_clear()
    with pytest.raises(ConfigError, match=says):
        check(raw, schema)


def test_a_preset_that_does_not_fit_names_the_missing_columns(tmp_path):
    write(tmp_path / "t.jsonl", [{"question": "What?"}])
    with pytest.raises(InputError, match=r"mmmu does not fit .*, which has no column id, answer, options, image_1; it"):
        Questions(tmp_path / "t.jsonl", preset="mmmu")
