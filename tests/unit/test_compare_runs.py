"""Comparing two results files: the statistics equal published and independent values, and no question is lost."""

import json

import pytest
from captionqa.driver.command_line import main
from captionqa.errors import ResultError
from captionqa.page.comparison_page import write_comparison_page
from captionqa.results import compare_runs as module
from captionqa.results.compare_runs import compare, table
from captionqa.results.statistics import mcnemar_p, paired_interval
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

COUNT = st.integers(0, 400)


@given(COUNT, COUNT)
def test_mcnemars_p_is_the_two_sided_binomial_one(only_a, only_b):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_mcnemars_p_is_exact_for_very_many_flips():
    assert mcnemar_p(49_800, 50_200) == pytest.approx(binomtest(49_800, 100_000).pvalue, rel=1e-9)
    assert mcnemar_p(0, 100_000) == 0.0  # too small for a float, which is no error


@pytest.mark.parametrize(
    ("table_of_counts", "interval"),
    [
        # Newcombe 1998, Statistics in Medicine 17, 2635-2650, table III, method 10
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        # Altman et al. 2000, Statistics with Confidence, table 6.2
        ((14, 5, 0, 22), (0.011, 0.226)),
    ],
)
def test_paired_intervals_are_the_published_ones(table_of_counts, interval):
    both, first, second, neither = table_of_counts
    places = 5e-5 if interval[0] == 0.0569 else 5e-4
    assert paired_interval(both, second, first, neither) == pytest.approx(interval, abs=places)


@given(COUNT, COUNT, COUNT, COUNT)
def test_a_paired_interval_holds_the_difference_and_turns_with_the_sides(both, only_a, only_b, neither):
    total = both + only_a + only_b + neither
    if not total:
        assert paired_interval(both, only_a, only_b, neither) is None
        return
    low, high = paired_interval(both, only_a, only_b, neither)
    assert -1 <= low <= (only_b - only_a) / total + 1e-9
    assert (only_b - only_a) / total - 1e-9 <= high <= 1
    assert paired_interval(both, only_b, only_a, neither) == pytest.approx([-high, -low])


def record(correct, category="colours", letter="A", question="Q", truth="A"):
    return {
        "question": question,
        "gt_answer": truth,
        "predicted_letter": letter,
        "is_correct": correct,
        "category": category,
    }


@pytest.fixture
def files(tmp_path):
    """Write the results and failures, {qid: record}, of two runs; gives the paths of the results files."""

    def write(results_a, results_b, failures_a=None, failures_b=None):
        paths = []
        for name, results, failures in (("a", results_a, failures_a), ("b", results_b, failures_b)):
            path = tmp_path / f"{name}_qa_results.json"
            path.write_text(json.dumps(results))
            if failures is not None:
                (tmp_path / f"{name}_qa_failures.json").write_text(json.dumps(failures))
            paths.append(path)
        return paths

    return write


@pytest.fixture
def runs(files):
    """Two runs with six questions in both, three right only in B and one only in A, and some in one run only."""
    results_a = {"q1": record(True), "q2": record(False), "q6": record(True, letter="B")} | {
        f"q{number}": record(False, "shapes", letter="C") for number in (3, 4, 5)
    }
    results_b = {"q1": record(True), "q2": record(False), "q6": record(False, letter=None)} | {
        f"q{number}": record(True, "shapes", letter="D") for number in (3, 4, 5)
    }
    results_a |= {"only a": record(True), "failed b": record(True), "changed": record(True, truth="A")}
    results_b |= {"only b": record(True), "failed a": record(True), "changed": record(True, truth="B")}
    timeout = {"reason": "timeout", "detail": ""}
    return files(
        results_a,
        results_b,
        {"failed a": timeout, "failed both": timeout},
        {"failed b": timeout, "failed both": timeout},
    )


def test_only_what_both_answered_is_compared(runs):
    found = compare(*runs)["answered_by_both"]
    assert (found["questions"], found["correct_a"], found["correct_b"]) == (6, 2, 4)
    assert (found["only_a_correct"], found["only_b_correct"]) == (1, 3)
    assert found["difference"] == pytest.approx(2 / 6)
    assert found["difference_interval_95"] == paired_interval(1, 1, 3, 1)
    assert found["mcnemar_p"] == pytest.approx(binomtest(1, 4).pvalue)


def test_failed_questions_are_wrong_in_a_line_of_their_own(runs):
    found = compare(*runs)["failed_counted_as_wrong"]
    assert (found["questions"], found["correct_a"], found["correct_b"]) == (9, 3, 5)
    assert (found["only_a_correct"], found["only_b_correct"]) == (2, 4)


def test_categories_add_up(runs):
    found = compare(*runs)["category_comparison"]
    assert {name: outcome["questions"] for name, outcome in found.items()} == {"colours": 3, "shapes": 3}
    assert found["shapes"]["mcnemar_p"] == 0.25


def test_flips_and_what_is_left_out_are_named(runs):
    made = compare(*runs)
    assert [question["qid"] for question in made["flipped_questions"]] == ["q3", "q4", "q5", "q6"]
    assert made["flipped_questions"][-1] == {
        "qid": "q6",
        "category": "colours",
        "predicted_letter_a": "B",
        "is_correct_a": True,
        "predicted_letter_b": None,
        "is_correct_b": False,
    }
    assert made["left_out"] == {
        "only_in_a": ["only a"],
        "only_in_b": ["only b"],
        "failed_in_a": ["failed a", "failed both"],
        "failed_in_b": ["failed b", "failed both"],
        "ungraded": [],
        "another_question_or_ground_truth": ["changed"],
    }
    text = table(made)
    assert "1 question right only in A: q6 (B -> -)" in text
    assert "2 questions left out, failed in B: failed b, failed both" in text


def test_a_question_without_a_ground_truth_is_left_out_and_named_and_never_wrong(files):
    hidden, timeout = record(None, truth=None), {"reason": "timeout", "detail": ""}
    made = compare(
        *files({"q": record(True), "h1": hidden}, {"q": record(True), "h1": hidden, "h2": hidden}, {"h2": timeout})
    )
    assert made["answered_by_both"]["questions"] == made["failed_counted_as_wrong"]["questions"] == 1
    left_out = {kind: qids for kind, qids in made["left_out"].items() if qids}
    assert left_out == {"ungraded": ["h1"], "failed_in_a": ["h2"]}
    assert "1 question left out, without a ground truth: h1" in table(made)


def test_a_long_list_of_names_is_cut_in_the_table_alone(files, monkeypatch):
    monkeypatch.setattr(module, "PRINTED_NAMES", 2)
    made = compare(*files({f"q{n}": record(True) for n in range(5)}, {f"q{n}": record(False) for n in range(5)}))
    assert "q0 (A -> A), q1 (A -> A), and 3 more" in table(made)
    assert len(made["flipped_questions"]) == 5


def test_the_command_prints_the_table_and_writes_the_output(runs, tmp_path, capsys):
    output = tmp_path / "comparison.json"
    assert main(["compare", *map(str, runs), "--output", str(output)]) == 0
    assert json.loads(output.read_text()) == compare(*runs)
    assert capsys.readouterr().out.strip() == table(compare(*runs))


@pytest.mark.parametrize("content", [None, "", "[]", '{"a.png": "a caption"}', '{"q": {"is_correct": 1}}', '{"q": []}'])
def test_a_bad_file_is_told_in_one_sentence(files, tmp_path, content, capsys):
    good, _ = files({"q": record(True)}, {"q": record(True)})
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    assert main(["compare", str(good), str(bad)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"captionqa: {bad} is no")
    assert said.count("\n") == 1


def test_files_without_a_common_question_cannot_be_compared(files):
    with pytest.raises(ResultError, match="no answered question in common"):
        compare(*files({"q1": record(True)}, {"q2": record(True)}))
    with pytest.raises(ResultError, match="no answered question in common"):
        compare(*files({}, {}))


def test_a_page_is_not_written_into_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.js").write_text("mine")
    comparison = {"a": "a_qa_results.json", "b": "b_qa_results.json", "flipped_questions": [], "left_out": {}}
    for name in ("a", "b"):
        (tmp_path / f"{name}_qa_results.json").write_text("{}")
        comparison[name] = str(tmp_path / f"{name}_qa_results.json")
    with pytest.raises(ResultError, match="is not empty and holds no page; name another folder"):
        write_comparison_page(comparison, tmp_path)
    assert (tmp_path / "data" / "mine.js").exists()


def test_a_page_shows_the_images_of_a_run_that_was_asked_without_them(files, images, tmp_path):
    images.add("a.png")
    shown = {"image_paths": ["a.png"]}
    runs = files({"q1": record(True) | shown}, {"q1": record(False) | shown})
    provenance = {"dataset_path": str(images.path), "settings": {"context": "none"}}
    (tmp_path / "a_qa_provenance.json").write_text(json.dumps(provenance))
    page = write_comparison_page(compare(*runs), tmp_path / "page")
    assert len(list((page.parent / "thumbs").glob("*.jpg"))) == 1
