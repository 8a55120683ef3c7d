"""The data of the results page: what it shows, how it is counted, and that no text of a model can be more than text."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from browser import Tab
from captionqa.errors import ResultError
from captionqa.page import failure_rows, page_lists, sample, thumbnails
from captionqa.page.answers import MISSED, STATUSES, TEXT_CHARACTERS, cut, status_of
from captionqa.page.questions import kind_of, without_choices
from captionqa.page.results_page import ASSETS, write_page
from captionqa.page.sample import Sample, limits_for
from captionqa.page.script_data import script
from finished_run import finish_run
from PIL import Image

NASTY = "</script><script>\u2028\u2029\ud800\\\"'\x00<!--"
CUT = ("The answer is A. And", "length")
OUTPUTS = {"q0": "It may be B.</think>The answer is A.", "q1": "The answer is B.", "q2": "no idea", "q3": CUT}


def statuses(index, column=0):
    return [STATUSES[int(digit)] for digit in index["status"][column]]


def value_of(text):
    """The value that a script hands to the page, and its name."""
    found = re.fullmatch(r"captionqaPage\.receive\((\".*?\"),(\".*\")\);\n", text)
    return json.loads(json.loads(found[2]))


def answer(work, entry):
    if work == "qa":
        return OUTPUTS.get(entry["id"]) or {"failure": "timeout", "detail": "it took too long"}
    if entry["id"] == "broken.png":
        return {"failure": "unreadable_image", "detail": "it is no picture"}
    return (f"{work} of {entry['id']}", "length" if entry["id"] == "c.png" else "stop")


class Page:
    """A page that was written; its data are read back."""

    def __init__(self, config, layout):
        write_page(config, layout)
        self.folder = Path(layout.page).parent
        self.overview = self.data("overview")

    def data(self, name):
        return value_of((self.folder / "data" / f"{name}.js").read_text())


@pytest.fixture
def config(make_config, images):
    images.add("a.png", "b.png", "c.png", "d.png")
    (images.path / "broken.png").write_text("no picture")
    rows = {
        "qid": [f"q{number}" for number in range(5)],
        "question": ["Which?\nA. red\nB. blue\nAnswer with the letter."] * 4 + ["Which one?"],
        "answer": ["\\boxed{A}"] * 5,
        "image": [["a.png"], ["b.png", "a.png"], ["c.png"], ["d.png"], ["a.png"]],
        "category": ["x", "x", "y", "y", "z"],
    }
    config = make_config({"captions": {"prompt_styles": ["SIMPLE", "SHORT"]}})
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    return config


@pytest.fixture
def page(config):
    return Page(config, finish_run(config, answer))


def test_what_is_unanswered_or_wrong_comes_first_and_the_counts_are_those_of_the_metrics(page):
    index = page.overview["questions"]
    column = index["columns"][0]
    assert list(zip(index["qids"], statuses(index), strict=True)) == [
        ("q1", "wrong"),
        ("q2", "unparsed"),
        ("q4", "failed"),
        ("q0", "right"),
        ("q3", "right"),
    ]
    assert column["counts"] == {"all": 5, "right": 2, "wrong": 1, "unparsed": 1, "failed": 1, "truncated": 1}
    assert (column["accuracy"], column["correct"], column["graded"]) == (0.4, 2, 5)
    assert [(group["name"], group["correct"], group["graded"]) for group in column["categories"]] == [
        ("z", 0, 1),
        ("x", 1, 2),
        ("y", 1, 2),
    ]
    names, (numbers,) = index["rule"]["names"], index["rule"]["of"]
    assert [names[number] for number in numbers] == ["cue", "none", "timeout", "cue", "cue"]


def test_a_question_has_all_that_its_card_shows(page):
    wrong, _, failed, right, _ = page.data("questions-0")
    (answer,) = right["answers"]
    assert (answer["thinking"], answer["output"]) == ("It may be B.", "The answer is A.")
    assert "thinking" not in wrong["answers"][0]
    assert wrong["question"] == "Which?\nAnswer with the letter."
    assert (wrong["choices"], wrong["truth_letter"], wrong["answers"][0]["letter"]) == (["red", "blue"], "A", "B")
    assert [image["name"] for image in wrong["images"]] == ["b.png", "a.png"]
    assert wrong["images"][0]["caption"] == "simple of b.png"
    (answer,) = failed["answers"]
    assert (answer["rule"], answer["detail"], answer["output"]) == ("timeout", "it took too long", None)


def test_an_image_has_its_captions_in_all_styles_or_the_reason_that_it_has_none(page):
    index, items = page.overview["captions"], page.data("captions-0")
    assert index["names"] == ["broken.png", "a.png", "b.png", "c.png", "d.png"]
    assert index["counts"] == {"all": 5, "failed": 1, "truncated": 1}
    assert items[0]["captions"] == [{"reason": "unreadable_image", "detail": "it is no picture"}] * 2
    assert [caption["text"] for caption in items[1]["captions"]] == ["simple of a.png", "short of a.png"]
    assert index["truncated"] == [False, False, False, True, False]


def test_thumbnails_are_made_once_and_those_of_no_image_are_removed(page, config, images):
    shown = [image for item in page.data("captions-0") for image in item["images"]]
    assert [image["thumbnail"] is None for image in shown] == [True, False, False, False, False]
    with Image.open(page.folder / shown[1]["thumbnail"]) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (8, 8))
    assert (page.folder / shown[1]["original"]).resolve() == images.path / "a.png"
    before = {path.name: path.stat().st_mtime_ns for path in (page.folder / "thumbs").iterdir()}
    assert len(before) == 4
    images.add("a.png")
    Page(config, finish_run(config, answer))
    after = {path.name: path.stat().st_mtime_ns for path in (page.folder / "thumbs").iterdir()}
    assert len(after) == 4
    assert len(before.items() & after.items()) == 3


def test_an_image_in_a_parquet_file_has_a_thumbnail(make_config, encode, tmp_path):
    pictures = [{"bytes": encode(Image.new("RGB", (900, 600), colour)), "path": None} for colour in ("red", "blue")]
    (tmp_path / "images").mkdir()
    pd.DataFrame({"id": ["one", "two"], "image": pictures}).to_parquet(tmp_path / "images" / "data.parquet")
    config = make_config({"qa": None})
    page = Page(config, finish_run(config, lambda work, entry: "a caption"))
    images = [image for item in page.data("captions-0") for image in item["images"]]
    assert len(images) == 2
    for image, blue in zip(images, (0, 254), strict=True):
        assert image["width"] * image["height"] <= thumbnails.THUMBNAIL_PX
        assert image["original"] is None
        with Image.open(page.folder / image["thumbnail"]) as thumbnail:
            assert thumbnail.getpixel((5, 5))[2] == pytest.approx(blue, abs=3)


def test_a_missing_chunk_result_is_named(config):
    layout = finish_run(config, answer)
    chunk = next(Path(layout.captions_work("short")).rglob("*-of-*.jsonl"))
    chunk.unlink()
    with pytest.raises(ResultError, match=re.escape(f"{chunk} is missing, which the page needs")):
        write_page(config, layout)


def test_a_text_of_any_kind_comes_back_as_it_was_and_cannot_end_its_script():
    text = script("name", {"text": NASTY, "__proto__": 1})
    assert text.isascii()
    assert "<" not in text
    assert text.count("\n") == 1
    assert value_of(text) == {"text": NASTY, "__proto__": 1}


def test_a_long_text_is_cut_and_says_so():
    assert cut("x" * TEXT_CHARACTERS) == "x" * TEXT_CHARACTERS
    assert cut("x" * 30_000).endswith("x\n… (30,000 characters; the results file has all of them)")


@pytest.mark.parametrize(
    ("question", "choices", "shown"),
    [
        ("Which?\nA. red\nB. blue", ["red", "blue"], "Which?"),
        ("Which?\n(A) red\n(B) blue\nOne letter.", ["red", "blue"], "Which?\nOne letter."),
        ("Which? A. red B. blue", ["red", "blue"], "Which? A. red B. blue"),
        ("Which?\nA. red\nB. blue", ["red", "green"], "Which?\nA. red\nB. blue"),
        ("A. red", [], "A. red"),
    ],
)
def test_choices_are_not_shown_twice(question, choices, shown):
    assert without_choices(question, choices) == shown


def test_of_many_items_the_page_has_a_sample_that_does_not_change(config, monkeypatch):
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 4)
    monkeypatch.setattr(sample, "LIMITS", {"failed": 1, "wrong": 1, "other": 1})
    layout = finish_run(config, answer)
    first, second = Page(config, layout).overview["questions"], Page(config, layout).overview["questions"]
    assert first["qids"] == second["qids"]
    assert len(first["qids"]) == 3
    assert first["counts"]["all"] == 5
    assert {"failed", "right"} <= set(statuses(first))


def test_a_sample_keeps_the_same_items_whatever_their_order():
    names = [f"name {number}" for number in range(500)]
    kept = []
    for order in (names, names[::-1]):
        chosen = Sample(dict.fromkeys(("failed", "wrong", "other"), 20))
        for name in order:
            chosen.add("other", name, name)
        kept.append(sorted(chosen))
    assert kept[0] == kept[1]
    assert len(kept[0]) == 20


def test_a_page_of_few_items_has_them_all():
    assert set(limits_for(sample.WHOLE_ITEMS).values()) == {sample.WHOLE_ITEMS}
    assert sum(limits_for(sample.WHOLE_ITEMS + 1).values()) < sample.WHOLE_ITEMS


def test_questions_are_in_files_that_are_loaded_one_by_one(config, monkeypatch):
    monkeypatch.setattr(page_lists, "SHARD_ITEMS", 2)
    page = Page(config, finish_run(config, answer))
    assert [item["qid"] for number in range(3) for item in page.data(f"questions-{number}")] == page.overview[
        "questions"
    ]["qids"]


def test_what_a_single_image_is_counted_as_is_a_number(make_config, images):
    images.add("c.png")
    config = make_config({"qa": None})
    counts = Page(config, finish_run(config, answer)).overview["captions"]["counts"]
    assert json.dumps(counts) == '{"all": 1, "failed": 0, "truncated": 1}'


def in_contexts(make_config, **changes):
    contexts = ["image", "caption", "none"]
    return make_config({"captions": {"prompt_styles": ["SIMPLE", "SHORT"]}, "qa": {"contexts": contexts} | changes})


def context_answer(work, entry):
    """Right with images; right from the captions of a.png alone; without images always wrong."""
    if not work.startswith("qa"):
        return answer(work, entry)
    if work == "qa_none":
        return "The answer is B."
    return f"The answer is {'A' if work == 'qa' or entry['images'][0] == 'a.png' else 'B'}, says {work}."


def test_a_question_has_its_answers_in_all_contexts_with_the_captions_that_they_are_about(config, make_config):
    config = in_contexts(make_config)
    page = Page(config, finish_run(config, context_answer))
    index = page.overview["questions"]
    assert [column["label"] for column in index["columns"]] == ["image", "caption SIMPLE", "caption SHORT", "none"]
    card = next(card for card in page.data("questions-0") if card["qid"] == "q1")
    assert [one["status"] for one in card["answers"]] == ["right", "wrong", "wrong", "wrong"]
    assert [one["output"].split()[-1] for one in card["answers"][:3]] == [
        "qa.",
        "qa_caption_simple.",
        "qa_caption_short.",
    ]
    read = [one.get("captions") for one in card["answers"]]
    assert read == [None, ["simple of b.png", "simple of a.png"], ["short of b.png", "short of a.png"], None]
    assert [statuses(index, column)[index["qids"].index("q1")] for column in range(4)] == ["right", *["wrong"] * 3]


def test_the_counts_of_contexts_are_of_all_questions_and_their_figures_those_of_the_comparison(
    config, make_config, monkeypatch
):
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 2)
    monkeypatch.setattr(sample, "LIMITS", {"failed": 1, "wrong": 1, "other": 1})
    config = in_contexts(make_config)
    failed = {"failure": "timeout", "detail": "it took too long"}  # left out by the comparison, wrong by the metrics
    layout = finish_run(config, lambda *of: failed if (of[0], of[1]["id"]) == ("qa", "q3") else context_answer(*of))
    index = Page(config, layout).overview["questions"]
    assert len(index["qids"]) < 5
    right, wrong = str(STATUSES.index("right")), str(STATUSES.index("wrong"))
    flips = sum(count for pattern, count in index["patterns"] if (pattern[0], pattern[2]) == (right, wrong))
    comparison = json.loads(Path(layout.comparison("json")).read_text())
    first = {(one["a"], one["b"]): one for one in comparison["differences"]}["image", "caption_short"]
    assert flips == first["only_a_correct"] == 2
    drawn = next(one for one in index["differences"] if (one["a"], one["b"]) == (0, 2))
    assert {key: drawn[key] for key in ("difference", "interval_95", "p_holm", "p_by_image_holm")} == {
        key: first[key] for key in ("difference", "interval_95", "p_holm", "p_by_image_holm")
    }
    assert [column["accuracy"] for column in index["columns"]] == [cell["accuracy"] for cell in comparison["cells"]]
    assert [column["mean_score"] for column in index["columns"]] == [1, 0.4, 0.4, 0]
    assert index["columns"][2]["counts"] == {"all": 5, "right": 2, "wrong": 3, "truncated": 0}


def test_a_question_that_is_asked_more_than_once_has_all_its_answers(config, make_config):
    config = make_config({"captions": None, "qa": {"shuffle_choices": {"rounds": 2}}})
    page = Page(config, finish_run(config, lambda work, entry: "The answer is A."))
    cards = {card["qid"]: card for card in page.data("questions-0")}
    (answer,) = cards["q0"]["answers"]
    assert (answer["decided_by"], answer["votes"], answer["status"]) == ("tie", {"A": 1, "B": 1}, "tie")
    same = {"sample": 1, "truncated": False, "output": "The answer is A."}
    assert answer["rounds"] == [
        {"round": 1, "order": None, "status": "right", "letter": "A", **same},
        {"round": 2, "order": "BA", "status": "wrong", "letter": "B", **same},
    ]
    assert "rounds" not in cards["q4"]["answers"][0]
    index = page.overview["questions"]
    repeats = index["columns"][0]["repeats"]
    assert (repeats["questions"], repeats["consistency"], repeats["mean_accuracy"]) == (4, 0, 0.5)
    assert not index["is_circular"]
    assert index["columns"][0]["counts"] == {"all": 5, "tie": 4, "right": 1, "truncated": 0}


def test_an_output_of_another_order_of_the_choices_says_which(config, make_config, tmp_path):
    config = make_config({"captions": None, "qa": {"shuffle_choices": {"rounds": 3}}})
    outputs = {"q0\0round 2 sample 1": "The answer is B.", "q1": "The answer is A."}
    page = Page(config, finish_run(config, lambda work, entry: outputs.get(entry["id"], "no idea")))
    answers = {card["qid"]: card["answers"][0] for card in page.data("questions-0")}
    assert (answers["q0"]["output"], answers["q0"]["letter"], answers["q0"]["order"]) == ("The answer is B.", "A", "BA")
    assert "order" not in answers["q1"]
    with Tab(tmp_path / "browser") as tab:
        tab.open((page.folder / "index.html").resolve().as_uri())
        heads = "[...document.querySelectorAll('article .label')].map(label => label.innerText)"
        assert [head for head in tab.run(heads) if "asked as" in head] == ["output\nasked as BA\nrule: cue"]
        assert tab.console == []


def test_rotations_with_different_answers_are_told_from_those_that_could_not_be_read(config, make_config):
    config = make_config({"captions": None, "qa": {"shuffle_choices": {"circular": True}}})

    def answer(work, entry):
        return "no idea" if entry["id"].startswith("q1\0") or entry["id"] == "q4" else "The answer is A."

    index = Page(config, finish_run(config, answer)).overview["questions"]
    of = dict(zip(index["qids"], statuses(index), strict=True))
    assert of == {"q1": "unparsed", "q4": "unparsed"} | dict.fromkeys(["q0", "q2", "q3"], "inconsistent")
    assert index["columns"][0]["counts"] == {"all": 5, "inconsistent": 3, "unparsed": 2, "truncated": 0}


def test_a_tie_of_an_earlier_version_which_called_it_unparsed_is_one():
    assert status_of({"is_correct": False, "graded_by": "tie", "is_parsed": False}) == "tie"


def test_the_page_and_its_data_have_the_same_statuses_and_a_tie_is_missed():
    scripts = "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("elements.js", "contexts.js"))
    listed = {name: json.loads(text) for name, text in re.findall(r"const (STATUSES|MISSED) = (\[.*?\]);", scripts)}
    assert listed == {"STATUSES": list(STATUSES), "MISSED": list(MISSED)}
    assert {kind_of({"answers": [{"status": status}]}) for status in ("tie", "inconsistent")} == {"wrong"}


def test_captions_of_a_file_that_changed_since_are_not_shown(config, make_config, tmp_path):
    known = tmp_path / "known.json"
    known.write_text(json.dumps({name: f"a person's {name}" for name in ("a.png", "b.png", "c.png", "d.png")}))
    config = in_contexts(make_config, captions_from=str(known))
    layout = finish_run(config, context_answer)
    card = Page(config, layout).data("questions-0")[0]
    assert [one.get("captions") for one in card["answers"]][3] == [f"a person's {i['name']}" for i in card["images"]]
    known.write_text(json.dumps({"a.png": "another"}))
    card = Page(config, layout).data("questions-0")[0]
    assert "captions" not in card["answers"][3]


def test_of_a_sample_all_failures_are_rows_by_file_and_reason(config, monkeypatch):
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 2)
    monkeypatch.setattr(sample, "LIMITS", {"failed": 0, "wrong": 1, "other": 1})
    monkeypatch.setattr(failure_rows, "SHARD_ROWS", 2)
    layout = finish_run(config, answer)
    page = Page(config, layout)
    assert [(group["part"], group["reason"], group["rows"]) for group in page.overview["failures"]["groups"]] == [
        ("captions SIMPLE", "unreadable_image", 1),
        ("captions SHORT", "unreadable_image", 1),
        ("qa", "timeout", 1),
    ]
    rows = [row for number in range(2) for row in page.data(f"failures-{number}")]
    assert rows == [*[["broken.png", "it is no picture"]] * 2, ["q4", "it took too long"]]
    assert page.overview["questions"]["shares"] == {"failed": [0, 1], "wrong": [1, 2], "other": [1, 2]}


def test_of_several_models_the_page_has_the_failures_of_all_and_is_called_by_the_first(
    config, make_config, monkeypatch
):
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 2)
    monkeypatch.setattr(sample, "LIMITS", {"failed": 0, "wrong": 1, "other": 1})
    changes = {"models": {"reader": {"path": "org/reader"}}, "captions": {"prompt_styles": ["SIMPLE"]}}
    config = make_config({**changes, "qa": {"contexts": ["image", "caption"], "reader": "reader"}})
    page = Page(config, finish_run(config, lambda work, entry: answer("qa" if work.startswith("qa") else work, entry)))
    assert [(group["part"], group["rows"]) for group in page.overview["failures"]["groups"]] == [
        ("tiny: captions SIMPLE", 1),
        ("tiny: qa", 1),
        ("reader: qa caption SIMPLE of tiny", 1),
    ]
    assert page.overview["model"]["name"] == "tiny"
