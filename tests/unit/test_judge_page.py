"""A judge on the page: its grades beside those of the rules, and the page of a run whose judge failed."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from browser import Tab
from captionqa.driver.phases import PHASES
from captionqa.files import read_json, write_json
from captionqa.page.results_page import write_page
from captionqa.page.run_end import page_after_run
from finished_run import finish_run, judge_run

NASTY = "<img src=x onerror=alert(1)>\nGrade: correct"
OUTPUTS = {"q0": "The answer is A.", "q1": "It has the colour of blood.", "q2": "Something.", "q3": "No idea."}
SAYS = {"q0": "Grade: incorrect", "q1": NASTY, "q2": f"{'Hm. ' * 200}I cannot tell."}
JUDGE = "critic"


@pytest.fixture
def config(make_config, images):
    images.add("a.png")
    rows = {"qid": list(OUTPUTS), "question": ["Which?\nA. red\nB. blue"] * 4, "answer": ["\\boxed{A}"] * 4}
    judge = {"model": JUDGE, "when": "always"}
    qa = {"contexts": ["image", "none"], "judge": judge}
    config = make_config({"captions": None, "models": {JUDGE: {"path": "org/critic"}}, "qa": qa})
    pd.DataFrame(rows | {"image": [["a.png"]] * 4}).to_parquet(config.qa.question_path)
    return config


@pytest.fixture
def layout(config):
    return finish_run(config, lambda work, entry: OUTPUTS[entry["id"]])


def says(entry):
    return SAYS.get(entry["id"]) or {"failure": "timeout", "detail": "no answer in 5 s"}


def data(layout, name):
    text = (Path(layout.page).parent / "data" / f"{name}.js").read_text()
    return json.loads(json.loads(text.partition(",")[2].rpartition(")")[0]))


def judgements(layout, column=0):
    return {item["qid"]: (item["answers"][column] or {}).get("judge") for item in data(layout, "questions-0")}


def test_each_card_has_the_judges_grade_and_words_and_each_column_its_figures(config, layout):
    judge_run(config, says)
    write_page(config, layout)
    found = judgements(layout)
    assert found["q0"] == {"grade": "incorrect", "output": "Grade: incorrect", "truncated": False}
    assert (found["q1"]["grade"], found["q1"]["output"]) == ("correct", NASTY)
    assert found["q2"]["grade"] is None
    assert (found["q3"]["output"], found["q3"]["reason"]) == (None, "timeout")
    index = data(layout, "overview")["questions"]
    assert index["judge"] == JUDGE
    for column in index["columns"]:
        assert (column["judge"]["by_judge"]["correct"], column["judge"]["by_judge"]["judged"]) == (1, 2)
        assert column["judge"]["agreement"]["n"] == 1
    # the grades of the rules decide all else
    assert index["columns"][0]["accuracy"] == 1 / 4
    assert f"Answers judged by {JUDGE}" in Path(layout.page_tables).read_text()


def test_what_a_judge_said_of_other_answers_is_left_out(config, layout):
    judge_run(config, says)
    sets = Path(config.layout().qa("results"))
    records = read_json(sets)
    records["q1"]["model_output"] = "It is something else now."
    write_json(sets, {qid: record for qid, record in records.items() if qid != "q0"})
    judged = sets.with_name(sets.name.replace("results", "judged"))
    before = read_json(judged)
    write_json(judged, {"no longer asked": before["q1"], **before})
    Path(layout.comparison("json")).unlink()  # it is of the former answers
    write_page(config, layout)
    found = judgements(layout)
    assert found["q1"] is None
    assert found["q2"]["output"].endswith("I cannot tell.")
    index = data(layout, "overview")["questions"]
    assert [column["judge"] is None for column in index["columns"]] == [True, False]


def test_what_an_earlier_judge_said_is_not_shown_as_that_of_the_present_one(config, layout):
    judge_run(config, says)

    def shown(**changes):
        judge = replace(config.qa.judge, **changes)
        write_page(replace(config, qa=replace(config.qa, judge=judge)), layout)
        columns = data(layout, "overview")["questions"]["columns"]
        return [column["judge"] is not None for column in columns], any(judgements(layout).values())

    assert shown() == ([True, True], True)
    assert shown(when="unparsed") == ([False, False], True)
    assert shown(prompt="Right? {answer}") == ([False, False], False)


def test_a_run_whose_judge_failed_has_the_page_of_all_results_until_the_next_run(config, layout):
    assert page_after_run(config, layout, time.time() - 60, False, PHASES).path == layout.page
    overview = data(layout, "overview")
    assert "unfinished" not in overview
    assert overview["questions"]["differences"]
    assert [column["judge"] for column in overview["questions"]["columns"]] == [None, None]
    assert os.stat(layout.page).st_mtime == 0
    assert os.path.exists(layout.page_tables)


def test_a_run_whose_comparison_is_older_than_its_results_has_a_page_of_what_is_answered(config, layout):
    os.utime(layout.comparison("json"), (0, 0))
    assert page_after_run(config, layout, time.time() - 60, False, PHASES).path == layout.page
    assert "unfinished" in data(layout, "overview")


@pytest.mark.slow
def test_a_browser_shows_the_judges_words_as_text(config, layout, tmp_path):
    judge_run(config, says)
    write_page(config, layout)
    with Tab(tmp_path / "browser") as tab:
        tab.open(f"file://{layout.page}")
        text = tab.run("document.getElementById('main').textContent")
        assert "judge: ✓ correct" in text
        assert "judge: ✗ incorrect" in text
        assert "judge: ? unscored" in text
        assert "<img src=x onerror=alert(1)>" in text
        assert "no answer in 5 s" in text
        assert tab.run("document.querySelector('table.judge tbody tr').innerText").startswith("image")
        assert tab.run("document.querySelector('.cards img[src=x]')") is None
        assert tab.console == []
