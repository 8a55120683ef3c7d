"""Several data sets compared: questions never mix, and a macro average says what it averages or is none."""

import csv
import json
import math

import numpy as np
import pytest
from captionqa.files import json_object_writer
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.comparison import compare_contexts
from captionqa.results.comparison_files import write_comparison
from captionqa.results.comparison_markdown import markdown
from captionqa.results.statistics import interval_of_mean, wilson_interval
from recompute_comparison import check_comparison
from statsmodels.stats.multitest import multipletests

QUESTIONS = {"birds": 12, "cars": 40}


def record(data_set, number, correct, score=None):
    truth = "A" if data_set == "birds" else "B"
    return {
        "qid": f"q{number:02}",
        "question": f"{data_set}: question {number}?",
        "gt_answer": truth,
        "gt_letter": truth,
        "predicted_letter": truth if correct else "C",
        "is_correct": correct,
        "score": score if score is not None or correct is None else float(correct),
        "category": f"{data_set} {number % 2}",
        "image_paths": [f"{number // 3}.png"],
    }


@pytest.fixture
def write(tmp_path):
    """Write the results and failures of a model on a data set in a context; gives its answer set."""

    def write(data_set, model, context, right, failed=(), scores=None):
        folder = tmp_path / data_set / "qa" / model
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{model}_qa{'' if context == 'image' else f'_{context}'}_results.json"
        results = {
            f"q{number:02}": record(data_set, number, correct, scores and scores[number])
            for number, correct in enumerate(right)
            if number not in failed
        }
        failures = {f"q{number:02}": {"reason": "timeout", "detail": "no answer"} for number in failed}
        for kind, entries in (("results", results), ("failures", failures)):
            with json_object_writer(path.with_name(path.name.replace("results", kind))) as add:
                for qid, entry in entries.items():
                    add(qid, entry)
        return AnswerSet(model, context, str(path), data_set=data_set)

    return write


@pytest.fixture
def grid(write):
    """Two models on two data sets in two contexts; all qids of the smaller one are in the larger one, too."""
    return [
        write(
            data_set,
            model,
            context,
            [(number * 7 + seed) % (3 + seed) > 0 for number in range(count)],
            failed=[seed] if context == "none" else [],
        )
        for data_set, count in QUESTIONS.items()
        for seed, (model, context) in enumerate((model, context) for model in "ab" for context in ("image", "none"))
    ]


def test_no_question_meets_one_of_another_data_set(grid, write):
    comparison = compare_contexts(grid)
    for cell in comparison["cells"]:
        assert cell["questions"] == QUESTIONS[cell["data_set"]]
        assert all(name.startswith(cell["data_set"]) for name in cell["categories"])
    for one in comparison["differences"]:
        assert set(one["categories"]) == {f"{one['data_set']} 0", f"{one['data_set']} 1"}
        assert one["left_out"]["another_question_or_ground_truth"] == 0
    pairs = [(one.get("model_b", one["model"]), one["a"], one["b"]) for one in comparison["differences"]]
    assert (
        pairs[:4]
        == pairs[4:]
        == [("a", "image", "none"), ("b", "image", "none"), ("b", "image", "image"), ("b", "none", "none")]
    )
    assert "majority_answer" not in comparison
    answers = {name: each["majority_answer"]["answer"] for name, each in comparison["data_sets"].items()}
    assert answers == {"birds": "A", "cars": "B"}
    alone = compare_contexts([one for one in grid if one.data_set == "cars"])
    assert "macro_averages" not in alone
    assert alone["cells"] == [cell for cell in comparison["cells"] if cell["data_set"] == "cars"]


def test_holms_correction_is_for_the_differences_of_all_data_sets(grid):
    differences = compare_contexts(grid)["differences"]
    for family in (differences, [one for each in differences for one in each["categories"].values()]):
        for key in ("p", "p_by_image"):
            expected = multipletests([one[key] for one in family], method="holm")[1]
            assert [one[f"{key}_holm"] for one in family] == pytest.approx(list(expected), rel=1e-9)


def test_every_number_is_that_of_the_files(grid, tmp_path):
    write_comparison(grid, *(str(tmp_path / f"comparison.{ending}") for ending in ("json", "csv", "md")))
    assert check_comparison(tmp_path) == {"cells": 8, "macro averages": 4}
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    for average in comparison["macro_averages"]:
        assert (average["data_sets"], average["not_averaged"]) == (["birds", "cars"], {})
    for one in comparison["macro_differences"]:
        same = [
            each
            for each in comparison["differences"]
            if all(each.get(key) == one.get(key) for key in ("model", "model_b", "a", "b"))
        ]
        assert one["difference"] == pytest.approx(sum(each["difference"] for each in same) / 2)
    assert len(comparison["macro_differences"]) == 4
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    macro = [row for row in rows if row["measure"] == "macro accuracy"]
    assert {row["data_set"] for row in macro} == {"birds + cars"}
    assert [float(row["estimate"]) for row in macro[:4]] == [one["accuracy"] for one in comparison["macro_averages"]]
    assert len(macro) == 8
    assert {row["data_set"] for row in rows if row["measure"] == "accuracy"} == {"birds", "cars"}
    text = (tmp_path / "comparison.md").read_text()
    average, cells = comparison["macro_averages"][0], comparison["cells"]
    assert f"| a | image | {100 * average['accuracy']:.1f} % |" in text
    assert f"| {100 * cells[0]['accuracy']:.1f} % | {100 * cells[4]['accuracy']:.1f} % |" in text
    assert "A macro average is the mean of the accuracies on birds and cars, each with the weight 1" in text
    for heading in (
        "## Each context, birds",
        "### Accuracy by category, cars",
        "## Paired differences by category, cars",
    ):
        assert heading in text
    assert "The first 6 commands are here, and all in comparison.json" in text
    assert text.count("    captionqa compare ") == 6 < len(comparison["differences"])
    of_cars = text.partition("## Paired differences by category, cars")[2]
    for one in comparison["differences"]:
        if one["data_set"] == "cars":
            for name, paired in one["categories"].items():
                models = one["model"] if "model_b" not in one else f"{one['model']} - {one['model_b']}"
                row = f"| {models} | {one['a']} - {one['b']} | {name} | {paired['questions']} |"
                assert of_cars.count(row) == 1


def test_there_is_no_average_over_fewer_data_sets_and_the_files_say_which_is_missing(grid, write, tmp_path):
    one = write("boats", "a", "image", [True, False] * 3)
    write_comparison([*grid, one], *(str(tmp_path / f"comparison.{ending}") for ending in ("json", "csv", "md")))
    check_comparison(tmp_path)
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    found = {(each["model"], each["context"]): each for each in comparison["macro_averages"]}
    assert found["a", "image"]["data_sets"] == ["birds", "cars", "boats"]
    for of in (("a", "none"), ("b", "image"), ("b", "none")):
        assert found[of]["accuracy"] is None
        assert found[of]["not_averaged"] == {"boats": "not_asked"}
    assert {each["difference"] for each in comparison["macro_differences"]} == {None}
    text = (tmp_path / "comparison.md").read_text()
    assert "boats was not asked there, so there is no average: a, none; b, image; b, none.\n" in text
    # of differences those that have one
    head, _, rest = text.partition("## Macro averages of the paired differences\n\n")[2].partition(
        "boats was not asked"
    )
    assert "|" not in head
    assert rest.count(";") == 3
    rows = csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines())
    row = next(row for row in rows if (row["measure"], row["model"]) == ("macro accuracy", "b"))
    assert (row["estimate"], row["data_set"], row["not_averaged"]) == ("", "birds + cars", "boats")


def test_differences_by_category_are_left_out_where_there_is_one_category(grid, tmp_path):
    comparison = compare_contexts(grid)
    for one in comparison["differences"]:
        if one["data_set"] == "cars":
            one["categories"] = dict(list(one["categories"].items())[:1])
    text = "\n".join(markdown(comparison))
    assert "## Paired differences by category, birds" in text
    assert "by category, cars" not in text.partition("## Paired differences\n")[2]


def test_a_data_set_without_ground_truths_is_in_no_average(grid, write, tmp_path):
    secret = [write("secret", model, context, [None] * 4) for model in "ab" for context in ("image", "none")]
    write_comparison([*grid, *secret], *(str(tmp_path / f"comparison.{ending}") for ending in ("json", "csv", "md")))
    check_comparison(tmp_path)
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    for average in comparison["macro_averages"]:
        assert (average["data_sets"], average["not_averaged"]) == (["birds", "cars"], {"secret": "no_ground_truth"})
        assert average["accuracy"] is not None
    assert "secret has no ground truth, so it is in no average." in (tmp_path / "comparison.md").read_text()


def test_a_model_whose_answers_all_failed_has_no_average(grid, write):
    failed = [write("boats", "a", "image", [True] * 4), write("boats", "b", "image", [True] * 4, failed=range(4))]
    averages = compare_contexts([*(one for one in grid if one.context == "image"), *failed])["macro_averages"]
    assert [(one["accuracy"] is None, one["not_averaged"]) for one in averages] == [
        (False, {}),
        (True, {"boats": "nothing_graded"}),
    ]


def test_styles_that_data_sets_name_in_another_order_are_one_difference(write):
    styles = ["caption_long", "caption_short"]
    sets = [write("birds", "a", style, [True, False, True]) for style in styles]
    sets += [write("cars", "a", style, [style == styles[0], True]) for style in reversed(styles)]
    comparison = compare_contexts(sets)
    assert [(one["data_set"], one["a"], one["b"]) for one in comparison["differences"]] == [
        ("birds", *styles),
        ("cars", *styles),
    ]
    (average,) = comparison["macro_differences"]
    assert (average["difference"], average["not_averaged"]) == (0.25, {})


def test_mean_scores_are_averaged_beside_the_accuracies_where_one_data_set_has_them(grid, write):
    scored = write("boats", "a", "image", [True, False, False], scores=[1.0, 0.6, 0.5])
    comparison = compare_contexts([grid[0], scored])
    (average,) = comparison["macro_averages"]
    birds, boats = comparison["cells"]
    assert "mean_score" not in birds
    assert average["mean_score"] == pytest.approx((birds["accuracy"] + 0.7) / 2)
    assert average["accuracy"] == pytest.approx((birds["accuracy"] + boats["accuracy"]) / 2)


def test_the_interval_of_a_mean_has_the_width_of_independent_errors():
    means, errors = [0.4, 0.7, 0.55], [0.05, 0.02, 0.08]
    intervals = [[mean - 1.96 * error, mean + 1.96 * error] for mean, error in zip(means, errors, strict=True)]
    error = 1.96 * math.sqrt(sum(error**2 for error in errors)) / 3
    assert interval_of_mean(means, intervals) == pytest.approx([0.55 - error, 0.55 + error])
    assert interval_of_mean([0.9], [[0.6, 0.97]]) == pytest.approx([0.6, 0.97])
    assert interval_of_mean([-0.9, -1.0], [[-1.0, -0.7], [-1.0, -0.8]], -1.0)[0] >= -1


def test_the_interval_of_a_mean_of_accuracies_holds_the_truth_in_95_of_100():
    draw = np.random.default_rng(5)
    shares, totals = np.array([0.97, 0.5, 0.8]), [30, 80, 200]
    held = 0
    for _ in range(2000):
        right = draw.binomial(totals, shares)
        intervals = [wilson_interval(float(k), n) for k, n in zip(right, totals, strict=True)]
        low, high = interval_of_mean([k / n for k, n in zip(right, totals, strict=True)], intervals)
        held += low <= shares.mean() <= high
    assert 0.94 < held / 2000 < 0.97
