"""Scores between 0 and 1: VQA accuracy and ANLS against their papers' definitions, and their statistics."""

import itertools
import json

import pytest
from captionqa.grading import grade
from captionqa.grading.anls import anls
from captionqa.grading.vqa_accuracy import normalized, vqa_accuracy
from captionqa.results.compare_runs import compare, table
from captionqa.results.metrics import Tally
from captionqa.results.score_statistics import bootstrap_interval, permutation_p
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

#: The ten answers of a question of VQAv2: 6 net, 3 netting, 1 mesh.
TEN = ["net"] * 6 + ["netting"] * 3 + ["mesh"]


def record(score):
    flags = {"is_correct": score >= 0.9, "is_parsed": True, "truncated": False, "refused": False, "graded_by": "vqa"}
    return flags | {"score": score, "category": "colours", "source": "drawn"}


@pytest.mark.parametrize(("given", "score"), [("net", 1.0), ("Netting.", 0.9), ("mesh", 0.3), ("fence", 0.0)])
def test_vqa_accuracy_is_the_official_one(given, score):
    assert vqa_accuracy(given, TEN) == pytest.approx(score)


@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=10), st.sampled_from("abcd"))
def test_vqa_accuracy_is_the_average_over_all_choices_of_other_people(answers, given):
    answers = [f"word{answer}" for answer in answers]
    left_out = itertools.combinations(answers, len(answers) - 1)
    scores = [min(1, sum(answer == f"word{given}" for answer in others) / 3) for others in left_out]
    assert vqa_accuracy(f"word{given}", answers) == pytest.approx(sum(scores) / len(answers))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog.", "dog"),
        ("two  dogs", "2 dogs"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("couldntve", "couldn't've"),
        ("1,000", "1000"),
        ("red/blue", "red blue"),
        ("red, blue", "red blue"),
        ("t-shirt", "t shirt"),
        ("3.5", "3.5"),
        ("its", "its"),
    ],
)
def test_texts_are_normalized_as_the_evaluation_code_of_vqa_does(text, expected):
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("given", "answers", "score"),
    [
        ("0.28", ["0.28", "$0.28"], 1.0),
        ("Dunkin  Donuts", ["dunkin donuts"], 1.0),
        ("0.29", ["0.28"], 0.75),
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("ab", ["ac"], 0.0),  # half of the text is wrong: no similarity below the threshold
        ("", ["a"], 0.0),
        ("a long sentence that has nothing in common", ["x"], 0.0),
    ],
)
def test_anls_is_that_of_the_paper(given, answers, score):
    assert anls(given, answers) == pytest.approx(score)


@given(st.text("abc", max_size=9), st.text("abc", max_size=9))
def test_anls_is_symmetric_and_from_0_to_1(one, other):
    assert 0 <= anls(one, [other]) <= 1
    assert anls(one, [other]) == anls(other, [one])


def test_a_part_of_a_point_is_a_score_and_from_nine_tenths_on_correct():
    graded = [grade(text, TEN, [], scoring="vqa") for text in ("net", "The answer is netting.", "mesh", "I'm sorry")]
    assert [item.score for item in graded] == pytest.approx([1.0, 0.9, 0.3, 0.0])
    assert [item.is_correct for item in graded] == [True, True, False, False]
    assert [item.rule for item in graded] == ["vqa", "vqa", "vqa", "none"]
    assert graded[3].refused
    assert grade("0.29", ["0.28"], [], scoring="anls").score == 0.75


def test_a_question_with_choices_is_scored_by_its_letter_whatever_the_rule():
    for scoring in ("vqa", "anls", "relaxed", "any", "exact"):
        assert grade("B", "B", ["red", "blue"], scoring=scoring).score == 1.0
        assert grade("A", "B", ["red", "blue"], scoring=scoring).score == 0.0


@given(st.lists(st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]), min_size=1, max_size=50))
def test_a_bootstrap_interval_holds_the_mean_and_is_the_same_each_time(scores):
    counts = {score: scores.count(score) for score in scores}
    low, high = bootstrap_interval(counts)
    assert low - 1e-9 <= sum(scores) / len(scores) <= high + 1e-9
    assert bootstrap_interval(counts) == [low, high]


def test_a_bootstrap_interval_is_that_of_the_normal_distribution_for_many_scores():
    counts = {0.0: 4000, 0.3: 1000, 1.0: 5000}
    mean = 0.53
    spread = (sum(count * (score - mean) ** 2 for score, count in counts.items()) / 10_000) ** 0.5
    expected = [mean - 1.96 * spread / 100, mean + 1.96 * spread / 100]
    assert bootstrap_interval(counts) == pytest.approx(expected, abs=5e-4)
    assert bootstrap_interval({}) is None


def test_a_paired_permutation_test_is_that_of_scipy():
    differences = {0.3: 9, -0.3: 3, 0.9: 2, -0.1: 4, 0.0: 20}
    values = [value for value, count in differences.items() for _ in range(count)]
    expected = permutation_test((values,), lambda x: x.mean(), permutation_type="samples", n_resamples=20_000, rng=1)
    assert permutation_p(differences) == pytest.approx(expected.pvalue, abs=0.01)
    assert permutation_p({0.0: 7}) == 1.0


def test_metrics_have_the_mean_of_the_scores_and_an_interval():
    tally = Tally()
    for score in (1.0, 0.9, 0.3):
        tally.add_record(record(score))
    tally.add_failure({"answer": "A", "category": "shapes", "source": "drawn"}, "timeout")
    metrics = tally.metrics()
    assert metrics["mean_score"] == pytest.approx(2.2 / 4)
    assert metrics["correct_answers"] == 2
    assert metrics["mean_score_interval_95"] == bootstrap_interval({1.0: 1, 0.9: 1, 0.3: 1, 0.0: 1})
    assert metrics["category_metrics"]["colours"]["mean_score"] == pytest.approx(2.2 / 3)
    assert metrics["category_metrics"]["shapes"]["mean_score"] == 0


def test_metrics_of_whole_points_have_the_accuracy_as_mean_score():
    tally = Tally()
    tally.add_record(record(1.0))
    tally.add_record(record(0.0))
    metrics = tally.metrics()
    assert metrics["mean_score"] == metrics["overall_accuracy"] == 0.5
    assert metrics["mean_score_interval_95"] == metrics["overall_accuracy_interval_95"]


def test_runs_with_partial_scores_are_compared_by_them_and_older_runs_by_right_and_wrong(tmp_path):
    def written(name, scores):
        rows = {
            f"q{number}": {
                "question": "Q",
                "gt_answer": TEN,
                "predicted_letter": None,
                "is_correct": score is True or score >= 0.9,
                "category": "c",
            }
            | ({} if score is True else {"score": score})
            for number, score in enumerate(scores)
        }
        path = tmp_path / f"{name}_qa_results.json"
        path.write_text(json.dumps(rows))
        return path

    old = written("old", [True] * 20)
    one, other = written("one", [0.3] * 20), written("other", [0.9] * 10 + [0.3] * 10)
    made = compare(one, other)
    scores = made["answered_by_both"]["scores"]
    assert scores["difference"] == pytest.approx(0.3)
    assert scores["difference_interval_95"][0] > 0.1
    assert scores["permutation_p"] < 0.01
    assert "Mean scores likewise" in table(made)
    assert compare(old, one)["answered_by_both"]["scores"]["mean_score_a"] == 1.0
    assert "scores" not in compare(old, old)["answered_by_both"]
