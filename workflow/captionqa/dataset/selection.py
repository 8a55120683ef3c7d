"""A part of the questions: those of some categories or sources, and of these as many as a pilot should ask."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captionqa.dataset.hash_limit import HashLimit
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import InputError
from captionqa.grading.choices import lettered_choices

#: Values that a sentence lists.
SHOWN_VALUES = 20

Row = QuestionRow | InvalidRow


@dataclass
class Selection:
    """Chooses questions by `qa.where` and `qa.limit`.

    A hash of the qid decides which are within the limit: a higher limit, or none, keeps those of a lower one.
    """

    #: How many, or below 1 which share; None for all.
    limit: int | float | None = None
    #: {category, source or type: the values that are wanted}.
    where: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    #: How many there were, and how many were chosen; complete once all rows were seen.
    seen: int = 0
    chosen: int = 0

    def of(self, questions: Iterable[Row]) -> Iterator[Row]:
        """Yield the chosen questions; a number as the limit goes over `questions` twice.

        Raises:
            InputError: no question is what `where` asks for.
        """
        limit = HashLimit(self.limit, (row["id"] for row in questions if self._is_wanted(row)))
        values: dict[str, Counter[str]] = {key: Counter() for key in self.where}
        self.seen = self.chosen = wanted = 0
        for row in questions:
            self.seen += 1
            for key, counted in values.items():
                counted.update(_values(row, key))
            if self._is_wanted(row):
                wanted += 1
                if limit.has(row["id"]):
                    self.chosen += 1
                    yield row
        if self.seen and not wanted:
            there = "; ".join(f"{key} is {', '.join(list(found)[:SHOWN_VALUES])}" for key, found in values.items())
            raise InputError(f"qa.where: none of {self.seen:,} questions is what it asks for; {there}.")

    def note(self) -> str | None:
        """A sentence on what was chosen; None where nothing is left out."""
        if self.limit is None and not self.where:
            return None
        keys = [*(["qa.limit"] if self.limit is not None else []), *(["qa.where"] if self.where else [])]
        say = "says" if len(keys) == 1 else "say"
        return f"{self.chosen:,} of {self.seen:,} questions are asked, as {' and '.join(keys)} {say}"

    def _is_wanted(self, row: Row) -> bool:
        return all(_values(row, key) & _as_set(wanted) for key, wanted in self.where.items())


def _values(row: Row, key: str) -> set[str]:
    """What a row is called under a key of `qa.where`; one of several categories is enough."""
    if key == "type":
        text: Any = row["question"] or ""
        return {"choices" if "choices" in row or lettered_choices(text) else "open"}
    label = row["category"] if key == "category" else row["source"]
    return {label, *label.split(", ")}


def _as_set(wanted: str | Sequence[str]) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted)
