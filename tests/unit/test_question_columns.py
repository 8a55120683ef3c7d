"""Which column holds what: as configured, as its name says, and never guessed where it could be another."""

import base64
import json
import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.config.qa_config import ColumnsConfig
from captionqa.dataset.question_file import Questions
from captionqa.errors import InputError
from captionqa.grading.scoring import GradingRules

ROW = {"qid": "q1", "question": "What?", "answer": "red", "image": "a.png"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
B64 = base64.b64encode(PNG).decode()


@pytest.fixture
def questions(tmp_path):
    """Write rows as JSON lines, or as a parquet, and open them as questions with these columns."""

    def of(rows, suffix=".jsonl", answer_is="auto", **columns):
        path = tmp_path / f"q{suffix}"
        if suffix == ".parquet":
            pd.DataFrame(rows).to_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Questions(path, ColumnsConfig(**columns), tmp_path, rules=GradingRules(answer_is=answer_is))

    return of


@pytest.fixture
def row(questions):
    def of(cells, suffix=".jsonl", **columns):
        (only,) = questions([cells], suffix, **columns)
        return only

    return of


@pytest.mark.parametrize(
    ("cells", "columns", "field", "wanted"),
    [
        ({"text": "Who?"}, {"question": "text"}, "question", "Who?"),
        ({"m": {"task": "vqa"}}, {"category": "m.task"}, "category", "vqa"),
        ({"m": '{"task": "vqa"}'}, {"category": "m.task"}, "category", "vqa"),
        ({"a.b": "c"}, {"category": "a.b"}, "category", "c"),
        ({"x": 3, "y": "z"}, {"qid": "{y}_{x:03d}"}, "id", "z_003"),
        ({"x": 3.0}, {"qid": "{x}"}, "id", "3"),
        ({}, {"source": {"constant": "mine"}}, "source", "mine"),
        ({"a": "", "b": "B"}, {"category": ["a", "b"]}, "category", "B"),
        ({"a": None}, {"category": ["a", {"constant": "none"}]}, "category", "none"),
        ({"category": ["a", "b"]}, {}, "category", "a, b"),
        ({"category": "c"}, {"category": None}, "category", "uncategorized"),
        ({"answers": [{"answer": "x"}, {"answer": "y"}]}, {"answer": "answers.answer"}, "answer", ["x", "y"]),
        ({"answer": 1}, {"answer_values": {"0": "no", "1": "yes"}}, "answer", "yes"),
        ({"answer": True}, {}, "answer", "yes"),
        ({"answer": 7.0}, {}, "answer", "7"),
        ({"qid": 7.0}, {}, "id", "7"),
        ({"hint": "Look.", "lecture": "Long."}, {"hint": "hint", "context": "lecture"}, "question",
         "Context: Long.\nHint: Look.\nWhat?"),
        ({"hint": ""}, {"hint": "hint"}, "question", "What?"),
        ({"answer": {"text": ["x", "y"], "answer_start": [1]}}, {}, "answer", ["x", "y"]),
        ({"image": {"url": "a.png"}}, {}, "images", ["a.png"]),
        ({"i1": "a.png", "i2": None, "i3": "b.png"}, {"images": ["i1", "i2", "i3"]}, "images", ["a.png", "b.png"]),
        ({"n": 5}, {"images": "im/{n:04d}.jpg"}, "images", ["im/0005.jpg"]),
        ({"image": "['a.png', 'b.png']"}, {}, "images", ["a.png", "b.png"]),
        ({"image": [["a.png"], ["b.png"]]}, {}, "images", ["a.png", "b.png"]),
        ({"image": "file:///data/a%20b.png"}, {}, "images", ["/data/a b.png"]),
        ({"image": "a#group=0&row=1&column=x"}, {}, "images", ["a#group=0&row=1&column=x#file"]),
    ],
)  # fmt: skip
def test_a_field_is_read_from_what_is_named(row, cells, columns, field, wanted):
    assert row(ROW | cells, **columns)[field] == wanted


def test_each_element_of_an_exploded_list_is_a_question(questions):
    inside = [{"q": "Who?", "c": ["x", "y"], "a": "y"}, {"q": "Where?", "c": None, "a": "here"}]
    columns = {"question": "items[].q", "choices": "items.c", "answer": "items.a", "qid": "id", "images": "image"}
    rows = list(questions([{"id": "i1", "image": "a.png", "items": inside}], ".jsonl", **columns))
    assert [(row["id"], row["question"], row["answer"]) for row in rows] == [
        ("i1/0", "Who?\nA. x\nB. y", "y"),
        ("i1/1", "Where?", "here"),
    ]
    named = list(questions([{"id": "i1", "image": "a.png", "items": inside}], **columns | {"qid": "{id}:{#}"}))
    assert [row["id"] for row in named] == ["i1:0", "i1:1"]


@pytest.mark.parametrize(
    "names",
    [
        ["A", "B", "C"],
        ["option_a", "option_b", "option_c"],
        ["choice_0", "choice_1", "choice_2"],
        ["Option1", "Option2", "Option3"],
    ],
)
def test_columns_with_a_choice_each_are_found_by_their_names(row, names):
    read = row(ROW | dict(zip(names, ["red", "blue", None], strict=True)))
    assert (read["question"], read["choices"]) == ("What?\nA. red\nB. blue", ["red", "blue"])


def test_names_of_columns_may_be_in_capitals(row):
    read = row({"QID": "q1", "Question": "What?", " Answer ": "B", "Image": "a.png", "Options": ["x", "y"]})
    assert (read["id"], read["question"], read["answer"]) == ("q1", "What?\nA. x\nB. y", "B")
    assert (read["images"], read["choices"]) == (["a.png"], ["x", "y"])


def test_two_columns_of_one_name_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table([["What?"], ["a.png"], ["b.png"]], names=["question", "image", "image"])
    pq.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(InputError, match="has two columns called 'image'; give each a name of its own"):
        list(Questions(tmp_path / "q.parquet", ColumnsConfig()))


def test_choices_in_the_image_are_graded_and_not_written(row):
    read = row(ROW | {"options": ["x", "y"], "answer": "B"}, choices_in_image=True)
    assert (read["question"], read["choices"], read["choices_added"]) == ("What?", ["x", "y"], False)


def test_numbered_marks_place_the_images_also_in_choices(row):
    cells = {"question": "Which fits <image 2>?", "options": ["<image 3>", "<image 1>"], "i": ["a", "b", "c"]}
    read = row({"qid": "q", "answer": "A"} | cells, images="i")
    assert read["question"] == "Which fits <image>?\nA. <image>\nB. <image>"
    assert (read["images"], read["choices"]) == (["b", "c", "a"], ["<image 3>", "<image 1>"])
    assert "names <image 9>" in row(ROW | {"question": "<image 9>?"})["invalid"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"choices": ["x", "y"], "options": ["x", "y"]}, "has the columns choices and options; name the one"),
        ({"A": "x", "B": "y", "options": ["x", "y"]}, r"has the columns options and \[A, B\]; name the one"),
        ({"answer_choices": ["x", "y"]}, "answer_choices may hold choices, which would not be asked; set qa.columns.c"),
        ({"answer": None, "label": "x"}, None),
        ({"images": ["a.png"]}, "has the columns image and images; name the one with the images"),
    ],
)
def test_a_column_that_could_be_meant_is_named(questions, cells, says):
    if says is None:
        assert list(questions([ROW | cells]).notes) == ["not used: label may hold answers, too (qa.columns.answer)"]
        return
    with pytest.raises(InputError, match=says):
        questions([ROW | cells])


@pytest.mark.parametrize(
    ("name", "instead", "says"),
    [
        ("answer", "gt_answer", "has no column answer, and gt_answer may hold the answers; set qa.columns.answer: gt_"),
        ("image", "image_path", "has no column image, and image_path may hold images; set qa.columns.images: image_p"),
        ("image", "image_id", "has no column image, and image_id may hold images"),
        ("question", "query", "has no column question and has qid, answer, image, query; name the column"),
    ],
)
def test_a_column_of_another_name_is_no_silent_loss(questions, name, instead, says):
    cells = {key: value for key, value in ROW.items() if key != name} | {instead: ROW[name]}
    with pytest.raises(InputError, match=says):
        questions([cells])
    field = {"image": "images"}.get(name, name)
    assert list(questions([cells], **{field: instead}))


def test_images_beside_the_used_ones_are_named(questions):
    assert questions([ROW | {"decoded_image": "x"}]).notes == [
        "not used: decoded_image may hold images, too (qa.columns.images)"
    ]


@pytest.mark.parametrize("field", ["qid", "question", "answer", "choices", "images", "category"])
def test_a_configured_column_that_is_not_there_is_named(questions, field):
    with pytest.raises(InputError, match=rf"qa\.columns\.{field}: .* has no column none; it has qid, question, answer"):
        questions([ROW], **{field: "none"})


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".tsv"])
@pytest.mark.parametrize(
    "text", [base64.b64encode(PNG).decode(), f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]
)
def test_an_image_in_base64_is_named_by_its_place(tmp_path, suffix, text):
    from captionqa.dataset.image_source import ImageSources

    path, rows = tmp_path / f"q{suffix}", [ROW, ROW | {"qid": "q2", "image": text}]
    if suffix == ".tsv":
        pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    elif suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = Questions(path, ColumnsConfig())
    assert first["images"] == ["a.png"]
    assert ImageSources(tmp_path).find(second["images"][0]).read()[0] == PNG


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("start", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_several_images_in_base64_may_be_a_list_as_text(tmp_path, suffix, size, start):
    from captionqa.dataset.image_source import ImageSources

    pictures = [b"\x89PNG\r\n\x1a\n" + os.urandom(size) for _ in range(2)]
    cell = str([f"{start}{base64.b64encode(picture).decode()}" for picture in pictures])
    path = tmp_path / f"q{suffix}"
    if suffix == ".tsv":
        pd.DataFrame([ROW | {"image": cell}]).to_csv(path, sep="\t", index=False)
    else:
        path.write_text(json.dumps(ROW | {"image": cell}) + "\n")
    (row,) = Questions(path, ColumnsConfig())
    assert [ImageSources(tmp_path).find(image).read()[0] for image in row["images"]] == pictures


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_an_image_in_base64_is_found_by_what_separates_the_cells_of_its_file(tmp_path, delimiter):
    from captionqa.dataset.image_source import ImageSources

    path, cells = tmp_path / "q.csv", [["question", "image"], ["What?", f"data:image/png;base64,{B64}"]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in cells]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    (row,) = Questions(path, ColumnsConfig())
    assert ImageSources(tmp_path).find(row["images"][0]).read()[0] == PNG


@pytest.mark.parametrize(
    ("cells", "column", "count"),
    [
        (["What?", B64], "1", 1),
        ({"0": "What?", "shown": [{"by": {"image": B64}}, {"by": {"image": B64}}]}, "shown.by.image", 2),
        ({"0": "What?", "shown": [{"image": B64}, {"image": B64}]}, "shown[].image", 2),
        ({"0": "What?", "shown": json.dumps({"image": B64})}, "shown.image", 1),
    ],
)
def test_an_image_in_base64_is_found_wherever_in_a_row_of_json_its_column_leads(tmp_path, cells, column, count):
    from captionqa.dataset.image_source import ImageSources

    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(cells) + "\n")
    (row,) = Questions(path, ColumnsConfig(question="0", images=column))
    assert [ImageSources(tmp_path).find(image).read()[0] for image in row["images"]] == [PNG] * count


@pytest.fixture(params=[".jsonl", ".parquet", ".arrow"])
def nested(tmp_path, request):
    """Write rows to a file, and give its questions and what their images hold."""

    def write(rows, columns):
        from captionqa.dataset.image_source import ImageSources

        path = tmp_path / f"q{request.param}"
        table = pa.Table.from_pylist(rows)
        if request.param == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif request.param == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
        questions = list(Questions(path, columns))
        sources = ImageSources(tmp_path)
        return questions, [[sources.find(name).read()[0] for name in row["images"]] for row in questions]

    return write


def pictures_of(*names):
    """Different images, and their base64."""
    pictures = [PNG + name.encode() for name in names]
    return pictures, [base64.b64encode(picture).decode() for picture in pictures]


@pytest.mark.parametrize("column", ["shown.image", "shown[].image"])
def test_an_image_in_base64_is_found_in_objects_of_a_list(nested, column):
    (a, b, c), (a64, b64, c64) = pictures_of("a", "b", "c")
    rows = [ROW | {"shown": [{"image": a64}, {"image": b64}]}, ROW | {"qid": "q2", "shown": [{"image": c64}]}]
    assert nested(rows, ColumnsConfig(images=column))[1] == [[a, b], [c]]


def test_an_image_in_base64_is_found_in_an_element_that_is_a_question(nested):
    (a, b, c), (a64, b64, c64) = pictures_of("a", "b", "c")
    rows = [
        {"qid": "q1", "items": [{"q": "What?", "pictures": [a64]}, {"q": "Who?", "pictures": [b64]}]},
        {"qid": "q2", "items": [{"q": "Why?", "pictures": [c64]}]},
    ]
    columns = ColumnsConfig(explode="items", question="items.q", images="items.pictures", answer=None)
    assert nested(rows, columns)[1] == [[a], [b], [c]]
    rows[0]["items"][0]["pictures"].append(c64)
    (row, _, _), _ = nested(rows, columns)
    assert "holds several images in one element of a list; write them as files" in row["invalid"]


def test_a_text_that_is_no_path_is_said(row):
    assert "holds a text that is neither a path nor an image: 'x, x" in row(ROW | {"image": "x, " * 2000})["invalid"]


def test_a_row_may_name_the_row_whose_image_it_shares(tmp_path):
    text = base64.b64encode(PNG).decode()
    path = tmp_path / "q.tsv"
    rows = [{"index": 8, "image": "7"}, {"index": 7, "image": text}, {"index": 9, "image": "c.png"}]
    pd.DataFrame([row | {"question": "What?", "answer": "x"} for row in rows]).to_csv(path, sep="\t", index=False)
    read = list(Questions(path, ColumnsConfig(qid="index", shared_images=True)))
    assert read[0]["images"] == read[1]["images"]
    assert read[2]["images"] == ["c.png"]


def test_a_second_table_gives_answers_or_images(tmp_path):
    (tmp_path / "q.json").write_text(json.dumps({"questions": [{"id": 1, "question": "What?", "im": "k"}]}))
    (tmp_path / "a.json").write_text(json.dumps({"info": {}, "annotations": [{"id": 1, "answers": [{"answer": "x"}]}]}))
    pd.DataFrame([{"key": "k", "image": {"bytes": PNG, "path": None}}]).to_parquet(tmp_path / "im.parquet")
    columns = ColumnsConfig(
        qid="id",
        answer="answers.answer",
        images={"file": "im.parquet", "by": "im", "is": "key"},
        join={"file": "a.json", "by": "id"},
    )
    questions = Questions(tmp_path / "q.json", columns)
    (row,) = questions
    assert (row["id"], row["answer"]) == ("1", "x")
    assert row["images"] == ["im.parquet#group=0&row=0&column=image"]
    assert [path.name for path in questions.paths()] == ["q.json", "a.json", "im.parquet"]


def faults(opened):
    list(opened)
    return opened.faults


def test_an_index_is_never_taken_for_a_text(questions):
    rows = [ROW | {"qid": str(number), "options": ["Ohio", "Utah"], "answer": number} for number in range(2)]
    (fault,) = faults(questions(rows))
    assert fault.endswith("2 are no choice's text: set qa.answer_is to index0")
    assert faults(questions(rows, answer_is="index0")) == []
    assert faults(questions([*rows, ROW | {"qid": "2", "options": ["1", "2"], "answer": "A"}])) == []


def test_letters_in_the_questions_text_are_no_indexes(questions):
    rows = [ROW | {"question": "Which?\nA. red\nB. blue", "answer": answer} for answer in ("A", "red", "2")]
    assert faults(questions(rows)) == []


def test_an_address_stops_a_run_with_one_sentence(questions):
    rows = [ROW | {"qid": str(number), "image": f"https://example.org/{number}.png"} for number in range(3)]
    (fault,) = faults(questions(rows))
    assert "row 0: the image is the address 'https://example.org/0.png', and addresses are not fetched" in fault
