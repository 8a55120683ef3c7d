"""Regrading: which answers are graded differently than at the last merge, by a file that keeps the last grading.

A flip is an answer whose text is the same as at the last merge and whose letter, correctness or score is not.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from captionqa.files import read_json_lines

if TYPE_CHECKING:
    from captionqa.results.qa_record import QaRecord


class Grading(TypedDict):
    """How one answer was graded, in the terms of its result record."""

    gt_answer: str | list[str] | None
    predicted_letter: str | None
    is_correct: bool | None
    #: A grading of a version before scores has none: there it is 1 or 0, by `is_correct`.
    score: float | None
    graded_by: str


class GradingLine(Grading):
    """One line of the file that keeps the last grading."""

    #: The question's qid.
    id: str
    #: A digest of the model's output; of a question that is asked more than once that of all its outputs.
    output: str


class Flip(TypedDict):
    """One entry of the flips file, which is {qid: Flip}."""

    before: Grading
    now: Grading


def grading_line(record: "QaRecord") -> GradingLine:
    """What the next merge needs to know of a result record."""
    # another round or sample may decide otherwise, which is no other grading
    outputs = [one["model_output"] for one in record["rounds"]] if "rounds" in record else [record["model_output"]]
    text = "\0".join(outputs).encode("utf-8", "surrogatepass")
    return {
        "id": record["qid"],
        "output": hashlib.blake2b(text, digest_size=12).hexdigest(),
        "gt_answer": record["gt_answer"],
        "predicted_letter": record["predicted_letter"],
        "is_correct": record["is_correct"],
        "score": record["score"],
        "graded_by": record["graded_by"],
    }


class LastGrading:
    """The grading that the last merge left, read once in step with the new one."""

    def __init__(self, path: str):
        self._lines = read_json_lines(path) if Path(path).exists() else iter(())
        self._line: GradingLine | None = next(self._lines, None)

    def flip(self, now: GradingLine) -> Flip | None:
        """The flip of an answer, or None; call it in the order of the ids."""
        while self._line is not None and self._line["id"] < now["id"]:
            self._line = next(self._lines, None)
        before = self._line
        if before is None or before["id"] != now["id"] or before["output"] != now["output"]:
            return None
        flip: Flip = {"before": _grading(before), "now": _grading(now)}
        same = all(flip["before"][key] == flip["now"][key] for key in ("predicted_letter", "is_correct", "score"))
        return None if same else flip


def flip_kind(flip: Flip) -> str:
    """What a flip means for the accuracy: now right, now wrong, another letter, another score,
    now graded or no longer graded."""
    before, now = flip["before"], flip["now"]
    if (before["is_correct"] is None) != (now["is_correct"] is None):
        return "now graded" if before["is_correct"] is None else "no longer graded"
    if before["is_correct"] != now["is_correct"]:
        return "now right" if now["is_correct"] else "now wrong"
    return "another letter" if before["predicted_letter"] != now["predicted_letter"] else "another score"


def flips_line(kinds: Counter[str], answers: int) -> str:
    """One line for the user: how many of all answers flipped, and how."""
    by_kind = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return f"regraded: {kinds.total():,} of {answers:,} answers flipped ({by_kind})"


def _grading(line: GradingLine) -> Grading:
    return {
        "gt_answer": line["gt_answer"],
        "predicted_letter": line["predicted_letter"],
        "is_correct": line["is_correct"],
        "score": line["score"] if "score" in line else float(bool(line["is_correct"])),
        "graded_by": line["graded_by"],
    }
