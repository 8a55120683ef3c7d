"""Choices in columns of their own: read in every form, shown to the model once, and graded by."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.client.letter_fallback import allowed_letters
from captionqa.config.layout import Layout
from captionqa.config.qa_config import ColumnsConfig
from captionqa.dataset.final_files import final_files
from captionqa.dataset.plan import load_plan
from captionqa.dataset.question_file import Questions
from captionqa.dataset.question_plan import plan_questions
from captionqa.driver.summary import plan_line
from captionqa.errors import InputError
from captionqa.files import read_json_lines

ASKED_LIST = "['red', 'dark blue']"
ASKED = "What colour?\nA. red\nB. dark blue"


@pytest.fixture
def read(tmp_path):
    """The rows of a parquet file with these columns beside the usual ones."""

    def through(wanted="auto", question="What colour?", **columns):
        count = len(next(iter(columns.values())))
        frame = {"qid": [f"q{n}" for n in range(count)], "question": [question] * count, "answer": ["A"] * count}
        path = tmp_path / "questions.parquet"
        pd.DataFrame(frame | {"image": ["a.png"] * count} | columns).to_parquet(path)
        return list(Questions(path, ColumnsConfig(choices=wanted)))

    return through


@pytest.mark.parametrize(
    "cell",
    [
        ["red", "dark blue"],
        "['red', 'dark blue']",
        '["red", "dark blue"]',
        "['red' 'dark blue']",
        ["A. red", "B. dark blue"],
        ["(A) red", "(B) dark blue"],
        ["red", "dark\nblue", None],
        {"text": ["red", "dark blue"], "label": ["A", "B"]},
        {"A": "red", "B": "dark blue"},
        '{"A": "red", "B": "dark blue"}',
        "{'A': 'red', 'B': 'dark blue'}",
        [{"label": "A", "content": "red"}, {"label": "B", "content": "dark blue"}],
        [{"key": "A", "value": "red"}, {"key": "B", "value": "dark blue"}],
        [b"red", b"dark blue"],
        "('red', 'dark blue')",
        "red\ndark blue",
        "red\r\ndark blue\r\n",
        "- red\n- dark blue",
        "A. red\nB. dark blue",
        "A: red\nB: dark blue",
        "(A) red (B) dark blue",
        "a) red\nb) dark blue",
        "1. red\n2. dark blue",
        ["a) red", "b) dark blue"],
        ["1. red", "2. dark blue"],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["choices", "options"])
def test_choices_are_read_in_every_form_and_written_below_the_question(read, name, cell):
    (row,) = read(**{name: [cell]})
    assert (row["question"], row["choices"], row["choices_added"]) == (ASKED, ["red", "dark blue"], True)


def test_a_map_of_labels_and_texts_is_read_as_choices(tmp_path):
    labelled = pa.array([[("A", "red"), ("B", "dark blue")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"question": ["What colour?"], "choices": labelled}), tmp_path / "q.parquet")
    (row,) = Questions(tmp_path / "q.parquet", ColumnsConfig())
    assert (row["question"], row["choices"]) == (ASKED, ["red", "dark blue"])


@pytest.mark.parametrize("cell", [["A red", "B blue"], ["1: 2", "2: 3"], ["(B) red", "(A) blue"], ["a) x", "B) y"]])
def test_what_is_no_label_stays_in_a_choice(read, cell):
    (row,) = read(options=[cell])
    assert row["choices"] == cell


def test_numbers_may_be_choices(read):
    assert read(options=[[1, 2, 10], [1.0, 2.5]])[0]["choices"] == ["1", "2", "10"]
    assert read(options=[[1.0, 2.5]])[0]["choices"] == ["1", "2.5"]


@pytest.mark.parametrize(
    "cells", [(None, ["red", "dark blue"]), ([], ["red", "dark blue"]), *((text, ASKED_LIST) for text in ("", "[]"))]
)
def test_a_question_may_have_no_choices_beside_others_that_have(read, cells):
    rows = read(options=list(cells))
    assert "choices" not in rows[0]
    assert rows[0]["question"] == "What colour?"
    assert rows[1]["question"] == ASKED


@pytest.mark.parametrize(
    "text",
    [ASKED, "What colour?\n(A) red (B) dark blue", "<image>\na) Red\nb) Dark blue\nWhich?", "A\tred\nB\t$dark$ blue"],
)
def test_choices_that_the_question_lists_already_are_not_added(read, text):
    (row,) = read(question=text, options=[["red", "dark blue"]])
    assert (row["question"], row["choices"], row["choices_added"]) == (text, ["red", "dark blue"], False)


def test_columns_with_a_choice_each_are_read_as_configured(read):
    columns = {"A": ["red", "yes"], "B": ["dark blue", "no"], "C": [None, "maybe"]}
    rows = read(["A", "B", "C"], **columns)
    assert [row["choices"] for row in rows] == [["red", "dark blue"], ["yes", "no", "maybe"]]


def test_a_column_set_to_null_is_left_alone(read):
    (row,) = read(None, options=[["red", "dark blue"]])
    assert (row["question"], "choices" in row) == ("What colour?", False)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (["red"], "holds only one choice"),
        (["red", None, "blue"], "has an empty choice before its last one"),
        ([f"v{n}" for n in range(27)], "holds 27 choices"),
        ("red or blue", "holds no list of choices"),
        ("red, blue", "holds no list of choices"),
        ("{'red', 'blue'}", "holds no list of choices"),
    ],
)
def test_a_row_with_wrong_choices_says_what_is_wrong(read, cell, says):
    (row,) = read(options=[cell])
    assert row["invalid"].startswith(f"In the question file the column 'options' {says}")


def test_two_columns_that_could_be_meant_have_to_be_told_apart(read):
    with pytest.raises(InputError, match=r"choices and options; name the one .* in qa\.columns\.choices"):
        read(choices=["x"], options=["y"])


def test_a_configured_column_that_is_missing_is_named(read):
    with pytest.raises(InputError, match=r"qa\.columns\.choices: .* has no column answers; it has qid"):
        read("answers", options=["x"])


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (["x", "y"], ["x", "y"]),
        (["x"], "x"),
        ([1, 2], ["1", "2"]),
        ([{"answer": "net", "answer_id": 1}, {"answer": "mesh", "answer_id": 2}], ["net", "mesh"]),
        (True, "yes"),
        (2, "2"),
    ],
    ids=str,
)
def test_ground_truths_are_read_as_data_sets_have_them(read, cell, wanted):
    (row,) = read(answer=[cell])
    assert row["answer"] == wanted


def test_the_fallback_allows_the_letters_of_added_choices_whatever_their_text():
    question = "Which statement?\nA. A. or B. holds\nB. \nC. none"
    assert allowed_letters(question, {"text": "Hm.", "finish_reason": "stop"}, 3) == "ABC"
    assert allowed_letters(ASKED, {"text": "Hm.", "finish_reason": "stop"}) == "AB"
    assert allowed_letters(ASKED, {"text": "The answer is B.", "finish_reason": "stop"}, 2) == ""
    assert allowed_letters(ASKED, {"text": "The answer is B", "finish_reason": "length"}, 2) == "AB"


def test_a_plan_sends_the_choices_and_says_why_it_asks_again(images, make_config, tmp_path):
    config = make_config()
    layout = Layout(config.output_dir, "tiny")
    rows = {"qid": ["q0", "q1"], "question": ["What colour?", ASKED], "answer": ["A", "B"], "image": ["a.png"] * 2}
    rows["options"] = [["red", "dark blue"]] * 2
    path = Path(config.qa.question_path)
    pd.DataFrame(rows).to_parquet(path)

    def items(columns):
        plan = plan_questions(path, images.path, 1, layout, columns=columns)
        return [item for name in plan.item_lists(layout, "qa") for item in read_json_lines(name)]

    before = {item["id"]: item for item in items(ColumnsConfig(choices=None))}
    now = {item["id"]: item for item in items(ColumnsConfig(choices="auto"))}
    assert now["q0"] == before["q0"] | {"question": ASKED, "choices": 2}
    assert now["q1"] == before["q1"]  # lists its choices itself: the same request as before
    assert load_plan(layout, "qa").choices_added == 1
    said = "the choices of 1 question come from its column"
    assert plan_line(config, layout).endswith(f"{said}; 2 items to do")
    (file,) = final_files(config, layout, "qa")
    file.files.journal.mkdir(parents=True)  # asked before
    assert f"{said} (questions that were asked without them are asked again); 2 items" in plan_line(config, layout)
