"""Contexts compared: statsmodels and scipy confirm all figures, and no failure counts as a wrong answer."""

import csv
import json
import random
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from captionqa.driver.command_line import main
from captionqa.errors import ResultError
from captionqa.files import json_object_writer
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.clustered_statistics import difference_interval, mean_interval, sign_flip_p, standard_error
from captionqa.results.comparison import compare_contexts
from captionqa.results.comparison_files import write_comparison
from captionqa.results.statistics import holm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

#: How often each context of the simulation is right.
CONTEXTS = {"image": 0.9, "none": 0.4, "gray": 0.42, "caption_short": 0.6, "caption_long": 0.8}
QUESTIONS = 600


def record(qid, number, correct, score=None, truth="A"):
    return {
        "qid": qid,
        "question": f"Question {qid}?",
        "gt_answer": truth,
        "gt_letter": truth,
        "predicted_letter": "A" if correct else "B",
        "is_correct": correct,
        "score": score if score is not None or correct is None else float(correct),
        "category": ("colours", "shapes", "counts")[number % 3],
        "image_paths": [f"{number // 4}.png"],
    }


@pytest.fixture
def write(tmp_path):
    """Write the results and failures of a context; gives its answer set."""

    folder = tmp_path / "an output"
    folder.mkdir()

    def write(context, results, failures=(), model="tiny"):
        infix = "" if context == "image" else f"_{context}"
        path = folder / f"{model}_qa{infix}_results.json"
        with json_object_writer(path) as add:
            for qid, entry in results.items():
                add(qid, entry)
        with json_object_writer(folder / f"{model}_qa{infix}_failures.json") as add:
            for qid in failures:
                add(qid, {"reason": "timeout", "detail": "no answer"})
        return AnswerSet(model, context, str(path))

    return write


@pytest.fixture
def simulated(write):
    """Five contexts of 600 questions, four on each image, and the same as a table: NaN where a question failed."""
    draw = random.Random(7)
    hardness = [draw.gauss(0, 0.2) for _ in range(QUESTIONS // 4)]
    table, sets = pd.DataFrame({"picture": [n // 4 for n in range(QUESTIONS)]}), []
    table["category"] = [("colours", "shapes", "counts")[n % 3] for n in range(QUESTIONS)]
    for context, share in CONTEXTS.items():
        right = [draw.random() < share + hardness[n // 4] for n in range(QUESTIONS)]
        failed = {n for n in range(QUESTIONS) if draw.random() < 0.02}
        results = {f"q{n:03}": record(f"q{n:03}", n, right[n]) for n in range(QUESTIONS) if n not in failed}
        sets.append(write(context, results, [f"q{n:03}" for n in sorted(failed)]))
        table[context] = [np.nan if n in failed else float(right[n]) for n in range(QUESTIONS)]
    return sets, table


def clustered(values, images):
    """The mean's 95 % interval and standard error, by statsmodels' cluster-robust least squares."""
    model = sm.OLS(np.asarray(values), np.ones(len(values)))
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": np.asarray(images)})
    return fit.conf_int()[0], fit.bse[0]


def fresh(frame, a, b):
    """The figures of A - B, computed anew."""
    both = frame[[a, b, "picture"]].dropna()
    differences = (both[a] - both[b]).to_numpy()
    counts = [[((both[a] == x) & (both[b] == y)).sum() for y in (1, 0)] for x in (1, 0)]
    return len(both), differences.mean(), clustered(differences, both["picture"])[0], mcnemar(counts, exact=True).pvalue


def test_statsmodels_confirms_every_difference_and_its_p_values(simulated):
    sets, table = simulated
    comparison = compare_contexts(sets)
    pairs = [(one["a"], one["b"]) for one in comparison["differences"]]
    assert pairs == [
        ("image", "none"),
        ("image", "gray"),
        ("caption_short", "none"),
        ("caption_long", "none"),
        ("image", "caption_short"),
        ("image", "caption_long"),
        ("caption_short", "caption_long"),
    ]
    for family, frames in (
        (comparison["differences"], [table] * 7),
        (
            [one for pair in comparison["differences"] for one in pair["categories"].values()],
            [table[table.category == name] for pair in comparison["differences"] for name in pair["categories"]],
        ),
    ):
        names = [pair for pair in pairs for _ in range(len(family) // 7)]
        for found, frame, (a, b) in zip(family, frames, names, strict=True):
            count, difference, interval, p = fresh(frame, a, b)
            assert (found["questions"], found["difference"]) == (count, pytest.approx(difference))
            assert found["interval_95"] == pytest.approx(list(interval), rel=1e-9)
            assert found["p"] == pytest.approx(p, rel=1e-9)
            assert found["scores"] is None
        for key in ("p", "p_by_image"):
            expected = multipletests([one[key] for one in family], method="holm")[1]
            assert [one[f"{key}_holm"] for one in family] == pytest.approx(list(expected), rel=1e-9)


def test_scipy_confirms_the_p_by_image(simulated):
    sets, table = simulated
    for found in compare_contexts(sets)["differences"]:
        both = table[[found["a"], found["b"], "picture"]].dropna()
        sums = (both[found["a"]] - both[found["b"]]).groupby(both["picture"]).sum().to_numpy()
        options = {"permutation_type": "samples", "n_resamples": 20_000, "rng": 1}
        expected = permutation_test((sums,), lambda x, axis: x.mean(axis=axis), vectorized=True, **options)
        assert found["p_by_image"] == pytest.approx(expected.pvalue, abs=0.015)


def test_statsmodels_confirms_the_interval_of_each_accuracy(simulated):
    sets, table = simulated
    for cell in compare_contexts(sets)["cells"]:
        answered = table[[cell["context"], "picture"]].dropna()
        mean, error = answered[cell["context"]].mean(), clustered(answered[cell["context"]], answered["picture"])[1]
        independent = min(len(answered), mean * (1 - mean) / error**2)
        expected = proportion_confint(mean * independent, independent, method="wilson")
        assert cell["accuracy"] == pytest.approx(mean)
        assert cell["accuracy_interval_95"] == pytest.approx(expected, rel=1e-9)
        assert (cell["graded"], cell["failed"]) == (len(answered), QUESTIONS - len(answered))


def test_the_picture_adds_to_the_answers_and_a_gray_one_does_not(simulated):
    comparison = compare_contexts(simulated[0])
    found = {(one["a"], one["b"]): one for one in comparison["differences"]}
    assert all(found["image", b]["p_by_image_holm"] < 0.001 for b in ("none", "gray", "caption_short"))
    cells = {cell["context"]: cell["accuracy_interval_95"] for cell in comparison["cells"]}
    assert cells["none"][1] > cells["gray"][0]
    assert comparison["majority_answer"]["share"] == 1


def test_scores_get_the_same_intervals_and_a_sign_flip_test(write):
    draw, table, sets = random.Random(3), {}, []
    for context in ("image", "none"):
        scores = [draw.choice([0, 0, 0.3, 0.3, 1] if context == "none" else [0, 0.3, 1, 1]) for _ in range(40)]
        table[context] = np.array(scores)
        sets.append(write(context, {f"q{n}": record(f"q{n}", n, s == 1, s) for n, s in enumerate(scores)}))
    differences, images = table["image"] - table["none"], np.arange(40) // 4
    comparison = compare_contexts(sets)
    (difference,) = comparison["differences"]
    found, options = difference["scores"], {"permutation_type": "samples"}
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["interval_95"] == pytest.approx(list(clustered(differences, images)[0]))
    expected = permutation_test((differences,), np.mean, n_resamples=20_000, rng=1, **options).pvalue
    assert found["p"] == pytest.approx(expected, abs=0.01)
    sums = differences.reshape(10, 4).sum(axis=1)
    exact = permutation_test((sums,), np.mean, n_resamples=np.inf, **options).pvalue
    assert found["p_by_image"] == pytest.approx(exact, rel=1e-9)
    low, high = clustered(table["image"], images)[0]
    assert comparison["cells"][0]["mean_score_interval_95"] == pytest.approx([low, min(1, high)])


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=12))
def test_a_sign_flip_test_of_few_differences_counts_all_signs(differences):
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(differences))).reshape(len(differences), -1)
    sums = np.abs(np.array(differences) @ signs)
    expected = (sums >= abs(sum(differences)) - 1e-9).mean()
    assert sign_flip_p(np.array(differences)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p_values", [[0.3], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 1.0], [0.0, 1e-9, 0.02, 0.02, 0.9]])
def test_holms_correction_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_copies_of_a_question_on_one_image_make_no_interval_narrower():
    values, images = np.array([1.0, 0, 1, 1, 0, 1]), np.arange(6)
    for statistic in (standard_error, mean_interval):
        assert statistic(np.repeat(values, 9), np.repeat(images, 9)) == pytest.approx(statistic(values, images))
    flipped = 1 - values
    once = difference_interval(values, flipped, images)
    assert difference_interval(*(np.repeat(x, 9) for x in (values, flipped, images))) == pytest.approx(once)


def test_intervals_keep_a_width_where_all_answers_agree():
    right, images = np.ones(40), np.repeat(np.arange(10), 4)
    assert mean_interval(right, images) == pytest.approx(proportion_confint(10, 10, method="wilson"))
    low, high = difference_interval(right, right, images)
    assert low < -0.1 < 0 < 0.1 < high
    assert mean_interval(np.array([1.0, 0.0]), np.zeros(2)) == pytest.approx(
        proportion_confint(0.5, 1, method="wilson")
    )
    assert difference_interval(np.ones(2), np.zeros(2), np.zeros(2)) == [-1, 1]


def test_intervals_keep_a_width_where_all_differ_alike_or_each_image_balances():
    images = np.repeat(np.arange(3), 2)
    # Newcombe's of 3 questions of which A alone is right: both bounds of Wilson's of 3 of 3 and of 0 of 3
    width = 2**0.5 * (1 - proportion_confint(3, 3, method="wilson")[0])
    assert difference_interval(np.ones(6), np.zeros(6), images) == pytest.approx([1 - width, 1])
    assert difference_interval(np.zeros(6), np.ones(6), images) == pytest.approx([-1, width - 1])
    one_each = np.array([1.0, 0, 0, 1, 1, 0])
    low, high = difference_interval(one_each, 1 - one_each, images)
    assert low == pytest.approx(-high)
    assert high > 0.5
    # 0.8 - 0.7 and 0.4 - 0.3 differ by rounding
    low, high = difference_interval(np.array([0.8, 0.4, 0.9]), np.array([0.7, 0.3, 0.8]), np.arange(3))
    assert low < -0.1 < 0.1 < 0.3 < high
    assert mean_interval(np.full(4, 0.3), np.arange(4)) == pytest.approx(proportion_confint(1.2, 4, method="wilson"))


def test_what_a_difference_leaves_out_is_counted_and_never_wrong(write):
    results = {f"q{n}": record(f"q{n}", n, True) for n in range(8)}
    image = write("image", {k: v for k, v in results.items() if k not in ("q0", "q1")}, ["q0", "q1"])
    changed = {"q2": record("q2", 2, False, truth="B"), "q3": record("q3", 3, None), "q9": record("q9", 9, False)}
    none = write("none", {k: v for k, v in (results | changed).items() if k not in ("q1", "q4", "q5")}, ["q1", "q4"])
    (difference,) = compare_contexts([image, none])["differences"]
    assert (difference["questions"], difference["difference"], difference["p"]) == (2, 0, 1)
    assert difference["left_out"] == {
        "failed_in_a": 2,
        "failed_in_b": 2,
        "only_in_a": 1,
        "only_in_b": 1,
        "ungraded": 1,
        "another_question_or_ground_truth": 1,
    }


def test_a_question_without_images_in_one_context_stays_with_its_image(write):
    bare = {f"q{n}": record(f"q{n}", n, n % 2 == 0) | {"image_paths": []} for n in range(8)}
    sets = [write("none", bare), write("image", {f"q{n}": record(f"q{n}", n, True) for n in range(8)})]
    assert [cell["images"] for cell in compare_contexts(sets)["cells"]] == [2, 2]
    assert compare_contexts(sets[:1])["cells"][0]["images"] == 8


def compared(comparison):
    """(model, captioner, context) of A and of B of each difference."""
    return [
        (
            (one["model"], one.get("captioner"), one["a"]),
            (one.get("model_b", one["model"]), one.get("captioner_b"), one["b"]),
        )
        for one in comparison["differences"]
    ]


def test_models_are_compared_in_each_context_and_the_contexts_of_each_model(write):
    results = {f"q{n}": record(f"q{n}", n, n % 2 == 0) for n in range(8)}
    sets = [write(context, results, model=model) for model in ("one", "two") for context in ("image", "none")]
    assert compared(compare_contexts(sets)) == [
        (("one", None, "image"), ("one", None, "none")),
        (("two", None, "image"), ("two", None, "none")),
        (("one", None, "image"), ("two", None, "image")),
        (("one", None, "none"), ("two", None, "none")),
    ]


def test_what_a_reader_answers_is_compared_with_the_pictures_of_the_model_that_captioned_them(write, tmp_path):
    right = {f"q{n}": record(f"q{n}", n, True) for n in range(8)}
    half = {f"q{n}": record(f"q{n}", n, n % 2 == 0) for n in range(8)}
    sets = [write("image", right, model=model) for model in ("one", "two")]
    sets += [
        replace(write("caption_short", half, model=f"tex_{of}"), model="tex", captioner=of) for of in ("one", "two")
    ]
    sets.append(write("none", half, model="tex"))
    comparison = compare_contexts(sets)
    assert compared(comparison) == [
        (("tex", "one", "caption_short"), ("tex", None, "none")),
        (("tex", "two", "caption_short"), ("tex", None, "none")),
        (("one", None, "image"), ("tex", "one", "caption_short")),
        (("two", None, "image"), ("tex", "two", "caption_short")),
        (("one", None, "image"), ("two", None, "image")),
        (("tex", "one", "caption_short"), ("tex", "two", "caption_short")),
    ]
    assert comparison["differences"][2]["difference"] == 0.5
    assert [cell.get("captioner") for cell in comparison["cells"]] == [None, None, "one", "two", None]
    paths = [str(tmp_path / f"comparison.{ending}") for ending in ("json", "csv", "md")]
    write_comparison(sets, *paths)
    text = (tmp_path / "comparison.md").read_text()
    for row in (
        "| tex with one | caption_short |",
        "| one - tex with one | image - caption_short |",
        "| tex with one - tex | caption_short - none |",
        "| tex with one - tex with two | caption_short - caption_short |",
    ):
        assert row in text
    assert "\n## Paired differences by category\n" in text
    assert "No difference leaves out a question." in text
    rows = csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines())
    (row,) = [row for row in rows if (row["model"], row["b"], row["category"]) == ("one", "caption_short", "")]
    assert (row["captioner"], row["model_b"], row["captioner_b"]) == ("", "tex", "one")


def test_the_files_have_every_figure_and_the_command_lists_the_questions(simulated, tmp_path):
    sets, _ = simulated
    paths = [tmp_path / f"comparison.{ending}" for ending in ("json", "csv", "md")]
    write_comparison(sets, *map(str, paths))
    comparison = json.loads(paths[0].read_text())
    rows = list(csv.DictReader(paths[1].read_text().splitlines()))
    assert len(rows) == (len(sets) + 7) * 4
    assert float(rows[0]["estimate"]) == comparison["cells"][0]["accuracy"]
    difference = comparison["differences"][0]
    (row,) = [row for row in rows if (row["a"], row["b"], row["category"]) == ("image", "none", "")]
    assert float(row["p_by_image_holm"]) == difference["p_by_image_holm"]
    text = paths[2].read_text()
    assert "| tiny | image - none |" in text
    assert "Always answering A would be right in 100.0 %" in text
    first, second = shlex.split(difference["list_questions"])[2:4]
    assert main(["compare", first, second, "--output", str(tmp_path / "questions.json")]) == 0
    listed = json.loads((tmp_path / "questions.json").read_text())
    flips = difference["only_a_correct"] + difference["only_b_correct"]
    assert len(listed["flipped_questions"]) == flips
    assert len(listed["left_out"]["failed_in_a"]) == difference["left_out"]["failed_in_b"]


def test_of_equally_frequent_ground_truths_the_majority_answer_is_the_same_in_each_order_of_the_files(write):
    results = {"q0": record("q0", 0, True, truth="B"), "q1": record("q1", 1, True, truth="A")}
    image, none = write("image", results), write("none", {"q1": results["q1"]}, ["q0"])
    found = [compare_contexts(sets)["majority_answer"]["answer"] for sets in ([image, none], [none, image])]
    assert found == ["A", "A"]


def test_a_missing_or_cut_results_file_is_named(write, tmp_path):
    good = write("image", {"q0": record("q0", 0, True)})
    with pytest.raises(ResultError, match=r"gone_qa_results\.json is not there; name results files MODEL_qa_"):
        compare_contexts([good, AnswerSet("gone", "none", str(tmp_path / "gone_qa_results.json"))])
    path = Path(good.results)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ResultError, match="its end is missing"):
        compare_contexts([good])


def test_a_run_without_ground_truths_has_a_comparison_without_accuracies(write, tmp_path):
    sets = [write(context, {"q0": record("q0", 0, None)}) for context in ("image", "none")]
    paths = [tmp_path / f"comparison.{ending}" for ending in ("json", "csv", "md")]
    write_comparison(sets, *map(str, paths))
    comparison = json.loads(paths[0].read_text())
    assert [(cell["questions"], cell["graded"], cell["accuracy"]) for cell in comparison["cells"]] == [(1, 0, None)] * 2
    assert (comparison["differences"], comparison["majority_answer"]) == ([], None)
    named = [replace(one, data_set=name) for one in sets for name in ("birds", "cars")]
    averages = compare_contexts(named)["macro_averages"]
    assert [(average["accuracy"], average["data_sets"]) for average in averages] == [(None, [])] * 2
    assert all(row["estimate"] == "" for row in csv.DictReader(paths[1].read_text().splitlines()))
