"""Ground truths that look like indexes of choices, which only all of them together show."""

import re

from captionqa.dataset.question_row import QuestionRow
from captionqa.grading.choices import lettered_choices
from captionqa.grading.scoring import GradingRules

#: What is in a text that lists choices; a quick look before a thorough one.
_MAY_LIST_CHOICES = re.compile(r"(?:^|[\s(\[])[Bb][).:\]]")


class IndexTruths:
    """Looks at the ground truths of questions with choices, one by one."""

    def __init__(self, rules: GradingRules) -> None:
        self._rules = rules
        #: Whether all ground truths so far are small whole numbers.
        self._all = rules.answer_is == "auto"
        self._count = 0
        #: How many are no choice's text, and the first question of these.
        self._misfits = 0
        self.first = ""
        self._lowest = self._highest = 0
        #: Whether one of them is the number of choices, so that the first choice is 1.
        self._reaches_end = False

    def add(self, row: QuestionRow) -> None:
        """Look at a question; one without choices or a ground truth says nothing."""
        if not self._all or row["answer"] is None:
            return
        text = row["answer"].strip().removesuffix(".0") if isinstance(row["answer"], str) else ""
        if "choices" not in row and not text.isdecimal() and not _MAY_LIST_CHOICES.search(row["question"]):
            return
        choices = row.get("choices") or lettered_choices(row["question"])
        if not choices:
            return
        if not (text.isdecimal() and int(text) <= len(choices)):
            self._all = False
            return
        index = int(text)
        self._lowest = index if not self._count else min(self._lowest, index)
        self._highest = max(self._highest, index)
        self._reaches_end |= index == len(choices)
        self._count += 1
        from captionqa.grading.ground_truth import GroundTruth  # all rules of grading, and few runs get here

        if GroundTruth.read(text, choices, self._rules).letter is None:
            self._misfits += 1
            self.first = self.first or row["id"]

    def fault(self) -> str | None:
        """What is wrong if all ground truths may be indexes and some can be nothing else; else None."""
        if not self._all or not self._misfits:
            return None
        advice = (
            "index1" if self._reaches_end and self._lowest else "index0" if not self._lowest else "index0 or index1"
        )
        return (
            f"the ground truths of all {self._count:,} questions with choices are whole numbers from {self._lowest} to "
            f"{self._highest}, and {self._misfits:,} are no choice's text: set qa.answer_is to {advice}"
        )
