"""Metrics: counts, accuracies and their intervals over graded questions."""

import math
from collections import Counter, defaultdict
from typing import Any

Z_95 = 1.959963984540054


def wilson_interval(correct: int, total: int) -> list[float] | None:
    """Wilson's 95 % score interval of a proportion (Wilson 1927); None where there is nothing to count."""
    if total == 0:
        return None
    share = correct / total
    scale = 1 + Z_95**2 / total
    middle = share + Z_95**2 / (2 * total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2))
    return [max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)]


class Tally:
    """Adds up graded and failed questions; `metrics` gives the totals."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._groups: dict[str, dict[str, Counter[str]]] = {
            "category": defaultdict(Counter),
            "source": defaultdict(Counter),
        }
        self._rules: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add_record(self, record: dict[str, Any]) -> None:
        """Count an answered question by its result record."""
        flags = ["total", "answered"]
        flags += ["correct"] * record["is_correct"] + ["unparsed"] * (not record["is_parsed"])
        flags += ["truncated"] * record["truncated"] + ["refused"] * record["refused"]
        if "fallback_letter" in record:
            flags += ["asked for its letter"] + ["letter given"] * (record["fallback_letter"] is not None)
            flags += ["letter correct"] * record["fallback_is_correct"]
        self._count(record, flags)
        self._rules[record["graded_by"]] += 1

    def add_failure(self, row: dict[str, Any], reason: str) -> None:
        """Count a question that has no result: wrong in the accuracy over all."""
        self._count(row, ["total", "failed"])
        self._reasons[reason] += 1

    def metrics(self) -> dict[str, Any]:
        total = self._total
        return {
            "total_questions": total["total"],
            "correct_answers": total["correct"],
            "overall_accuracy": _share(total["correct"], total["total"]),
            "overall_accuracy_interval_95": wilson_interval(total["correct"], total["total"]),
            "answered_questions": total["answered"],
            "accuracy_over_answered": _share(total["correct"], total["answered"]),
            "accuracy_over_answered_interval_95": wilson_interval(total["correct"], total["answered"]),
            "unparsed_answers": total["unparsed"],
            "truncated_answers": total["truncated"],
            "refused_answers": total["refused"],
            "failed_questions": total["failed"],
            "failures_by_reason": dict(sorted(self._reasons.items())),
            "graded_by": dict(sorted(self._rules.items())),
            "category_metrics": self._group("category"),
            "source_metrics": self._group("source"),
        }

    def fallback_metrics(self) -> dict[str, Any]:
        """What asking for the letter alone would change; the other metrics know nothing of it."""
        total = self._total
        correct = total["correct"] + total["letter correct"]
        return {
            "fallback": {
                "asked": total["asked for its letter"],
                "answered": total["letter given"],
                "correct": total["letter correct"],
                "overall_accuracy_with_fallback": _share(correct, total["total"]),
                "overall_accuracy_with_fallback_interval_95": wilson_interval(correct, total["total"]),
            }
        }

    def _count(self, labels: dict[str, Any], flags: list[str]) -> None:
        self._total.update(flags)
        for kind, groups in self._groups.items():
            groups[labels[kind]].update(flags)

    def _group(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "total": counts["total"],
                "correct": counts["correct"],
                "accuracy": _share(counts["correct"], counts["total"]),
                "accuracy_interval_95": wilson_interval(counts["correct"], counts["total"]),
                **{key: counts[key] for key in ("unparsed", "truncated", "refused", "failed")},
            }
            for name, counts in sorted(self._groups[kind].items())
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
