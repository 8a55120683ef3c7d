"""A paired comparison of two QA results files: how much better B is than A on the same questions, and is it chance.

Only questions that both files answer are compared. A question that is in one file alone, that has another text or
ground truth in the other, or that failed in one of them (the failures file beside each results file says so) is left
out, counted and named; a second line counts failed questions as wrong, as the metrics do.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.results.metrics import wilson_interval

RESULTS_ENDING = "_qa_results.json"
FAILURES_ENDING = "_qa_failures.json"
#: So many names of questions are printed; the output file has them all.
PRINTED_NAMES = 20


def mcnemar_p(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p: of so many flips, how likely a split as uneven is if each way is a coin's throw.

    Exact in integers, for any number of flips; 1 where there are none.
    """
    flips, fewer = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1.0
    ways = term = 1
    for taken in range(fewer):
        term = term * (flips - taken) // (taken + 1)
        ways += term
    return 2 * ways / (1 << flips)


def paired_interval(both: int, only_a: int, only_b: int, neither: int) -> list[float] | None:
    """The 95 % interval of accuracy B minus accuracy A on the same questions; None where there are none.

    Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10: Wilson's intervals of both, joined by their
    correlation with a correction for continuity.
    """
    total = both + only_a + only_b + neither
    if total == 0:
        return None
    share_a, share_b = (both + only_a) / total, (both + only_b) / total
    low_a, high_a = wilson_interval(both + only_a, total)
    low_b, high_b = wilson_interval(both + only_b, total)
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    covariance = both * neither - only_a * only_b
    if covariance > 0:
        covariance = max(covariance - total / 2, 0)
    correlation = covariance / math.sqrt(product) if product else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = share_b - share_a
    return [
        max(-1.0, difference - reach(share_b - low_b, high_a - share_a)),
        min(1.0, difference + reach(high_b - share_b, share_a - low_a)),
    ]


def compare(path_a: str | Path, path_b: str | Path) -> dict[str, Any]:
    """The comparison of two results files, with all names; raises ResultError for files that cannot be compared."""
    (results_a, failed_a), (results_b, failed_b) = _load(path_a), _load(path_b)
    shared = [qid for qid in results_a if qid in results_b]
    changed = [qid for qid in shared if _identity(results_a[qid]) != _identity(results_b[qid])]
    pairs = {qid: (results_a[qid], results_b[qid]) for qid in sorted(set(shared) - set(changed))}
    if not pairs:
        raise ResultError(f"{path_a} and {path_b} have no answered question in common; compare two runs of one set.")
    groups: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for record_a, record_b in pairs.values():
        groups[record_a["category"]].append((record_a["is_correct"], record_b["is_correct"]))
    outcomes = [outcome for group in groups.values() for outcome in group]
    known_a, known_b = results_a.keys() | failed_a.keys(), results_b.keys() | failed_b.keys()
    lost = ((failed_a.keys() & known_b) | (failed_b.keys() & known_a)) - set(changed)
    with_failures = [
        tuple(qid in results and results[qid]["is_correct"] for results in (results_a, results_b)) for qid in lost
    ]
    return {
        "a": str(path_a),
        "b": str(path_b),
        "answered_by_both": _outcome(outcomes),
        "failed_counted_as_wrong": _outcome(outcomes + with_failures),
        "category_comparison": {name: _outcome(groups[name]) for name in sorted(groups)},
        "flipped_questions": [
            {
                "qid": qid,
                "category": record_a["category"],
                **{
                    f"{key}_{side}": record[key]
                    for side, record in (("a", record_a), ("b", record_b))
                    for key in ("predicted_letter", "is_correct")
                },
            }
            for qid, (record_a, record_b) in pairs.items()
            if record_a["is_correct"] != record_b["is_correct"]
        ],
        "left_out": {
            "only_in_a": sorted(known_a - known_b),
            "only_in_b": sorted(known_b - known_a),
            "failed_in_a": sorted(failed_a.keys() & known_b),
            "failed_in_b": sorted(failed_b.keys() & known_a),
            "another_question_or_ground_truth": sorted(changed),
        },
    }


def table(comparison: Mapping[str, Any]) -> str:
    """The comparison as text for a terminal."""
    lines = [f"A  {comparison['a']}", f"B  {comparison['b']}", ""]
    rows = {
        "answered by both": comparison["answered_by_both"],
        "failed counted as wrong": comparison["failed_counted_as_wrong"],
        **{f"  {name}": outcome for name, outcome in comparison["category_comparison"].items()},
    }
    width = max(map(len, rows))
    heading = (
        f"{'':{width}}  {'n':>7} {'A':>7} {'B':>7} {'B - A':>7}  {'95 % interval':>17} {'only A':>7} {'only B':>7}"
    )
    lines.append(f"{heading} {'p':>9}")
    for name, outcome in rows.items():
        low, high = outcome["difference_interval_95"]
        lines.append(
            f"{name:{width}}  {outcome['questions']:7} {outcome['accuracy_a']:7.1%} {outcome['accuracy_b']:7.1%} "
            f"{100 * outcome['difference']:+7.1f}  {100 * low:+7.1f} to {100 * high:+6.1f} "
            f"{outcome['only_a_correct']:7} {outcome['only_b_correct']:7} {outcome['mcnemar_p']:9.2g}"
        )
    lines += ["", "Accuracies in per cent, differences in points; p is McNemar's, exact and two-sided."]
    flipped = comparison["flipped_questions"]
    for title, wins in (("right in A alone", True), ("right in B alone", False)):
        names = [_flip(question) for question in flipped if question["is_correct_a"] is wins]
        lines += _names(title, names)
    for title, names in comparison["left_out"].items():
        lines += _names(f"left out, {title.replace('_', ' ')}", names)
    return "\n".join(lines)


def _flip(question: Mapping[str, Any]) -> str:
    letters = [question[f"predicted_letter_{side}"] or "-" for side in "ab"]
    return f"{question['qid']} ({letters[0]} -> {letters[1]})"


def _names(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - PRINTED_NAMES} more" if len(names) > PRINTED_NAMES else ""
    return [f"{title}: {len(names)}: {', '.join(names[:PRINTED_NAMES])}{more}"]


def _outcome(outcomes: Iterable[tuple[bool, bool]]) -> dict[str, Any]:
    counts = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for pair in outcomes:
        counts[pair] += 1
    both, only_a, only_b, neither = counts[True, True], counts[True, False], counts[False, True], counts[False, False]
    total = both + only_a + only_b + neither
    return {
        "questions": total,
        "correct_a": both + only_a,
        "correct_b": both + only_b,
        "accuracy_a": (both + only_a) / total,
        "accuracy_b": (both + only_b) / total,
        "difference": (only_b - only_a) / total,
        "difference_interval_95": paired_interval(both, only_a, only_b, neither),
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "mcnemar_p": mcnemar_p(only_a, only_b),
    }


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record["question"], record["gt_answer"]


def _load(path: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The records of a results file, and the failures beside it."""
    path = Path(path)
    results = read_json(path) if path.is_file() else None
    wanted = {"question", "gt_answer", "predicted_letter", "is_correct", "category"}
    if not isinstance(results, dict) or not all(
        isinstance(record, dict) and wanted <= record.keys() and isinstance(record["is_correct"], bool)
        for record in results.values()
    ):
        state = "is no file of QA results" if path.is_file() else "is not there"
        raise ResultError(f"{path} {state}; name two files MODEL{RESULTS_ENDING}, such as a run writes.")
    beside = path.with_name(path.name.replace(RESULTS_ENDING, FAILURES_ENDING))
    failures = read_json(beside) if beside != path and beside.is_file() else {}
    if not isinstance(failures, dict):
        raise ResultError(f"{beside} is no file of failures; let the run write it again, or move it away.")
    return results, failures
