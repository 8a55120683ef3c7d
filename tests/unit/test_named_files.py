"""The files that questions name: found as tables write their paths; questions without any are asked too."""

import json

import pytest
from captionqa.config.layout import Layout
from captionqa.dataset.image_path import locate
from captionqa.dataset.plan import check_plans, load_plan
from captionqa.dataset.question_plan import plan_questions
from captionqa.driver.summary import plan_notes
from captionqa.errors import InputError, ItemFailure
from captionqa.files import read_json_lines

ACCENT = "cafe\u0301.png"


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "output"), "tiny")


@pytest.fixture
def plan(tmp_path, images, layout):
    """Plan questions with these images; gives the plan and {qid: images} of its items."""

    def of(named, **changes):
        path = tmp_path / "questions.jsonl"
        rows = (
            {"qid": f"q{number}", "question": f"What {number}?", "answer": "x", "image": image} | changes
            for number, image in enumerate(named)
        )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = plan_questions(path, images.path, 8, layout)
        lists = made.item_lists(layout, "qa")
        return made, {item["id"]: item["images"] for items in lists for item in read_json_lines(items)}

    return of


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("a/b.png", "a/b.png"),
        ("a\\b.png", "a/b.png"),
        (".\\a\\b.png", "a/b.png"),
        ("a/c%20d.png", "a/c d.png"),
        (" a/b.png ", "a/b.png"),
        ("caf\u00e9.png", ACCENT),
    ],
)
def test_a_path_is_planned_as_the_file_is_called(plan, images, written, called):
    images.add("a/b.png", "a/c d.png", ACCENT)
    made, items = plan([written])
    assert (items, made.missing_images) == ({"q0": [called]}, 0)


def test_a_path_that_is_a_files_name_as_it_is_wins(plan, images):
    images.add("c%20d.png", "c d.png")
    assert plan(["c%20d.png"])[1] == {"q0": ["c%20d.png"]}


def test_a_file_that_comes_later_under_another_name_is_found(plan, images):
    assert plan(["a\\b.png"])[0].missing_images == 1
    images.add("a/b.png")
    assert plan(["a\\b.png"])[0].missing_images == 0


def test_a_path_that_is_relative_to_the_folder_above_is_said(plan, images, layout, make_config):
    images.add("0.png")
    plan(["images/0.png", "images/1.png"])
    above = images.path.parent
    assert plan_notes(make_config(), layout) == [
        f"images/0.png is not in {images.path} but in {above}: set qa.dataset_path to that"
    ]


def test_a_path_of_another_machine_is_missing_and_no_matter_of_rights(images):
    with pytest.raises(
        ItemFailure, match=r"missing_image: no file '/nowhere/a.png', which may be a path of another mac"
    ):
        locate(images.path, "/nowhere/a.png", [])


def test_questions_without_images_are_spread_over_all_chunks(plan):
    made, items = plan([None] * 400)
    assert set(map(tuple, items.values())) == {()}
    assert len(made.chunks) == 8
    assert min(chunk.items for chunk in made.chunks) > 20


def test_a_run_does_not_begin_with_a_plan_that_is_at_fault(plan, images, layout, make_config):
    images.add("a.png")
    config = make_config()
    plan(["a.png"])
    check_plans(config, layout)
    made, _ = plan(["a.png", "http://example.org/b.png"])
    assert load_plan(layout, "qa") == made
    with pytest.raises(InputError, match=r"qa: .*row 1: the image is the address 'http://example.org/b.png', and addr"):
        check_plans(config, layout)


def test_what_is_left_out_is_in_the_plan_and_stays_there(plan, images, layout):
    images.add("a.png")
    made, _ = plan(["a.png"], answer=None)
    assert made.notes == ["1 without a ground truth: asked and not graded"]
    assert plan(["a.png"], answer=None)[0].notes == made.notes
