"""The page at the end of a run: of what is answered so far, completed by the verdict, or left out without harm."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.journal import segment_of
from captionqa.config.answer_files import AnswerFiles, journal_segment
from captionqa.config.settings import answer_fingerprint, caption_settings
from captionqa.dataset.places import HASH_BITS, entry_place
from captionqa.dataset.plan import load_plan
from captionqa.driver.phases import PHASES
from captionqa.files import checked_line, read_json_lines, write_json
from captionqa.page.answers import STATUSES
from captionqa.page.results_page import write_page
from captionqa.page.run_end import give_up_page, page_after_run
from captionqa.page.unfinished_page import write_unfinished_page
from finished_run import SERVER, finish_run


@pytest.fixture
def config(make_config, images):
    images.add(*(f"{number}.png" for number in range(12)))
    config = make_config({"captions": {"chunks": 3}, "qa": {"chunks": 3}})
    rows = {"qid": [f"q{n}" for n in range(9)], "question": ["Which?\nA. red\nB. blue"] * 9}
    rows |= {"answer": ["\\boxed{A}"] * 9, "image": [[f"{n}.png"] for n in range(9)]}
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    return config


def data(layout, name):
    text = (Path(layout.page).parent / "data" / f"{name}.js").read_text()
    return json.loads(json.loads(text.partition(",")[2].rpartition(")")[0]))


def first_chunk_only(work, entry):
    """Outcomes of the chunks in the first part of the hash range; one of them is a failure."""
    if entry_place(entry) * 3 >> HASH_BITS != 0 and work == "qa":
        return None
    return "The answer is A." if work == "qa" else None


def journal(config, layout, count):
    """Answer some captions in the journal alone."""
    settings = caption_settings(config, "tiny", "SIMPLE")
    entries = [
        e for path in load_plan(layout, "captions").item_lists(layout, "captions") for e in read_json_lines(path)
    ]
    for entry in entries[:count]:
        path = journal_segment(AnswerFiles(layout.captions_work("simple")).journal, segment_of(entry_place(entry)))
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = {"text": f"new {entry['id']}", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
        line = {"fingerprint": answer_fingerprint(settings), "id": entry["id"], "prompt": "p", "time": 1.0}
        line["files"] = [[entry["id"], None, "digest"]]
        with path.open("a") as file:
            file.write(checked_line({**line, "answer": {**answer, "text": "old", "server": SERVER}}))
            file.write(checked_line({**line, "answer": {**answer, "server": SERVER}}))


def test_it_has_the_answers_of_journals_and_finished_chunks_and_says_how_many_are_missing(config):
    layout = finish_run(config, first_chunk_only, merged=False)
    journal(config, layout, 5)
    assert write_unfinished_page(config, layout)
    overview = data(layout, "overview")
    answered = len(overview["questions"]["qids"])
    assert 0 < answered < 9
    assert overview["unfinished"] == {"answered": 5 + answered, "failed": 0, "items": 12 + 9}
    assert overview["questions"]["columns"][0]["accuracy"] == 1.0
    texts = [item["captions"][0]["text"] for item in data(layout, "captions-0")]
    assert texts == [f"new {name}" for name in overview["captions"]["names"]]
    assert len(texts) == 5


def test_it_is_older_than_all_results_so_that_the_next_run_makes_the_page_anew(config):
    layout = finish_run(config, first_chunk_only, merged=False)
    write_unfinished_page(config, layout)
    assert os.stat(layout.page).st_mtime == 0


def test_without_an_answer_there_is_no_page(config):
    layout = finish_run(config, lambda work, entry: None, merged=False)
    assert page_after_run(config, layout, 0.0, False, PHASES).path is None
    assert not Path(layout.page).exists()


def test_a_run_that_ends_early_has_a_page_from_a_process_of_its_own(config):
    layout = finish_run(config, first_chunk_only, merged=False)
    assert page_after_run(config, layout, 0.0, False, PHASES) == (layout.page, None)
    assert data(layout, "overview")["unfinished"]["failed"] == 0


def test_a_failed_run_keeps_the_page_of_complete_results_and_completes_it(config):
    layout = finish_run(config, lambda work, entry: "The answer is A.")
    write_page(config, layout)
    write_json(layout.verdict, {"phases": {"asking": 9.0, "else": 0.1}, "evidence": "slow", "advice": None})
    assert data(layout, "run")["phases"] is None
    assert page_after_run(config, layout, 0.0, False, PHASES).path == layout.page
    assert "unfinished" not in data(layout, "overview")
    assert data(layout, "run")["phases"] == {"requests": 9.0}
    assert data(layout, "run")["plots"][0]["title"] == "Answers"


def test_a_page_that_could_not_be_made_is_a_sentence_and_no_file_is_left(config):
    layout = finish_run(config, lambda work, entry: "The answer is A.")
    outputs = [layout.page, layout.page_in_one_file]
    said = give_up_page(layout, outputs, OSError(28, "No space left on device"), "page.log")
    assert all(Path(path).exists() for path in outputs)
    assert said == (
        "the results are complete, but their page could not be made: [Errno 28] No space left on device; log: page.log"
    )
    assert page_after_run(config, layout, 0.0, True, PHASES) == (None, said)
    assert not Path(layout.page).exists()


def test_a_run_whose_page_is_not_wanted_makes_none(config, make_config):
    layout = finish_run(config, first_chunk_only, merged=False)
    assert page_after_run(make_config({"report": {"page": False}}), layout, 0.0, False, PHASES).path is None
    assert not Path(layout.page).exists()


def test_it_has_the_contexts_that_are_answered_so_far(config, make_config):
    config = make_config({"captions": {"chunks": 3}, "qa": {"chunks": 3, "contexts": ["none", "image", "caption"]}})

    def answer(work, entry):
        if work == "qa_none" or not work.startswith("qa"):
            return "The answer is B."
        return first_chunk_only("qa", entry) if work == "qa" else None

    layout = finish_run(config, answer, merged=False)
    assert write_unfinished_page(config, layout)
    index = data(layout, "overview")["questions"]
    assert [column["label"] for column in index["columns"]] == ["image", "none", "caption SIMPLE"]
    image, none, caption = index["status"]
    wrong, right = str(STATUSES.index("wrong")), str(STATUSES.index("right"))
    assert (set(none), set(caption), set(image)) == ({wrong}, {"-"}, {right, "-"})
    assert [part["answered"] for part in data(layout, "overview")["parts"]] == [12, image.count(right), 9, 0]
    assert (index["columns"][0]["accuracy"], index["differences"]) == (1.0, [])
    card = data(layout, "questions-0")[0]
    assert [card["answers"][0]["output"], card["answers"][2]] == ["The answer is A.", None]
