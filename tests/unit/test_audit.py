"""The audit: it finds every fault of the data before any request, and nothing in good data."""

import csv
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import yaml
from captionqa.config.layout import Layout
from captionqa.dataset import audit_checks
from captionqa.dataset.audit import run_audit
from captionqa.dataset.findings import EFFECTS, FindingKind
from captionqa.errors import InputError
from colour_spaces import WIDE, icc
from PIL import Image

CHOICES = "What is it?\nA. red\nB. blue"


@pytest.fixture
def pictures(images, encode):
    """Write pictures of a given size, format and content to the data set."""

    class Pictures:
        path = images.path

        def add(self, name, size=(64, 64), kind="PNG", colour=(1, 2, 3), **options):
            (images.path / name).write_bytes(encode(Image.new("RGB", size, colour), kind, **options))

        def write(self, name, data):
            (images.path / name).write_bytes(data)

    pictures = Pictures()
    pictures.add("good.png", colour=(200, 1, 1))
    pictures.add("fine.jpg", kind="JPEG")
    return pictures


@pytest.fixture
def ask(make_config):
    """Write the parquet of questions from rows of (qid, question, answer, images)."""

    def write(*rows):
        frame = pd.DataFrame(rows, columns=["qid", "question", "answer", "image"])
        frame.to_parquet(make_config().qa.question_path)

    write(("q0", CHOICES, "A", ["good.png"]), ("q00", "How many <image>?", r"\boxed{12}", ["fine.jpg"]))
    return write


@pytest.fixture
def look(make_config, caplog, pictures, ask):
    """Audit the data; gives {(task, item, finding)} from the table, and keeps the rows and the log."""

    def through(changes=None):
        config = make_config(changes)
        layout = Layout(config.output_dir, "tiny")
        caplog.clear()
        caplog.set_level("INFO")
        try:
            run_audit(config, layout)
        finally:
            with open(layout.audit, encoding="utf-8", newline="") as file:
                through.rows = list(csv.DictReader(file, dialect="excel-tab"))
        through.said = caplog.text
        return {(row["task"], row["item"], row["finding"]) for row in through.rows}

    return through


def test_nothing_is_found_in_good_data(look):
    assert look() == set()
    assert "nothing found" in look.said


IMAGE_FAULTS = {
    "missing_image": lambda pictures: (pictures.path / "x.png").symlink_to("nowhere.png"),
    "unreadable_image": lambda pictures: pictures.write("x.png", b"no image"),
    "image_too_large": lambda pictures: pictures.add("x.png", (1001, 1000)),
    "path_outside_dataset": lambda pictures: (pictures.path / "x.png").symlink_to("/etc/hostname"),
    "strip_image": lambda pictures: pictures.add("x.png", (6433, 32)),
    "wrong_suffix": lambda pictures: pictures.add("x.png", kind="JPEG", colour=(9, 9, 9)),
    "animated_image": lambda pictures: pictures.add("x.png", save_all=True, append_images=[Image.new("RGB", (64, 64))]),
    "other_colours": lambda pictures: pictures.add("x.png", icc_profile=icc(*WIDE["Display P3"])),
    "tiny_image": lambda pictures: pictures.add("x.png", (64, 31)),
    "duplicate_image": lambda pictures: pictures.write("x.png", (pictures.path / "good.png").read_bytes()),
}


@pytest.mark.parametrize(("finding", "spoil"), IMAGE_FAULTS.items(), ids=IMAGE_FAULTS)
def test_each_fault_of_an_image_is_found(look, pictures, ask, finding, spoil):
    spoil(pictures)
    ask(("q1", CHOICES, "A", ["good.png", "x.png"]))
    found = look({"client": {"images": {"max_source_pixels": 1_000_000}}})
    fails = finding in ("missing_image", "unreadable_image", "image_too_large", "path_outside_dataset", "strip_image")
    captions = {("captions", "x.png", finding)}
    if finding == "duplicate_image":  # either of the two may be reported as the copy
        captions = {("captions", look.rows[0]["item"], finding)}
    assert found == captions | {("qa", "q1" if fails else "x.png", finding)}
    assert f"1 {finding}" in look.said or f"2 {finding}" in look.said


def test_what_the_run_skips_is_counted_by_kind(look, pictures):
    (pictures.path / "__MACOSX").mkdir()
    for name in ("a.txt", "b.txt", "c.mp4", "__MACOSX/d.png"):
        pictures.write(name, b"no image")
    look({"qa": None})
    assert "skipped: 2 txt, 1 in __MACOSX, 1 mp4" in look.said


QUESTION_FAULTS = {
    "letter out of range": ("ungradable_ground_truth", (CHOICES, "C", ["good.png"])),
    "two letters": ("ungradable_ground_truth", (CHOICES, "A and B", ["good.png"])),
    "no question": ("invalid_question", (None, "A", ["good.png"])),
    "a letter without choices": ("no_choices", ("What is it?", r"\boxed{B}", ["good.png"])),
    "the truth twice": ("equal_choices", ("Which?\nA. red\nB. blue\nC. red", "C", ["good.png"])),
    "more marks than images": ("missing_image", (f"<image><image>{CHOICES}", "A", ["good.png"])),
    "fewer marks than images": ("image_marks", (f"<image>{CHOICES}", "A", ["good.png", "fine.jpg"])),
    "too many images": ("too_many_images", (CHOICES, "A", ["good.png"] * 9)),
    "the same again": ("duplicate_question", ("What is it?\nA. red\nB. green", "B", ["good.png"])),
    "a missing image": ("missing_image", (CHOICES, "B", ["none.png"])),
    "a folder": ("missing_image", (CHOICES, "B", ["."])),
    "an absolute path": ("path_outside_dataset", (CHOICES, "B", ["/etc/hostname"])),
    "a path out": ("path_outside_dataset", (CHOICES, "B", ["good.png", "../x.png"])),
}


@pytest.mark.parametrize(("finding", "row"), QUESTION_FAULTS.values(), ids=QUESTION_FAULTS)
def test_each_fault_of_a_question_is_found(look, ask, finding, row):
    ask(("q0", "What is it?\nA. red\nB. green", "A", ["good.png"]), ("q1", *row))
    assert look() == {("qa", "q1", finding)}


@pytest.mark.parametrize(("truths", "advice"), [("010", "index0"), ("122", "index1"), ("111", "index0 or index1")])
def test_ground_truths_that_are_all_small_numbers_look_like_indexes(look, ask, truths, advice):
    ask(*((f"q{n}", f"What is {n}?\nA. red\nB. blue", truth, ["good.png"]) for n, truth in enumerate(truths)))
    ungradable = {("qa", f"q{n}", "ungradable_ground_truth") for n in range(3)}
    assert look() == ungradable | {("qa", "q0", "index_ground_truth")}
    (row,) = (row for row in look.rows if row["finding"] == "index_ground_truth")
    assert "all 3 questions with choices are whole numbers" in row["detail"]
    assert row["detail"].endswith(f"set qa.answer_is to {advice}")
    if advice == "index0":
        assert look({"qa": {"answer_is": "index0"}}) == set()


def test_numbers_that_are_texts_of_choices_are_no_indexes(look, ask):
    ask(*((f"q{n}", f"How many, {n}?\nA. 2\nB. 1", truth, ["good.png"]) for n, truth in enumerate("121")))
    assert look() == set()


def test_ground_truths_that_no_answer_can_match_are_named_before_a_run(look, ask):
    ask(
        ("q0", CHOICES, "A", ["good.png"]),
        ("q1", CHOICES, "C", ["good.png"]),
        ("q2", "Which?\nA. red\nB. blue", r"\boxed{A} \boxed{B}", ["good.png"]),
    )
    with pytest.raises(InputError, match=r"2 ungradable_ground_truth, on which audit\.stop_on stops"):
        look({"audit": {"stop_on": ["ungradable_ground_truth"]}})


def test_how_many_images_an_existing_server_takes_is_its_own_business(look, ask):
    ask(("q1", CHOICES, "A", ["good.png"] * 9))
    assert look({"models": {"tiny": {"url": "http://node:8000"}}}) == set()


def test_images_that_are_shrunk_are_counted_and_not_listed(look, pictures):
    for number in range(5):
        pictures.add(f"{number}.jpg", (800, 600), "JPEG", colour=(number * 40, 0, 0))
    assert look({"client": {"images": {"max_pixels": 100_000}}}) == set()
    assert f"5 shrunk_image: the run {EFFECTS[FindingKind.SHRUNK_IMAGE]}" in look.said
    assert look({"client": {"images": {"max_pixels": None}}}) == set()
    assert "shrunk" not in look.said


def test_no_picture_is_decoded(look, pictures):
    pictures.add("fine.jpg", (800, 600), "JPEG")
    whole = (pictures.path / "fine.jpg").read_bytes()
    pictures.write("cut.jpg", whole[: len(whole) * 2 // 3])
    assert look() == set()


def test_all_are_in_the_table_and_three_of_each_are_shown(look, pictures):
    for number in range(20):
        pictures.write(f"empty{number}.png", b"")
    assert len(look()) == 20
    assert "20 unreadable_image: the run fails the item without asking" in look.said
    assert sum(f"empty{number}.png" in look.said for number in range(20)) == 3


def test_images_of_one_size_with_other_bytes_are_no_duplicates(look, pictures):
    pictures.write("same-size.png", (pictures.path / "good.png").read_bytes()[:-1] + b"\0")
    assert {finding for _, _, finding in look()} == set()


def test_an_odd_name_is_one_row_and_no_code_for_the_terminal(look, pictures):
    names = ["two\nlines.png", "\x1b[31mred.png", 'a "quoted" tab\t.png', "caf\udce9.png", "中文.png"]
    for name in names:
        pictures.write(name, b"")
    shown = {r"two\nlines.png", r"\x1b[31mred.png", r'a "quoted" tab\t.png', r"caf\udce9.png", "中文.png"}
    assert look() == {("captions", name, "unreadable_image") for name in shown}
    assert "\x1b" not in look.said


def test_a_run_stops_on_what_the_user_named_and_on_nothing_else(look, pictures):
    pictures.write("empty.png", b"")
    look({"audit": {"stop_on": ["missing_image", "tiny_image"]}})
    with pytest.raises(InputError, match=r"found 1 unreadable_image, on which audit\.stop_on stops the run"):
        look({"audit": {"stop_on": ["missing_image", "unreadable_image"]}})


def test_a_finding_can_be_named_in_the_configuration_and_each_has_its_effect(schema):
    named = schema["properties"]["audit"]["properties"]["stop_on"]["items"]["enum"]
    assert named == [str(kind) for kind in FindingKind] == list(EFFECTS)


@pytest.mark.slow
def test_the_audit_is_a_command(look, pictures, raw_config, tmp_path, workflow_folder):
    pictures.write("empty.png", b"")
    for stop_on, code in ([], 0), (["unreadable_image"], 1):
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(raw_config({"audit": {"stop_on": stop_on}})))
        done = subprocess.run(
            [sys.executable, "-m", "captionqa", "audit", str(tmp_path / "my.yaml")],
            env={"PYTHONPATH": str(workflow_folder)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert "1 unreadable_image" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_found_does_not_depend_on_how_many_are_looked_at_at_a_time(look, pictures, ask, monkeypatch):
    copies = [f"copy{number}.png" for number in range(5)]
    for name in copies:
        pictures.write(name, (pictures.path / "good.png").read_bytes())
    ask(*((name, CHOICES, "C", [copies[number % 2]]) for number, name in enumerate(copies)))
    first = look()
    counts = Counter(finding for _, _, finding in first)
    assert counts == {"duplicate_image": 6, "duplicate_question": 3, "ungradable_ground_truth": 5}
    monkeypatch.setattr(audit_checks, "BATCH_ITEMS", 1)
    assert look() == first
