"""The question file: every documented form of parquet is read; a bad row is described, a bad file is refused."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.dataset.question_file import Questions
from captionqa.errors import InputError

ROW = {"qid": "q1", "question": "What?\nA. red\nB. blue", "answer": r"\boxed{A}", "image": "a.png"}


@pytest.fixture
def read(tmp_path):
    """Write columns to a parquet file with pandas and read it as questions."""

    def through(columns):
        path = tmp_path / "questions.parquet"
        pd.DataFrame(columns).to_parquet(path)
        return list(Questions(path))

    return through


def columns(**changes):
    """The columns of two questions, with some changed; None leaves a column out."""
    values = {name: [value, value] for name, value in ROW.items()} | {"qid": ["q1", "q2"]} | changes
    return {name: value for name, value in values.items() if value is not None}


def test_a_row_is_read_as_it_is(read):
    rows = read(columns(category=["colours", "shapes"], source=["drawn", "photos"]))
    assert rows[0] == {
        "id": "q1",
        "question": ROW["question"],
        "answer": ROW["answer"],
        "images": ["a.png"],
        "category": "colours",
        "source": "drawn",
    }
    assert [row["id"] for row in rows] == ["q1", "q2"]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["a.png", "b.png"], [["a.png"], ["b.png"]]),
        ([["a.png"], ["b.png", "a.png"]], [["a.png"], ["b.png", "a.png"]]),
        ([np.array(["a.png"]), np.array(["b.png", "a.png"], dtype=object)], [["a.png"], ["b.png", "a.png"]]),
        (pd.Categorical(["a.png", "b.png"]), [["a.png"], ["b.png"]]),
    ],
    ids=["strings", "lists", "arrays", "categories"],
)
def test_images_may_be_strings_lists_or_arrays(read, cells, wanted):
    assert [row["images"] for row in read(columns(image=cells))] == wanted


@pytest.mark.parametrize(
    "cells",
    [
        [{"path": "a.png"}, {"path": "b.png"}],
        [{"path": "a.png", "bytes": None}, {"path": "b.png", "bytes": None}],
    ],
)
def test_structs_give_the_paths_of_images(read, cells):
    assert [row["images"] for row in read(columns(image=cells))] == [["a.png"], ["b.png"]]


@pytest.mark.parametrize("cells", [None, [None, None], ["", " "], [float("nan"), None]])
def test_a_missing_category_is_uncategorized(read, cells):
    rows = read(columns(category=cells, source=cells))
    assert [row["category"] for row in rows] == ["uncategorized"] * 2
    assert [row["source"] for row in rows] == ["unknown"] * 2


@pytest.mark.parametrize("cells", [[3, None], [3.0, float("nan")], pd.array([3, None], dtype="Int64")])
def test_whole_numbers_as_categories_stay_whole_beside_gaps(read, cells):
    assert [row["category"] for row in read(columns(category=cells))] == ["3", "uncategorized"]


def test_numbers_as_qids_and_answers_become_text(read):
    rows = read(columns(qid=[7, 8], answer=[12, 13]))
    assert [(row["id"], row["answer"]) for row in rows] == [("7", "12"), ("8", "13")]


def test_columns_of_other_purposes_are_left_alone(read):
    assert set(read(columns(embedding=[[0.1], [0.2]]))[0]) == {
        "id",
        "question",
        "answer",
        "images",
        "category",
        "source",
    }


def test_a_missing_column_of_questions_is_named_with_those_there_are(read):
    with pytest.raises(InputError, match="has no column question and has qid, answer, image, extra; name the column"):
        read(columns(question=None, extra=[1, 2]))


@pytest.mark.parametrize(
    ("name", "field", "wanted", "says"),
    [
        ("qid", "id", ["0", "1"], "no column qid: each question is called by the number of its row"),
        ("answer", "answer", [None, None], "no column answer: the questions are asked and not graded"),
        ("image", "images", [[], []], "no column image: the questions are asked without images"),
    ],
)
def test_what_a_table_does_without_is_said(tmp_path, name, field, wanted, says):
    path = tmp_path / "questions.parquet"
    pd.DataFrame(columns(**{name: None})).to_parquet(path)
    questions = Questions(path)
    assert [row[field] for row in questions] == wanted
    assert questions.notes == [says]


def test_no_rows_is_an_error(read):
    with pytest.raises(InputError, match="has no rows"):
        read({name: pd.Series([], dtype=str) for name in ROW})


BY_ROW = "called by file and row"


@pytest.mark.parametrize(
    ("cells", "ids", "says"),
    [
        (["q1", ""], ["q1", "questions#1"], [f"1 without a qid: {BY_ROW}"]),
        (["q1", None], ["q1", "None"], ["1 without a qid: the first null is called None"]),
        ([1.0, float("nan")], ["1", "None"], ["1 without a qid: the first null is called None"]),
        (
            [None, "", None],
            ["None", "questions#1", "questions#2"],
            [f"3 without a qid: the first null is called None, the others are {BY_ROW}"],
        ),
        (["None", None], ["None", "questions#1"], [f"1 without a qid: {BY_ROW}"]),
        (
            [None, "None"],
            ["None", "questions#1"],
            [
                "1 without a qid: the first null is called None",
                f"the qid None is already that of a null before it: its row is {BY_ROW}",
            ],
        ),
        (["None", "None"], ["None", "None"], []),
    ],
)
def test_a_row_without_a_qid_is_called_none_or_by_its_file_and_number(tmp_path, cells, ids, says):
    path = tmp_path / "questions.parquet"
    row = {name: [cell] * len(cells) for name, cell in ROW.items()}
    pd.DataFrame({**row, "qid": cells}).to_parquet(path)
    questions = Questions(path)
    for _ in range(2):
        assert [row["id"] for row in questions] == ids
        assert questions.notes == says


@pytest.mark.parametrize("cells", [["A", "  "], ["A", None], ["A", "?"], [["A"], []], [12, float("nan")]])
def test_a_row_without_a_ground_truth_is_asked(read, cells):
    second = read(columns(answer=cells))[1]
    assert (second["answer"], "invalid" in second) == (None, False)


@pytest.mark.parametrize("cells", [["a.png", None], ["a.png", ""], [["a.png"], []], [["a.png"], [None]]])
def test_a_row_without_an_image_is_asked(read, cells):
    second = read(columns(image=cells))[1]
    assert (second["images"], "invalid" in second) == ([], False)


@pytest.mark.parametrize(
    ("cells", "element"),
    [
        ([b"\x89PNG", b"\x89PNG"], ""),
        ([{"bytes": b"\x89PNG", "path": None}] * 2, ""),
        ([[{"bytes": b"\x89PNG"}]] * 2, "&index=0"),
        ([{"bytes": b"\x89PNG", "path": "a.png"}] * 2, ""),
        ([{"bytes": None, "path": None}, {"bytes": b"\x89PNG", "path": "a.png"}], ""),
    ],
    ids=["bytes", "struct", "list", "struct with a path", "some structs with bytes"],
)
def test_an_image_in_a_cell_is_named_by_its_place_and_wins_over_a_path(read, cells, element):
    second = read(columns(image=cells))[1]
    assert second["images"] == [f"questions.parquet#group=0&row=1&column=image{element}"]


@pytest.mark.parametrize(
    ("name", "cells", "says"),
    [
        ("question", ["What?", None], "the column 'question' is empty"),
        ("question", ["What?", " \n"], "the column 'question' is empty"),
        ("question", [["What?"], ["What?"]], "the column 'question' holds a list, not a text or a number"),
        ("answer", [b"A", b"\xff"], "the column 'answer' holds a bytes"),
        ("image", [1, 2], "the column 'image' must be a path or a list of paths, not 2"),
        (
            "image",
            [{"width": 3}, {"width": 3}],
            "the column 'image' must be a path or a list of paths, not {'width': 3}",
        ),
    ],
)
def test_a_row_with_a_wrong_cell_says_what_is_wrong(read, name, cells, says):
    second = read(columns(**{name: cells}))[1]
    assert second["invalid"].startswith(f"In the question file {says}")
    assert second["id"] == "q2"
    assert second[{"image": "images"}.get(name, name)] in (None, [])


@pytest.mark.parametrize(
    ("name", "cells", "wanted"),
    [
        ("qid", [Decimal("1.00"), Decimal("2.50")], ["1", "2.50"]),
        ("qid", [["a"], ["b"]], ["a", "b"]),
        ("qid", [bytes(16), b"text"], ["00" * 16, "text"]),
        ("qid", [date(2024, 1, 2), date(2024, 1, 3)], ["2024-01-02", "2024-01-03"]),
        ("qid", ["q\u200b0", "q0"], ["q\u200b0", "q0"]),
        ("question", [b"What?", "Wer, Jürgen?".encode()], ["What?", "Wer, Jürgen?"]),
        ("answer", [b"A", "ä".encode()], ["A", "ä"]),
        ("answer", ["\u200bA", "B\ufeff"], ["A", "B"]),
        ("answer", [Decimal("2.00"), Decimal("1.50")], ["2", "1.50"]),
        ("answer", np.array([0.1, 3], np.float32), ["0.1", "3"]),
        ("answer", np.array([0.1, np.nan], np.float32), ["0.1", None]),
        ("answer", [{"value": "A"}, {"value": "B"}], ["A", "B"]),
        ("answer", [[1.0], [2.5]], ["1", "2.5"]),
        ("answer", [[b"x", b"y"], [b"z"]], [["x", "y"], "z"]),
    ],
    ids=str,
)
def test_cells_of_unusual_types_are_read_as_their_text(tmp_path, name, cells, wanted):
    usual = {"qid": ["q1", "q2"], "question": ["What?"] * 2, "answer": ["x"] * 2, "image": ["a.png"] * 2}
    changed = pa.array(cells, from_pandas=isinstance(cells, np.ndarray))
    pq.write_table(pa.table(usual | {name: changed}), tmp_path / "q.parquet")
    rows = list(Questions(tmp_path / "q.parquet"))
    assert [row[{"qid": "id"}.get(name, name)] for row in rows] == wanted


def test_a_wrong_row_touches_no_other(read):
    right = read(columns(question=["What?", None]))[0]
    assert (right["question"], "invalid" in right) == ("What?", False)


def test_a_row_names_all_its_wrong_cells(read):
    row = read(columns(question=["What?", None], answer=[b"A", b"\xff"]))[1]
    says = "the column 'question' is empty and the column 'answer' holds a bytes, not a text or a number"
    assert row["invalid"] == f"In the question file {says}."


@pytest.mark.parametrize("content", [b"", b"qid,question\n1,What?\n", b"PAR1 but broken PAR1"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "questions.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a parquet file"):
        list(Questions(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.parquet"):
        list(Questions(tmp_path / "none.parquet"))
