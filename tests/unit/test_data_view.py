"""`captionqa data`: what a file of questions holds, how it would be asked, and what is wrong with it."""

import json

import pandas as pd
import pytest
from captionqa.driver.command_line import main
from PIL import Image
from shard_files import write_parquet, write_tar

ROWS = [
    {"qid": "q1", "question": "Which?", "options": ["red", "blue"], "answer": "blue", "image": "a.png"},
    {"qid": "q2", "question": "How many?", "options": None, "answer": "3", "image": None},
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write rows as JSON lines beside an image; returns the file's name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    def of(*rows):
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return "q.jsonl"

    return of


@pytest.fixture
def items(capsys):
    """The JSON lines of a command and what it says beside them."""

    def of(*words):
        assert main(["data", *words, "--json"]) == 0
        said = capsys.readouterr()
        return [json.loads(line) for line in said.out.splitlines()], said.err.splitlines()

    return of


def test_every_question_is_one_json_line(table, items):
    found, said = items(table(*ROWS))
    assert found == [
        {
            "id": "q1",
            "question": "Which?\nA. red\nB. blue",
            "choices": ["red", "blue"],
            "gt": "blue",
            "gt_letter": "B",
            "images": 1,
        },
        {"id": "q2", "question": "How many?", "choices": [], "gt": "3", "gt_letter": None, "images": 0},
    ]
    assert said == []


def test_choices_in_the_text_are_choices_too(table, items):
    (item,), _ = items(
        table({"qid": 1, "question": "Which?\nA. red\nB. blue", "answer": r"\boxed{A}", "image": "a.png"})
    )
    assert (item["choices"], item["gt"], item["gt_letter"]) == (["red", "blue"], "A", "A")


def test_a_question_without_a_ground_truth_has_none(table, items):
    (item,), said = items(table(ROWS[0] | {"answer": None}))
    assert (item["gt"], item["gt_letter"]) == (None, None)
    assert said == ["captionqa: 1 without a ground truth: asked and not graded"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [ROWS[0], ROWS[1] | {"qid": "q1"}],
            "1 question with the qid of another, where each needs its own, such as q1",
        ),
        ([ROWS[0] | {"image": "no.png"}], "1 question with a missing image, such as q1: no.png"),
        (
            [ROWS[0] | {"question": " "}],
            "1 question that cannot be asked, such as q1: In the question file the column 'question' is empty.",
        ),
        ([ROWS[0] | {"answer": "C"}], "with a ground truth that cannot be graded"),
        ([ROWS[0] | {"answer": 0}], "are no choice's text: set qa.answer_is to index0"),
        ([ROWS[0] | {"image": "https://example.org/a.png"}], "addresses are not fetched: download the images"),
    ],
)
def test_what_is_wrong_is_said_beside_the_items(table, items, rows, says):
    found, said = items(table(*rows))
    assert len(found) == len(rows)
    assert any(says in line for line in said)


def test_what_becomes_of_an_address_is_said_with_and_without_the_option(table, items):
    file = table(*(ROWS[0] | {"qid": n, "image": f"{at}://example.org/a.png"} for n, at in enumerate(("https", "s3"))))
    _, without = items(file)
    assert without == [
        "captionqa: q.jsonl, row 0: the image is the address 'https://example.org/a.png', and addresses are not "
        "fetched: download the images and give their paths, or set qa.allow_urls: true for those of http(s)"
    ]
    found, (refused, fetched) = items(file, "--allow-urls")
    assert [item["images"] for item in found] == [1, 1]
    assert refused.startswith("captionqa: q.jsonl, row 1: the image is the address 's3://example.org/a.png'")
    assert fetched == (
        "captionqa: 1 question with an image that the client jobs fetch, such as 0: https://example.org/a.png"
    )


def test_choices_in_columns_of_their_own_are_shown_also_under_a_preset(tmp_path, items):
    cells = {"index": 1, "question": "Which?", "A": "red", "B": "blue", "C": None, "answer": "B", "image": "a.png"}
    path = tmp_path / "bench.tsv"
    pd.DataFrame([cells]).to_csv(path, sep="\t", index=False)
    (item,), _ = items(str(path))
    assert (item["choices"], item["gt_letter"]) == (["red", "blue"], "B")
    cells = {"question_id": 1, "question": "Which?", "A": "red", "B": "blue", "answers": ["x"], "image": "a.png"}
    (tmp_path / "own.jsonl").write_text(json.dumps(cells))
    _, said = items(str(tmp_path / "own.jsonl"), "--preset", "textvqa")
    assert "captionqa: not used: A, B may hold choices (qa.columns.choices)" in said


@pytest.mark.parametrize(
    "name", ["a.png", "./a.png", "b\\c d.png", "b/c%20d.png", "b/cafe\u0301.png", "b/caf\u00e9.png"]
)
def test_an_image_is_found_as_tables_write_its_path(table, items, tmp_path, name):
    (tmp_path / "b").mkdir()
    for called in ("c d.png", "cafe\u0301.png"):
        (tmp_path / "b" / called).write_bytes(b"\x89PNG\r\n\x1a\n")
    _, said = items(table(ROWS[0] | {"image": name}))
    assert said == []


def test_images_are_looked_for_above_the_table_and_where_the_option_says(table, items, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / table(*ROWS)).rename(tmp_path / "data" / "q.jsonl")
    assert items("data/q.jsonl")[1] == []
    assert items("data/q.jsonl", "--images", "data")[1] == [
        "captionqa: 1 question with a missing image, which is in the folder above, such as q1: a.png"
    ]


def test_images_to_caption_are_named_where_nothing_is_asked(tmp_path, items, capsys):
    pictures = {f"{number}.png": b"\x89PNG\r\n\x1a\n" for number in range(4)}
    write_parquet(tmp_path / "flowers" / "train.parquet", pictures, caption=["x"] * 4)
    write_tar(tmp_path / "shards" / "0.tar", pictures)
    found, said = items(str(tmp_path / "flowers"))
    assert found[0] == {"id": "0.png", "question": None, "choices": [], "gt": None, "gt_letter": None, "images": 1}
    assert [item["id"] for item in found] == list(pictures)
    assert said == ["captionqa: read as images to caption, since it holds no questions"]
    assert [item["id"] for item in items(str(tmp_path / "shards"))[0]] == ["0", "1", "2", "3"]
    assert main(["data", str(tmp_path / "flowers")]) == 0
    assert "4 images to caption, such as 0.png, 1.png, 2.png" in capsys.readouterr().out
    write_parquet(tmp_path / "own.parquet", pictures, my_question=["x"] * 4)
    assert main(["data", str(tmp_path / "own.parquet")]) == 1
    assert "name the column of the questions in qa.columns.question" in capsys.readouterr().err


def test_several_files_are_one_table(table, items, tmp_path):
    (tmp_path / table(ROWS[0])).rename(tmp_path / "first.jsonl")
    found, _ = items("first.jsonl", table(ROWS[1]))
    assert [item["id"] for item in found] == ["q1", "q2"]


def test_the_text_shows_columns_the_preset_three_questions_and_what_is_wrong(tmp_path, capsys):
    image = {"bytes": b"\x89PNG\r\n\x1a\n", "path": None}
    rows = [
        {"query": f"How many {number}?", "label": [str(number)], "image": image, "human_or_machine": 0}
        for number in range(5)
    ]
    path = tmp_path / "q.parquet"
    pd.DataFrame(rows).to_parquet(path)
    assert main(["data", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        "  query             string  -> question",
        "  label             list<string>  -> answer",
        "  image             image  -> images",
        "preset: chartqa (ChartQA); in a configuration: qa.preset: chartqa",
        "question 3: 2, 1 image",
        "  | How many 2?",
        "  | Answer the question using a single word or phrase.",
        "  ground truth: 2",
        "5 questions; nothing is wrong",
    ):
        assert f"\n{line}\n" in f"{text}\n"
    assert "question 4" not in text


def test_a_file_with_clear_columns_needs_no_preset(table, capsys):
    assert main(["data", table(*ROWS)]) == 0
    assert "preset: none is needed, the columns are clear" in capsys.readouterr().out


def test_a_file_that_fits_nothing_is_one_sentence(table, capsys):
    assert main(["data", table({"a": 1, "b": 2}), "--json"]) == 1
    assert capsys.readouterr().err == (
        "captionqa: q.jsonl has no column question and has a, b; name the column of the questions in "
        "qa.columns.question.\n"
    )


def test_the_sizes_of_images_to_caption_are_told_beside_the_presets_that_shrink_them(tmp_path, capsys):
    for name, size in (("a.png", (64, 64)), ("b.png", (1500, 1000)), ("c.png", (2000, 1500))):
        Image.new("L", size).save(tmp_path / name)
    assert main(["data", str(tmp_path)]) == 0
    assert (
        "megapixels: 1.50 on average, 3.00 at most; 2 above 1.3 (qwen_readme), 1 above 2.1 (document), 0 above 4.0 "
        "(qwen_eval); in brackets the client.images.max_pixels that shrinks them"
    ) in capsys.readouterr().out
