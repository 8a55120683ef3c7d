"""The summary: what a run starts with and what it has produced."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import final_files
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.driver.judge_summary import combined_text
from captionqa.driver.summary import plan_line, plan_notes, result_rows
from captionqa.files import write_json

NAMES = [f"image{number}.png" for number in range(40)]


@pytest.fixture
def config(make_config):
    return make_config({"captions": {"prompt_styles": ["SIMPLE", "LONG"]}})


@pytest.fixture
def layout(config, images):
    """The layout of a run whose tasks are planned: 40 images in two styles, and 3 questions of which 2 can be asked."""
    images.add(*NAMES)
    (images.path / "notes.txt").write_text("notes")
    rows = {"qid": ["q1", "q2", "q3"], "question": ["What?", None, "Who?"], "answer": "A", "image": NAMES[0]}
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    layout = Layout(config.output_dir, "tiny")
    for task in ("captions", "qa"):
        plan_task(config, layout, task)
    return layout


def test_results_of_the_time_when_the_data_set_had_no_name_are_said_to_stay(config, layout, raw_config, schema):
    raw = raw_config({"captions": {"prompt_styles": ["SIMPLE"]}})
    named = check({**raw, **{task: {"docs": raw[task]} for task in ("captions", "qa")}}, schema)
    assert plan_notes(named, layout) == []
    for path in (layout.qa("results"), layout.captions("simple")):
        write_json(path, {})
    assert plan_notes(config, layout) == []
    (note,) = plan_notes(named, layout)
    folders = f"{config.output_dir}/captions and {config.output_dir}/qa"
    assert note.startswith(f"{folders} are of a data set without a name: this run neither reads nor changes")
    shutil.rmtree(Path(config.output_dir, "captions"))
    assert plan_notes(named, layout)[0].startswith(f"{config.output_dir}/qa is of a data set without a name: ")


def test_a_first_run_has_all_items_to_do(config, layout):
    assert plan_line(config, layout) == (
        "40 images in 4 chunks (skipped: 1 txt), 2 questions in 1 chunk (1 more are invalid); 82 items to do"
    )


@pytest.mark.parametrize(
    ("names", "said"), [(["no.png"], "1 names a missing image"), (["no.png", "not.png"], "2 name missing images")]
)
def test_missing_images_are_counted_before_a_request(config, layout, images, names, said):
    frame = {"qid": [f"q{name}" for name in names], "question": "What?", "answer": "A", "image": names}
    pd.DataFrame(frame).to_parquet(config.qa.question_path)
    plan_task(config, layout, "qa")
    assert f" ({said}); " in plan_line(config, layout)
    (images.path / "link.png").symlink_to("nowhere")
    plan_task(config, layout, "captions")
    assert "41 images in 4 chunks (1 leads to no file, skipped: 1 txt)" in plan_line(config, layout)


def test_a_resumed_run_says_how_many_items_are_known(config, layout):
    plan = load_plan(layout, "captions")
    file, _ = final_files(config, layout, "captions")
    result = Path(file.results(config, layout)[0])
    result.parent.mkdir(parents=True)
    result.touch()
    known = plan.chunks[0].items
    assert plan_line(config, layout).endswith(f"; {82 - known} items to do, {known} known")


def test_a_finished_run_names_its_final_files_failures_and_flips(config, layout):
    counts = {"answered": 39, "failed": 1, "failures_by_reason": {"timeout": 1}}
    write_json(layout.captions("simple", "_provenance"), {"counts": counts})
    write_json(layout.qa("provenance"), {"counts": {"answered": 2, "failed": 0, "failures_by_reason": {}}})
    metrics = {"overall_accuracy": 0.5, "correct_answers": 1, "total_questions": 2, "answered_questions": 2}
    metrics |= {"unparsed_answers": 0, "truncated_answers": 0}
    write_json(layout.qa("metrics"), metrics | {"overall_accuracy_interval_95": [0.0945, 0.9055]})
    flip = {"before": {"is_correct": False}, "now": {"is_correct": True}}
    write_json(layout.qa("flips"), {"q1": flip})
    assert result_rows(config, layout) == [
        f"       39 captions SIMPLE   {layout.captions('simple')}",
        f"        2 answers           {layout.qa('results')}",
        f"          accuracy 50.0% (1 of 2; 95 % interval 9.4% to 90.5%)  {layout.qa('metrics')}",
        f"          regraded: 1 of 2 answers flipped (1 now right)  {layout.qa('flips')}",
        f"        1 failed: 1 timeout  {layout.captions('simple', '_failures')}",
    ]


def test_a_question_that_is_asked_more_than_once_is_no_further_question(make_config, config, layout):
    repeated = make_config({"qa": {"samples": 3}, "client": {"sampling": {"temperature": 1}}})
    plan_task(repeated, layout, "qa")
    assert "6 questions with their repeats in 1 chunk (" in plan_line(repeated, layout)


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (0, "2 questions asked 12 times: mean 50.0%"),
        (4, "2 questions answered each time (of 12 requests 4 failed): mean"),
    ],
)
@pytest.mark.parametrize(("ties", "told"), [(1, "1 tie, which counts as wrong"), (2, "2 ties, which count as wrong")])
def test_questions_that_are_asked_more_than_once_are_told_with_their_requests(config, layout, failed, said, ties, told):
    metrics = {"overall_accuracy": 0.5, "correct_answers": 1, "total_questions": 2, "answered_questions": 2}
    metrics |= {"unparsed_answers": 0, "truncated_answers": 0, "overall_accuracy_interval_95": [0.0945, 0.9055]}
    repeats = {"questions": 2, "requests": 12, "failed_requests": failed, "mean_accuracy": 0.5, "consistency": 1.0}
    repeats |= dict.fromkeys(["mean_accuracy_interval_95", "spread_over_rounds", "spread_over_samples"])
    write_json(layout.qa("metrics"), {**metrics, "repeats": {**repeats, "ties": ties}})
    rows = [row.strip() for row in result_rows(config, layout)]
    assert any(row.startswith(said) and row.endswith(f"alike each time, {told}") for row in rows)


def test_the_ranges_of_rounds_and_samples_say_what_they_are_over(config, layout):
    metrics = {"overall_accuracy": 0.5, "correct_answers": 1, "total_questions": 3, "answered_questions": 3}
    metrics |= {"unparsed_answers": 0, "truncated_answers": 0, "overall_accuracy_interval_95": [0.0945, 0.9055]}
    repeats = {"questions": 3, "requests": 20, "failed_requests": 0, "mean_accuracy": 0.5, "consistency": 1.0}
    repeats |= {"mean_accuracy_interval_95": [0.25, 0.75], "ties": 0}
    # an open question is asked in the first round alone
    repeats |= {"spread_over_rounds": {"questions": 2, "lowest": 0.75, "highest": 1.0}}
    repeats |= {"spread_over_samples": {"questions": 3, "lowest": 0.25, "highest": 0.5}}
    write_json(layout.qa("metrics"), {**metrics, "repeats": repeats})
    assert any(
        "asked 20 times: rounds from 75.0% to 100.0% over the 2 in all rounds, samples from 25.0% to 50.0%, mean" in row
        for row in result_rows(config, layout)
    )


@pytest.mark.parametrize(("grades", "said"), [(0, "0 grades are"), (1, "1 grade is"), (2, "2 grades are")])
def test_the_accuracy_with_a_judge_says_how_many_grades_are_its(grades, said):
    combined = {"correct": 1, "total": 2, "accuracy": 0.5, "accuracy_interval_95": [0.25, 0.75]}
    text = combined_text({"combined": {**combined, "graded_by_judge": grades}})
    assert text.endswith(f"(1 of 2; 95 % interval 25.0% to 75.0%); {said} the judge's")


def test_the_final_files_of_several_models_have_a_heading_each(make_config, layout):
    two = make_config({"models": {"tiny": {"path": "."}, "large": {"path": "."}}})
    metrics = {"overall_accuracy": 0.5, "correct_answers": 1, "total_questions": 2, "answered_questions": 2}
    metrics |= {"unparsed_answers": 0, "truncated_answers": 0, "overall_accuracy_interval_95": None}
    for each in layout.of_models(["tiny", "large"]):
        write_json(each.qa("metrics"), metrics)
    rows = result_rows(two, layout)
    assert [row for row in rows if row.endswith(":")] == ["  tiny:", "  large:"]
    assert "tiny_qa_results" in rows[1]


@pytest.mark.parametrize(
    ("unparsed", "truncated", "said"),
    [
        (3, 2, ["3 unparsed and 2 truncated among the answers; what has no letter or value is wrong"]),
        (1, 0, ["1 unparsed among the answers; what has no letter or value is wrong"]),
        (
            0,
            5,
            [
                "5 truncated among the answers; what has no letter or value is wrong",
                "5% of the answers were cut: raise qa.max_tokens (all questions are asked again)",
            ],
        ),
    ],
)
def test_unparsed_and_truncated_answers_stand_beside_the_accuracy(config, layout, unparsed, truncated, said):
    write_json(layout.qa("provenance"), {"counts": {"answered": 100, "failed": 0, "failures_by_reason": {}}})
    metrics = {"overall_accuracy": 0.5, "correct_answers": 50, "total_questions": 100, "answered_questions": 100}
    counts = {"unparsed_answers": unparsed, "truncated_answers": truncated}
    write_json(layout.qa("metrics"), metrics | counts | {"overall_accuracy_interval_95": [0.4, 0.6]})
    assert [row.strip() for row in result_rows(config, layout)[2:]] == said


def test_questions_that_ask_for_reasoning_are_named_before_the_run(config, layout):
    questions = ["What? Think step by step.", "What?", "Why? Explain your reasoning."]
    frame = {"qid": ["q1", "q2", "q3"], "question": questions, "answer": "A", "image": NAMES[0]}
    pd.DataFrame(frame).to_parquet(config.qa.question_path)
    plan_task(config, layout, "qa")
    said = "2 of the questions ask for reasoning, which 128 tokens may cut before the answer: set qa.max_tokens to 1024"
    assert said in plan_line(config, layout)
