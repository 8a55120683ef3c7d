"""Regrading: which answers a new grading of the same outputs has flipped, by a file that keeps the last grading."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionqa.files import read_json_lines

SHOWN = ("gt_answer", "predicted_letter", "is_correct", "graded_by")


def grading(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a graded record: its id, a digest of the model's output, and the verdict."""
    output = hashlib.blake2b(record["model_output"].encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return {"id": record["qid"], "output": output} | {key: record[key] for key in SHOWN}


class LastGrading:
    """The gradings that a merge before this one has left, read once along with the new ones."""

    def __init__(self, path: str):
        self._lines = read_json_lines(path) if Path(path).exists() else iter(())
        self._line = next(self._lines, None)

    def flip(self, now: Mapping[str, Any]) -> dict[str, Any] | None:
        """{"before", "now"} where the same output now has another letter or correctness, else None.

        To be asked in the order of the ids.
        """
        while self._line is not None and self._line["id"] < now["id"]:
            self._line = next(self._lines, None)
        before = self._line
        if before is None or any(before[key] != now[key] for key in ("id", "output")):
            return None
        if all(before[key] == now[key] for key in ("predicted_letter", "is_correct")):
            return None
        return {"before": {key: before[key] for key in SHOWN}, "now": {key: now[key] for key in SHOWN}}


def verdict(flip: Mapping[str, Any]) -> str:
    """What a flip means for the accuracy."""
    before, now = flip["before"]["is_correct"], flip["now"]["is_correct"]
    if before == now:
        return "another letter"
    return "now right" if now else "now wrong"


def flips_line(verdicts: Counter[str], answers: int) -> str:
    """One line for a person: how many of so many answers flipped, and how."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(verdicts.items()))
    return f"regraded: {verdicts.total():,} of {answers:,} answers flipped ({kinds})"
