"""The comparison of contexts and models: what each scores, and what picture, caption, style and model add, with tests.

Questions of different data sets are never compared with each other; only averages join the data sets.

Questions that failed are no wrong answers: a difference is over the questions that both contexts answered, and what was
left out is counted beside it.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from captionqa.results.answer_sets import AnswerSet
from captionqa.results.clustered_statistics import cluster_count, difference_interval, mean_interval, sign_flip_p
from captionqa.results.comparison_averages import macro_averages, macro_differences
from captionqa.results.comparison_records import (
    Captioned,
    Cell,
    ComparedWith,
    Comparison,
    Difference,
    Estimate,
    LeftOut,
    MajorityAnswer,
    MajorityAnswers,
    OfDataSet,
    PairedDifference,
    Tested,
)
from captionqa.results.graded_answers import GradeTable, State, read_grades
from captionqa.results.statistics import holm, mcnemar_p

if TYPE_CHECKING:  # numpy takes 0.1 s to import
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

IMAGE, NONE, GRAY, CAPTION = "image", "none", "gray", "caption_"


def compare_contexts(answer_sets: Sequence[AnswerSet]) -> Comparison:
    """Compare the contexts of each model, and the models in each context, on each data set by itself.

    Raises:
        ResultError: a file is missing or is none of results.
    """
    names = list(dict.fromkeys(one.data_set for one in answer_sets))
    # in one order for all data sets, so that A and B of a difference are the same on each
    order = {key: number for number, key in enumerate(dict.fromkeys(one.key[:3] for one in answer_sets))}
    ordered = sorted(answer_sets, key=lambda one: order[one.key[:3]])
    found = [_compare_on_data_set([one for one in ordered if one.data_set == name]) for name in names]
    cells = [cell for each in found for cell in each.cells]
    differences = [difference for each in found for difference in each.differences]
    _correct_all(differences)
    _correct_all([tested for difference in differences for tested in difference["categories"].values()])
    comparison: Comparison = {"cells": cells, "differences": differences}
    if not all(names):
        return {**comparison, **found[0].majorities}
    comparison["data_sets"] = {name: each.majorities for name, each in zip(names, found, strict=True)}
    if len(names) > 1:
        comparison["macro_averages"] = macro_averages(cells, names)
        comparison["macro_differences"] = macro_differences(cells, differences, names)
    return comparison


class _OnDataSet(NamedTuple):
    """What is compared on one data set; p-values are not corrected yet."""

    cells: list[Cell]
    differences: list[Difference]
    majorities: MajorityAnswers


def _compare_on_data_set(answer_sets: Sequence[AnswerSet]) -> _OnDataSet:
    """Compare answer sets of one data set: a qid of another one names another question."""
    table = read_grades(answer_sets)
    groups = dict(_category_groups(table))
    has_scores = any(((grades.score > 0) & (grades.score < 1)).any() for grades in table.grades)
    everything = _everything(table)
    cells: list[Cell] = [
        {
            "model": answer_set.model,
            "context": answer_set.context,
            **_captioner(answer_set),
            **_data_set(answer_set),
            "results": answer_set.results,
            **_estimate(table, number, everything, has_scores),
            "categories": {name: _estimate(table, number, group, has_scores) for name, group in groups.items()},
        }
        for number, answer_set in enumerate(answer_sets)
    ]
    differences = [
        _difference(table, groups, a, b, has_scores) for a, b in _pairs(answer_sets) if (_comparable(table, a, b)).any()
    ]
    majorities: MajorityAnswers = {
        "majority_answer": _majority(table, everything),
        "category_majority_answers": {
            name: majority for name, group in groups.items() if (majority := _majority(table, group))
        },
    }
    return _OnDataSet(cells, differences, majorities)


class _Key(NamedTuple):
    """What tells answer sets apart."""

    model: str
    captioner: str | None
    context: str


def _pairs(answer_sets: Sequence[AnswerSet]) -> Iterator[tuple[int, int]]:
    """The answer sets to compare, as A and B.

    Of each model image - none, image - gray, caption - none, image - caption, and two styles. The image is that of the
    model that made the captions, also where a reader answers from these. Then two models in one context, or a reader
    with the captions of two models.
    """
    numbers = {_Key(one.model, one.captioner, one.context): number for number, one in enumerate(answer_sets)}
    for model in dict.fromkeys(answer_set.model for answer_set in answer_sets):
        captions = [key for key in numbers if key.model == model and key.context.startswith(CAPTION)]
        image, none, gray = (_Key(model, None, context) for context in (IMAGE, NONE, GRAY))
        wanted = [(image, none), (image, gray), *((caption, none) for caption in captions)]
        wanted += [(_Key(caption.captioner or model, None, IMAGE), caption) for caption in captions]
        wanted += [(a, b) for a, b in combinations(captions, 2) if a.captioner == b.captioner]
        yield from ((numbers[a], numbers[b]) for a, b in wanted if a in numbers and b in numbers)
    readers = {one.model for one in answer_sets if one.captioner is not None}
    for (a, one), (b, other) in combinations(enumerate(answer_sets), 2):
        if one.context == other.context and (one.model in readers) == (other.model in readers):
            yield a, b


def _captioner(answer_set: AnswerSet) -> Captioned:
    return {} if answer_set.captioner is None else {"captioner": answer_set.captioner}


def _data_set(answer_set: AnswerSet) -> OfDataSet:
    return {"data_set": answer_set.data_set} if answer_set.data_set else {}


def _everything(table: GradeTable) -> "Numbers":
    import numpy as np

    return np.arange(len(table.category))


def _category_groups(table: GradeTable) -> Iterator[tuple[str, "Numbers"]]:
    """(category, numbers of its questions), sorted by category; questions that failed everywhere are in none."""
    import numpy as np

    order = np.argsort(table.category, kind="stable")
    bounds = np.searchsorted(table.category[order], np.arange(len(table.categories) + 1))
    for number in sorted(range(len(table.categories)), key=table.categories.__getitem__):
        yield table.categories[number], order[bounds[number] : bounds[number + 1]]


def _estimate(table: GradeTable, number: int, group: "Numbers", has_scores: bool) -> Estimate:
    grades = table.grades[number]
    state = grades.state[group]
    graded = group[state == State.GRADED]
    correct, images = grades.is_correct[graded].astype(float), table.image[graded]
    estimate: Estimate = {
        "questions": int((state != State.ABSENT).sum()),
        "graded": len(graded),
        "images": cluster_count(images),
        "failed": int((state == State.FAILED).sum()),
        "ungraded": int((state == State.UNGRADED).sum()),
        "correct": int(correct.sum()),
        "accuracy": float(correct.mean()) if len(graded) else None,
        "accuracy_interval_95": mean_interval(correct, images),
    }
    if has_scores:
        score = grades.score[graded]
        estimate["mean_score"] = float(score.mean()) if len(graded) else None
        estimate["mean_score_interval_95"] = mean_interval(score, images)
    return estimate


def _comparable(table: GradeTable, a: int, b: int) -> "NDArray[np.bool_]":
    """Which questions both answer sets have a grade of, for the same text and ground truth."""
    one, other = table.grades[a], table.grades[b]
    both: NDArray[np.bool_] = (
        (one.state == State.GRADED) & (other.state == State.GRADED) & (one.identity == other.identity)
    )
    return both


def _difference(table: GradeTable, groups: Mapping[str, "Numbers"], a: int, b: int, has_scores: bool) -> Difference:
    set_a, set_b = table.answer_sets[a], table.answer_sets[b]
    comparable = _comparable(table, a, b)
    overall = _paired(table, a, b, comparable.nonzero()[0], has_scores)
    others: ComparedWith = {}
    if set_b.model != set_a.model:
        others["model_b"] = set_b.model
    if set_b.captioner is not None:
        others["captioner_b"] = set_b.captioner
    return {
        **overall,
        "model": set_a.model,
        "a": set_a.context,
        "b": set_b.context,
        **_captioner(set_a),
        **_data_set(set_a),
        **others,
        # that command takes the run to start from first
        "list_questions": shlex.join(
            ["captionqa", "compare", set_b.results, set_a.results, "--output", "questions.json"]
        ),
        "left_out": _left_out(table, a, b),
        "categories": {
            name: _paired(table, a, b, both, has_scores)
            for name, group in groups.items()
            if len(both := group[comparable[group]])
        },
    }


def _paired(table: GradeTable, a: int, b: int, both: "Numbers", has_scores: bool) -> PairedDifference:
    """The difference on some questions that both answer sets have a grade of."""
    grades_a, grades_b, images = table.grades[a], table.grades[b], table.image[both]
    correct_a, correct_b = grades_a.is_correct[both], grades_b.is_correct[both]
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return {
        "questions": len(both),
        "images": cluster_count(images),
        "both_correct": int((correct_a & correct_b).sum()),
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "neither_correct": int((~correct_a & ~correct_b).sum()),
        **_tested(correct_a.astype(float), correct_b.astype(float), images, mcnemar_p(only_a, only_b)),
        "scores": _tested(grades_a.score[both], grades_b.score[both], images) if has_scores else None,
    }


def _tested(
    values_a: "NDArray[np.float64]", values_b: "NDArray[np.float64]", images: "Numbers", p: float | None = None
) -> Tested:
    """The difference of two means, with p-values that are not corrected yet."""
    differences = values_a - values_b
    interval = difference_interval(values_a, values_b, images)
    assert interval is not None, "only groups with questions are compared"
    p = sign_flip_p(differences) if p is None else p
    by_image = sign_flip_p(differences, images)
    return {
        "difference": float(differences.mean()),
        "interval_95": interval,
        "p": p,
        "p_holm": p,
        "p_by_image": by_image,
        "p_by_image_holm": by_image,
    }


def _correct_all(family: Sequence[PairedDifference]) -> None:
    """Correct the p-values of a family of differences by Holm, those of accuracies and those of scores each."""
    scores = [scores for difference in family if (scores := difference["scores"])]
    for tests in (list[Tested](family), scores):
        for one, corrected in zip(tests, holm([test["p"] for test in tests]), strict=True):
            one["p_holm"] = corrected
        for one, corrected in zip(tests, holm([test["p_by_image"] for test in tests]), strict=True):
            one["p_by_image_holm"] = corrected


def _left_out(table: GradeTable, a: int, b: int) -> LeftOut:
    one, other = table.grades[a], table.grades[b]
    there_a, there_b = one.state != State.ABSENT, other.state != State.ABSENT
    answered = (one.state >= State.UNGRADED) & (other.state >= State.UNGRADED)
    changed = answered & (one.identity != other.identity)
    ungraded = answered & ~changed & ((one.state == State.UNGRADED) | (other.state == State.UNGRADED))
    return {
        "failed_in_a": int(((one.state == State.FAILED) & there_b).sum()),
        "failed_in_b": int(((other.state == State.FAILED) & there_a).sum()),
        "only_in_a": int((there_a & ~there_b).sum()),
        "only_in_b": int((there_b & ~there_a).sum()),
        "ungraded": int(ungraded.sum()),
        "another_question_or_ground_truth": int(changed.sum()),
    }


def _majority(table: GradeTable, group: "Numbers") -> MajorityAnswer | None:
    import numpy as np

    known = group[table.truth[group] >= 0]
    if not len(known):
        return None
    truths = table.truth[known]
    answers, counts = np.unique(truths, return_counts=True)
    # of several the first by its text: their numbers are in the order in which the files have them
    most = min(answers[counts == counts.max()], key=table.truths.__getitem__)
    is_it = (truths == most).astype(float)
    return {
        "answer": table.truths[most],
        "share": float(is_it.mean()),
        "interval_95": mean_interval(is_it, table.image[known]),
        "questions": len(known),
    }
