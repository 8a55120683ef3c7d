"""Findings: what an audit tells apart, what the run does with each, and how many there are."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from captionqa.errors import InputError

EXAMPLES = 3


class Finding(StrEnum):
    """What the audit tells apart; the first of them are also the reasons of the failures that will follow."""

    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    PATH_OUTSIDE_DATASET = "path_outside_dataset"
    INVALID_QUESTION = "invalid_question"
    UNGRADABLE_GROUND_TRUTH = "ungradable_ground_truth"
    TOO_MANY_IMAGES = "too_many_images"
    STRIP_IMAGE = "strip_image"
    NO_CHOICES = "no_choices"
    IMAGE_MARKS = "image_marks"
    DUPLICATE_QUESTION = "duplicate_question"
    DUPLICATE_IMAGE = "duplicate_image"
    WRONG_SUFFIX = "wrong_suffix"
    ANIMATED_IMAGE = "animated_image"
    TINY_IMAGE = "tiny_image"
    SHRUNK_IMAGE = "shrunk_image"


_FAILS = "fails the item without asking; all others go on"
#: What the run does with an item of each finding.
EFFECTS = {
    Finding.MISSING_IMAGE: _FAILS,
    Finding.UNREADABLE_IMAGE: _FAILS,
    Finding.IMAGE_TOO_LARGE: _FAILS,
    Finding.PATH_OUTSIDE_DATASET: _FAILS,
    Finding.INVALID_QUESTION: _FAILS,
    Finding.UNGRADABLE_GROUND_TRUTH: "asks, and fails it when it is graded",
    Finding.TOO_MANY_IMAGES: "asks, and the server rejects it",
    Finding.STRIP_IMAGE: "asks, and a model that takes no such shape, as Qwen's, rejects it",
    Finding.NO_CHOICES: "compares the letter that the answer names, as if the options were in the image",
    Finding.IMAGE_MARKS: "puts the images without a mark first",
    Finding.DUPLICATE_QUESTION: "gives each its own result",
    Finding.DUPLICATE_IMAGE: "gives each its own result",
    Finding.WRONG_SUFFIX: "goes by the content",
    Finding.ANIMATED_IMAGE: "sends the first picture",
    Finding.TINY_IMAGE: "sends it, and the model enlarges it",
    Finding.SHRUNK_IMAGE: "shrinks it to client.images.max_pixels",
}
#: Too many to be listed one by one, and nothing to mend.
COUNTED_ONLY = frozenset({Finding.SHRUNK_IMAGE})


class Found(NamedTuple):
    """One finding on an item: an image's name, or a question's qid."""

    item: str
    finding: Finding
    detail: str


@dataclass
class Findings:
    """What an audit has found: counts, and a few examples of each finding; all of them are in the `table`."""

    table: str
    items: int = 0
    counts: Counter[Finding] = field(default_factory=Counter)
    examples: dict[Finding, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, found: Found) -> None:
        self.counts[found.finding] += 1
        if len(self.examples[found.finding]) < EXAMPLES:
            self.examples[found.finding].append(printable(found.item))

    def words(self) -> str:
        """The counts and examples, for a person."""
        rows = [f"audit of {self.items:,} items: {'nothing found' if not self.counts else f'all is in {self.table}'}"]
        for finding in Finding:
            if count := self.counts[finding]:
                rows.append(f"  {count:>9,} {finding}: the run {EFFECTS[finding]}")
                rows.append(f"            {', '.join(self.examples[finding])}{', ...' if count > EXAMPLES else ''}")
        return "\n".join(rows)

    def check(self, stop_on: Iterable[str]) -> None:
        """Raise InputError where something was found on which the run is to stop."""
        if stopping := [finding for finding in Finding if finding in stop_on and self.counts[finding]]:
            raise InputError(
                f"the audit found {', '.join(f'{self.counts[finding]:,} {finding}' for finding in stopping)}, on which "
                f"audit.stop_on stops the run; mend what {self.table} lists, or take them off audit.stop_on."
            )


def printable(text: str) -> str:
    """A text on one line, whatever a file's name or a question holds."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
