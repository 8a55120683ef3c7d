"""Metrics: counts that add up, and Wilson intervals against published values."""

import pytest
from captionqa.results.metrics import Tally
from captionqa.results.statistics import wilson_interval
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

RECORD = {
    "is_correct": True,
    "is_parsed": True,
    "truncated": False,
    "refused": False,
    "graded_by": "box",
    "category": "colours",
    "source": "drawn",
}


def record(**changes):
    made = RECORD | changes
    return {"score": float(made["is_correct"])} | made


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 1 - 0.1611, 1.0),
        (5, 10, 0.2366, 0.7634),
    ],
)
def test_wilson_intervals_are_the_published_ones(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx([low, high], abs=5e-5)


@given(st.integers(1, 10**6), st.data())
def test_wilson_intervals_are_those_of_scipy(total, data):
    correct = data.draw(st.integers(0, total))
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx([expected.low, expected.high], rel=1e-9, abs=1e-12)


@given(st.integers(1, 10**6))
def test_an_interval_at_an_end_is_closed_exactly(total):
    """Rounding left bounds such as 2.1e-17 in the metrics."""
    assert wilson_interval(0, total)[0] == 0.0
    assert wilson_interval(total, total)[1] == 1.0


def test_nothing_counted_has_no_interval():
    assert wilson_interval(0, 0) is None


@given(st.integers(1, 10**6), st.data())
def test_an_interval_holds_the_share_and_stays_within_0_and_1(total, data):
    correct = data.draw(st.integers(0, total))
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1


@pytest.fixture
def metrics():
    tally = Tally()
    tally.add_record(record())
    tally.add_record(record(is_correct=False, graded_by="cue", category="shapes"))
    tally.add_record(record(is_correct=False, is_parsed=False, graded_by="none", truncated=True, source="photos"))
    tally.add_record(record(is_correct=False, is_parsed=False, graded_by="none", refused=True))
    tally.add_failure({"answer": "A", "category": "shapes", "source": "photos"}, "timeout")
    tally.add_failure({"answer": "A", "category": "colours", "source": "drawn"}, "missing_image")
    return tally.metrics()


def test_failures_count_in_the_total_and_as_wrong(metrics):
    assert metrics["total_questions"] == 6
    assert metrics["correct_answers"] == 1
    assert metrics["overall_accuracy"] == pytest.approx(1 / 6)
    assert metrics["overall_accuracy_interval_95"] == wilson_interval(1, 6)


def test_accuracy_over_answered_leaves_failures_out(metrics):
    assert metrics["answered_questions"] == 4
    assert metrics["accuracy_over_answered"] == pytest.approx(1 / 4)
    assert metrics["accuracy_over_answered_interval_95"] == wilson_interval(1, 4)


def test_every_kind_of_trouble_is_counted(metrics):
    assert metrics["unparsed_answers"] == 2
    assert metrics["truncated_answers"] == 1
    assert metrics["refused_answers"] == 1
    assert metrics["failed_questions"] == 2
    assert metrics["failures_by_reason"] == {"missing_image": 1, "timeout": 1}
    assert metrics["graded_by"] == {"box": 1, "cue": 1, "none": 2}


def test_categories_and_sources_have_their_own_counts(metrics):
    colours = metrics["category_metrics"]["colours"]
    assert (colours["total"], colours["correct"], colours["accuracy"]) == (4, 1, 0.25)
    assert (colours["unparsed"], colours["truncated"], colours["refused"], colours["failed"]) == (2, 1, 1, 1)
    assert colours["accuracy_interval_95"] == wilson_interval(1, 4)
    assert set(metrics["category_metrics"]) == {"colours", "shapes"}
    assert metrics["source_metrics"]["photos"]["total"] == 2
    assert metrics["source_metrics"]["photos"]["failed"] == 1


def test_metrics_have_the_promised_keys(metrics):
    assert set(metrics) == {
        "total_questions",
        "ungraded_questions",
        "correct_answers",
        "overall_accuracy",
        "overall_accuracy_interval_95",
        "mean_score",
        "mean_score_interval_95",
        "answered_questions",
        "accuracy_over_answered",
        "accuracy_over_answered_interval_95",
        "unparsed_answers",
        "truncated_answers",
        "refused_answers",
        "failed_questions",
        "failures_by_reason",
        "graded_by",
        "category_metrics",
        "source_metrics",
    }
    group = {"total", "ungraded", "correct", "accuracy", "accuracy_interval_95", "unparsed", "truncated", "refused"}
    group |= {"failed", "mean_score", "mean_score_interval_95"}
    for groups in (metrics["category_metrics"], metrics["source_metrics"]):
        assert all(set(counts) == group for counts in groups.values())


def test_every_group_has_its_own_accuracy_and_interval(metrics):
    for groups in (metrics["category_metrics"], metrics["source_metrics"]):
        for counts in groups.values():
            assert counts["accuracy"] == counts["correct"] / counts["total"]
            assert counts["accuracy_interval_95"] == wilson_interval(counts["correct"], counts["total"])
    drawn = metrics["source_metrics"]["drawn"]
    assert (drawn["total"], drawn["correct"], drawn["unparsed"], drawn["failed"]) == (4, 1, 1, 1)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "category": st.sampled_from("xyz"),
                "source": st.sampled_from("uv"),
                "is_correct": st.booleans(),
                "failed": st.booleans(),
            }
        )
    )
)
def test_groups_add_up_to_the_totals(questions):
    tally = Tally()
    for question in questions:
        if question["failed"]:
            tally.add_failure(question | {"answer": "A"}, "timeout")
        else:
            tally.add_record(record(**question))
    made = tally.metrics()
    assert made["total_questions"] == len(questions)
    assert made["answered_questions"] + made["failed_questions"] == len(questions)
    for groups in (made["category_metrics"], made["source_metrics"]):
        assert sum(group["total"] for group in groups.values()) == made["total_questions"]
        assert sum(group["correct"] for group in groups.values()) == made["correct_answers"]
        assert sum(group["failed"] for group in groups.values()) == made["failed_questions"]


def test_no_questions_make_no_division_by_zero():
    made = Tally().metrics()
    assert (made["total_questions"], made["overall_accuracy"], made["overall_accuracy_interval_95"]) == (0, 0.0, None)
