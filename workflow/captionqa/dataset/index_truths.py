"""Ground truths that look like indexes of choices, which only all of them together show."""

from collections.abc import Iterator

from captionqa.dataset.findings import Finding, FindingKind
from captionqa.grading.ground_truth import GroundTruth
from captionqa.grading.scoring import GradingRules


class IndexTruths:
    """Looks at the ground truths of questions with choices, one by one."""

    def __init__(self, rules: GradingRules) -> None:
        #: Whether all ground truths so far are small whole numbers.
        self._all = rules.answer_is == "auto"
        self._count = 0
        #: How many are no choice's text, and the first question of these.
        self._misfits = 0
        self._first = ""
        self._lowest = self._highest = 0
        #: Whether one of them is the number of choices, so that the first choice is 1.
        self._reaches_end = False

    def add(self, question: str, truth: GroundTruth, choices: int) -> None:
        if not self._all:
            return
        text = truth.answers[0].strip().removesuffix(".0") if len(truth.answers) == 1 else ""
        if not (text.isdecimal() and int(text) <= choices):
            self._all = False
            return
        index = int(text)
        self._lowest = index if not self._count else min(self._lowest, index)
        self._highest = max(self._highest, index)
        self._reaches_end |= index == choices
        self._count += 1
        if truth.letter is None:
            self._misfits += 1
            self._first = self._first or question

    def findings(self) -> Iterator[Finding]:
        """One finding if all ground truths may be indexes and some can be nothing else."""
        if not self._all or not self._misfits:
            return
        advice = (
            "index1" if self._reaches_end and self._lowest else "index0" if not self._lowest else "index0 or index1"
        )
        yield Finding(
            self._first,
            FindingKind.INDEX_GROUND_TRUTH,
            f"the ground truths of all {self._count:,} questions with choices are whole numbers from {self._lowest} to "
            f"{self._highest}, and {self._misfits:,} are no choice's text: set qa.answer_is to {advice}",
        )
