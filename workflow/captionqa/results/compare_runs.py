"""A paired comparison of two QA results files: how much better B is than A, and whether that may be chance.

Only questions that both files answer are compared. A question is left out, counted and named where it is in one file
alone, where its text or ground truth differs, where it has no ground truth, or where it failed in one run, as the
failures file beside each results file tells. A second line counts failed questions as wrong, as the metrics do.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.results.answer_sets import FAILURES_ENDING, RESULTS_ENDING
from captionqa.results.failures import Failure
from captionqa.results.qa_record import QaRecord
from captionqa.results.score_statistics import bootstrap_interval, permutation_p
from captionqa.results.statistics import mcnemar_p, paired_interval
from captionqa.shown_text import printable

#: The most names of questions in one line of the table; the output file has all.
PRINTED_NAMES = 20
#: The keys of a record that the comparison reads.
COMPARED_KEYS = frozenset({"question", "gt_answer", "predicted_letter", "is_correct", "category"})


class GradedPair(NamedTuple):
    """How one question was graded in A and in B."""

    correct_a: bool
    correct_b: bool
    score_a: float
    score_b: float


class PairedScores(TypedDict):
    """The scores of two runs on the same questions."""

    mean_score_a: float
    mean_score_b: float
    #: mean_score_b - mean_score_a.
    difference: float
    #: A bootstrap interval of the difference as [low, high].
    difference_interval_95: list[float]
    #: Of a paired permutation test.
    permutation_p: float


class PairedOutcome(TypedDict):
    """Two runs on the same questions."""

    questions: int
    correct_a: int
    correct_b: int
    accuracy_a: float
    accuracy_b: float
    #: accuracy_b - accuracy_a.
    difference: float
    #: Newcombe's interval of the difference as [low, high].
    difference_interval_95: list[float]
    only_a_correct: int
    only_b_correct: int
    mcnemar_p: float
    #: Only where a score is neither 0 nor 1.
    scores: NotRequired[PairedScores]


class FlippedQuestion(TypedDict):
    """A question that one run alone got right."""

    qid: str
    category: str
    predicted_letter_a: str | None
    is_correct_a: bool
    predicted_letter_b: str | None
    is_correct_b: bool


class LeftOut(TypedDict):
    """The qids of the questions that are not compared, sorted; one may be in several lists."""

    only_in_a: list[str]
    only_in_b: list[str]
    failed_in_a: list[str]
    failed_in_b: list[str]
    #: Answered in both, and without a ground truth.
    ungraded: list[str]
    another_question_or_ground_truth: list[str]


class Comparison(TypedDict):
    """The output file of a comparison."""

    #: The path of each results file.
    a: str
    b: str
    answered_by_both: PairedOutcome
    #: The same with the questions that failed in one run or both.
    failed_counted_as_wrong: PairedOutcome
    #: {category: outcome} of the questions that both answered.
    category_comparison: dict[str, PairedOutcome]
    flipped_questions: list[FlippedQuestion]
    left_out: LeftOut


def compare(path_a: str | Path, path_b: str | Path) -> Comparison:
    """Compare two results files.

    Raises:
        ResultError: a file is missing or has no QA results, or no question is answered by both.
    """
    (results_a, failed_a), (results_b, failed_b) = _load(path_a), _load(path_b)
    shared = {qid: (results_a[qid], results_b[qid]) for qid in sorted(results_a.keys() & results_b.keys())}
    same = {qid: records for qid, records in shared.items() if _identity(records[0]) == _identity(records[1])}
    pairs = {qid: records for qid, records in same.items() if all(one["is_correct"] is not None for one in records)}
    if not pairs:
        raise ResultError(f"{path_a} and {path_b} have no answered question in common; compare two runs of one set.")
    groups: dict[str, list[GradedPair]] = defaultdict(list)
    for record_a, record_b in pairs.values():
        groups[record_a["category"]].append(_graded_pair(record_a, record_b))
    answered = [pair for group in groups.values() for pair in group]
    known_a, known_b = results_a.keys() | failed_a.keys(), results_b.keys() | failed_b.keys()
    without_truth = {qid for each in (results_a, results_b) for qid in each if each[qid]["is_correct"] is None}
    failed = ((failed_a.keys() & known_b) | (failed_b.keys() & known_a)) - shared.keys() - without_truth
    with_failed = answered + [_graded_pair(results_a.get(qid), results_b.get(qid)) for qid in failed]
    return {
        "a": str(path_a),
        "b": str(path_b),
        "answered_by_both": _outcome(answered),
        "failed_counted_as_wrong": _outcome(with_failed),
        "category_comparison": {name: _outcome(groups[name]) for name in sorted(groups)},
        "flipped_questions": [
            {
                "qid": qid,
                "category": record_a["category"],
                "predicted_letter_a": record_a["predicted_letter"],
                "is_correct_a": bool(record_a["is_correct"]),
                "predicted_letter_b": record_b["predicted_letter"],
                "is_correct_b": bool(record_b["is_correct"]),
            }
            for qid, (record_a, record_b) in pairs.items()
            if record_a["is_correct"] != record_b["is_correct"]
        ],
        "left_out": {
            "only_in_a": sorted(known_a - known_b),
            "only_in_b": sorted(known_b - known_a),
            "failed_in_a": sorted(failed_a.keys() & known_b),
            "failed_in_b": sorted(failed_b.keys() & known_a),
            "ungraded": sorted(same.keys() - pairs.keys()),
            "another_question_or_ground_truth": sorted(shared.keys() - same.keys()),
        },
    }


def table(comparison: Comparison) -> str:
    """The comparison as text for a terminal."""
    lines = [f"A  {printable(comparison['a'])}", f"B  {printable(comparison['b'])}", ""]
    rows = [
        ("answered by both", comparison["answered_by_both"]),
        ("failed counted as wrong", comparison["failed_counted_as_wrong"]),
        *((f"  {printable(name)}", outcome) for name, outcome in comparison["category_comparison"].items()),
    ]
    width = max(len(name) for name, _ in rows)
    heading = (
        f"{'':{width}}  {'n':>7} {'A':>7} {'B':>7} {'B - A':>7}  {'95 % interval':>17} {'only A':>7} {'only B':>7}"
    )
    lines.append(f"{heading} {'p':>9}")
    for name, outcome in rows:
        low, high = outcome["difference_interval_95"]
        lines.append(
            f"{name:{width}}  {outcome['questions']:7} {outcome['accuracy_a']:7.1%} {outcome['accuracy_b']:7.1%} "
            f"{100 * outcome['difference']:+7.1f}  {100 * low:+7.1f} to {100 * high:+6.1f} "
            f"{outcome['only_a_correct']:7} {outcome['only_b_correct']:7} {outcome['mcnemar_p']:9.2g}"
        )
    lines += ["", "Accuracies in per cent, differences in points; p is McNemar's, exact and two-sided."]
    if any("scores" in outcome for _, outcome in rows):
        lines += _score_rows(rows, width)
    for what, right_in_a in (("right only in A", True), ("right only in B", False)):
        flipped = [question for question in comparison["flipped_questions"] if question["is_correct_a"] is right_in_a]
        lines += _names(what, [_flip(question) for question in flipped])
    left_out = comparison["left_out"]
    for what, qids in (
        ("are only in A", left_out["only_in_a"]),
        ("are only in B", left_out["only_in_b"]),
        ("left out, failed in A", left_out["failed_in_a"]),
        ("left out, failed in B", left_out["failed_in_b"]),
        ("left out, without a ground truth", left_out["ungraded"]),
        ("left out, with another text or ground truth", left_out["another_question_or_ground_truth"]),
    ):
        lines += _names(what, qids)
    return "\n".join(lines)


def _score_rows(rows: Sequence[tuple[str, PairedOutcome]], width: int) -> list[str]:
    """The rows of the scores that are neither 0 nor 1."""
    lines = ["", f"{'':{width}}  {'mean A':>7} {'mean B':>7} {'B - A':>7}  {'95 % interval':>17} {'p':>9}"]
    for name, outcome in rows:
        if (scores := outcome.get("scores")) is not None:
            low, high = scores["difference_interval_95"]
            lines.append(
                f"{name:{width}}  {scores['mean_score_a']:7.1%} {scores['mean_score_b']:7.1%} "
                f"{100 * scores['difference']:+7.1f}  {100 * low:+7.1f} to {100 * high:+6.1f} "
                f"{scores['permutation_p']:9.2g}"
            )
    return [*lines, "", "Mean scores likewise; the interval is a bootstrap's, p is of a paired permutation test."]


def _flip(question: FlippedQuestion) -> str:
    letter_a, letter_b = question["predicted_letter_a"] or "-", question["predicted_letter_b"] or "-"
    return f"{question['qid']} ({letter_a} -> {letter_b})"


def _names(what: str, names: list[str]) -> list[str]:
    """The line that names some questions; none where there are no names."""
    if not names:
        return []
    questions = "1 question" if len(names) == 1 else f"{len(names)} questions"
    what = what.replace("are ", "is ", 1) if len(names) == 1 else what
    more = f", and {len(names) - PRINTED_NAMES} more" if len(names) > PRINTED_NAMES else ""
    return [f"{questions} {what}: {', '.join(map(printable, names[:PRINTED_NAMES]))}{more}"]


def _graded_pair(record_a: QaRecord | None, record_b: QaRecord | None) -> GradedPair:
    """The grades of a question, which is wrong where it has no record; versions before scores gave 1 or 0."""
    (correct_a, score_a), (correct_b, score_b) = map(_grade, (record_a, record_b))
    return GradedPair(correct_a, correct_b, score_a, score_b)


def _grade(record: QaRecord | None) -> tuple[bool, float]:
    """Whether a record is right, and its score."""
    if record is None:
        return False, 0.0
    correct = bool(record["is_correct"])
    return correct, float(correct) if (score := record.get("score")) is None else score


def _outcome(pairs: Sequence[GradedPair]) -> PairedOutcome:
    counts = Counter((pair.correct_a, pair.correct_b) for pair in pairs)
    both, only_a, only_b, neither = counts[True, True], counts[True, False], counts[False, True], counts[False, False]
    total = both + only_a + only_b + neither
    interval = paired_interval(both, only_a, only_b, neither)
    assert interval is not None, "only groups with questions are compared"
    outcome: PairedOutcome = {
        "questions": total,
        "correct_a": both + only_a,
        "correct_b": both + only_b,
        "accuracy_a": (both + only_a) / total,
        "accuracy_b": (both + only_b) / total,
        "difference": (only_b - only_a) / total,
        "difference_interval_95": interval,
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "mcnemar_p": mcnemar_p(only_a, only_b),
    }
    if any(score not in (0, 1) for pair in pairs for score in (pair.score_a, pair.score_b)):
        outcome["scores"] = _paired_scores(pairs)
    return outcome


def _paired_scores(pairs: Sequence[GradedPair]) -> PairedScores:
    # rounded, so that differences that are equal but for the last bit count as one
    differences = Counter(round(pair.score_b - pair.score_a, 9) for pair in pairs)
    interval = bootstrap_interval(differences)
    assert interval is not None, "only groups with questions are compared"
    mean_a = sum(pair.score_a for pair in pairs) / len(pairs)
    mean_b = sum(pair.score_b for pair in pairs) / len(pairs)
    return {
        "mean_score_a": mean_a,
        "mean_score_b": mean_b,
        "difference": mean_b - mean_a,
        "difference_interval_95": interval,
        "permutation_p": permutation_p(differences),
    }


def _identity(record: QaRecord) -> tuple[str, str | list[str] | None]:
    """What has to be the same in both files for two records to be of the same question."""
    return record["question"], record["gt_answer"]


def _load(path: str | Path) -> tuple[dict[str, QaRecord], dict[str, Failure]]:
    """The records of a results file, and the failures of the file beside it.

    Raises:
        ResultError: a file is not what it should be.
    """
    path = Path(path)
    results = read_json(path) if path.is_file() else None
    if not isinstance(results, dict) or not all(
        isinstance(record, dict) and record.keys() >= COMPARED_KEYS and isinstance(record["is_correct"], bool | None)
        for record in results.values()
    ):
        problem = "is no file of QA results" if path.is_file() else "is not there"
        raise ResultError(f"{path} {problem}; name two files MODEL_qa{RESULTS_ENDING}, such as a run writes.")
    beside = path.with_name(path.name.replace(RESULTS_ENDING, FAILURES_ENDING))
    failures = read_json(beside) if beside != path and beside.is_file() else {}
    if not isinstance(failures, dict):
        raise ResultError(f"{beside} is no file of failures; let the run write it again, or move it away.")
    return results, failures
