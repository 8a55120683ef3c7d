"""Regrading: the same output with another letter or correctness is a flip, and nothing else is."""

from collections import Counter

import pytest
from captionqa.files import json_line
from captionqa.results.regrading import LastGrading, flip_kind, flips_line, grading_line


def graded(qid="q1", output="Hm.", letter="A", right=True, rule="box", score=None, rounds=()):
    names = ("qid", "model_output", "predicted_letter", "is_correct", "graded_by", "gt_answer", "score")
    score = float(right) if score is None else score
    record = dict(zip(names, (qid, output, letter, right, rule, "A", score), strict=True))
    return grading_line(record | ({"rounds": [{"model_output": text} for text in rounds]} if rounds else {}))


@pytest.fixture
def flips(tmp_path):
    """{id: kind of flip} between two gradings."""

    def between(before, now):
        path = tmp_path / "graded.jsonl"
        path.write_text("".join(map(json_line, before)))
        last = LastGrading(str(path))
        return {line["id"]: flip_kind(flip) for line in now if (flip := last.flip(line))}

    return between


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        ({}, {}, None),
        ({}, {"rule": "cue"}, None),
        ({}, {"output": "So.", "right": False}, None),
        ({}, {"right": False}, "now wrong"),
        ({"right": False}, {}, "now right"),
        ({"letter": None, "right": False}, {"letter": "B", "right": False}, "another letter"),
        ({"right": False, "score": 0.3}, {"right": False, "score": 0.6}, "another score"),
        ({"right": False, "score": 0.6}, {"right": True, "score": 0.9}, "now right"),
        ({"right": None, "score": 0}, {}, "now graded"),
        ({}, {"right": None, "score": 0}, "no longer graded"),
        ({"right": None, "score": 0}, {"letter": "B", "right": None, "score": 0}, "another letter"),
    ],
)
def test_a_flip_is_another_letter_correctness_or_score_of_the_same_output(flips, before, now, kind):
    assert flips([graded(**before)], [graded(**now)]) == ({"q1": kind} if kind else {})


def test_one_more_answer_that_decides_otherwise_is_no_flip(flips):
    before = [graded(qid, rounds=("A", "B"), right=False, rule="tie") for qid in ("q1", "q2")]
    now = [graded("q1", rounds=("A", "B", "A")), graded("q2", rounds=("A", "B"))]
    assert flips(before, now) == {"q2": "now right"}


def test_items_that_came_or_went_move_no_comparison(flips):
    before = [graded(f"q{number}") for number in (1, 2, 3, 4, 6, 7)]
    now = [graded(f"q{number}", right=False) for number in (0, 2, 6, 8)]
    assert flips(before, now) == {"q2": "now wrong", "q6": "now wrong"}


def test_a_grading_of_a_version_before_scores_flips_only_what_it_graded_otherwise(flips):
    before = [graded("q1"), graded("q2"), graded("q3", right=False)]
    for line in before:
        del line["score"]
    now = [graded("q1"), graded("q2", right=False), graded("q3", right=False, score=0.3)]
    assert flips(before, now) == {"q2": "now wrong", "q3": "another score"}


def test_without_a_last_grading_nothing_flips(tmp_path):
    assert LastGrading(str(tmp_path / "none.jsonl")).flip(graded()) is None


def test_an_output_that_is_no_text_can_be_kept():
    assert graded(output="\ud83d")["output"] != graded(output="")["output"]


def test_the_line_for_a_person_counts_each_kind():
    kinds = Counter({"now right": 2, "now wrong": 1})
    assert flips_line(kinds, 150) == "regraded: 3 of 150 answers flipped (2 now right, 1 now wrong)"
