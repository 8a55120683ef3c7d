"""Findings: what an audit distinguishes, what the run does with each kind, and how many there are."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from captionqa.dataset.skipped_files import skipped_text
from captionqa.errors import InputError
from captionqa.shown_text import printable

#: How many items of each kind the report names.
EXAMPLES = 3


class FindingKind(StrEnum):
    """What the audit distinguishes; the kinds that fail an item have the name of the failure's reason."""

    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    PATH_OUTSIDE_DATASET = "path_outside_dataset"
    INVALID_QUESTION = "invalid_question"
    UNGRADABLE_GROUND_TRUTH = "ungradable_ground_truth"
    INDEX_GROUND_TRUTH = "index_ground_truth"
    TOO_MANY_IMAGES = "too_many_images"
    STRIP_IMAGE = "strip_image"
    NO_CHOICES = "no_choices"
    EQUAL_CHOICES = "equal_choices"
    IMAGE_MARKS = "image_marks"
    DUPLICATE_QUESTION = "duplicate_question"
    DUPLICATE_IMAGE = "duplicate_image"
    WRONG_SUFFIX = "wrong_suffix"
    ANIMATED_IMAGE = "animated_image"
    TINY_IMAGE = "tiny_image"
    SHRUNK_IMAGE = "shrunk_image"
    OTHER_COLOURS = "other_colours"


_FAILS = "fails the item without asking; all others go on"
#: What the run does with an item of each kind.
EFFECTS = {
    FindingKind.MISSING_IMAGE: _FAILS,
    FindingKind.UNREADABLE_IMAGE: _FAILS,
    FindingKind.IMAGE_TOO_LARGE: _FAILS,
    FindingKind.PATH_OUTSIDE_DATASET: _FAILS,
    FindingKind.INVALID_QUESTION: _FAILS,
    FindingKind.UNGRADABLE_GROUND_TRUTH: "asks, and fails it when it is graded",
    FindingKind.INDEX_GROUND_TRUTH: "does not begin",
    FindingKind.TOO_MANY_IMAGES: "asks, and the server rejects it",
    FindingKind.STRIP_IMAGE: "asks, and models such as Qwen's reject it",
    FindingKind.NO_CHOICES: "grades the letter that the answer names; it is right if the image shows the options",
    FindingKind.EQUAL_CHOICES: "takes the letter of the ground truth for right, and the other one for wrong",
    FindingKind.IMAGE_MARKS: "puts the images without a mark first",
    FindingKind.DUPLICATE_QUESTION: "gives each its own result",
    FindingKind.DUPLICATE_IMAGE: "gives each its own result",
    FindingKind.WRONG_SUFFIX: "goes by the content",
    FindingKind.ANIMATED_IMAGE: "sends the frame that client.images.frame names",
    FindingKind.TINY_IMAGE: "sends it, and the model enlarges it",
    FindingKind.SHRUNK_IMAGE: "shrinks it to client.images.max_pixels",
    FindingKind.OTHER_COLOURS: "converts its colours to sRGB",
}
#: Kinds that are counted and not listed: they are many, and nothing has to be corrected.
COUNTED_ONLY = frozenset({FindingKind.SHRUNK_IMAGE})


class Finding(NamedTuple):
    """One thing that is wrong or odd."""

    #: An image's path relative to the data set, or a question's qid.
    item: str
    kind: FindingKind
    #: One phrase that says what was found.
    detail: str


@dataclass
class AuditReport:
    """The counts of an audit and a few examples of each kind."""

    #: The path of the table that lists all findings.
    table: str
    #: How many items were audited.
    items: int = 0
    #: How many files of each kind are no images, and so no items.
    skipped: Counter[str] = field(default_factory=Counter)
    #: What was settled or left out where the questions were read, a sentence each.
    notes: list[str] = field(default_factory=list)
    counts: Counter[FindingKind] = field(default_factory=Counter)
    #: The first `EXAMPLES` items of each kind, fit to be printed.
    examples: dict[FindingKind, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, finding: Finding, data_set: str) -> None:
        """Count a finding; `data_set` is the name of its data set, if that has one."""
        self.counts[finding.kind] += 1
        if len(self.examples[finding.kind]) < EXAMPLES:
            self.examples[finding.kind].append(f"{data_set}: " * bool(data_set) + printable(finding.item))

    def text(self) -> str:
        """The counts and examples as text for a terminal."""
        rows = [f"audit of {self.items:,} items: {f'findings in {self.table}' if self.counts else 'nothing found'}"]
        if self.skipped:
            rows.append(f"  {skipped_text(self.skipped)}")
        rows += [f"  {note}" for note in self.notes]
        for kind in FindingKind:
            if count := self.counts[kind]:
                rows.append(f"  {count:>9,} {kind}: the run {EFFECTS[kind]}")
                rows.append(f"            {', '.join(self.examples[kind])}{', ...' if count > EXAMPLES else ''}")
        return "\n".join(rows)

    def check(self, stop_on: Iterable[str]) -> None:
        """Check that nothing was found that is to stop the run.

        Raises:
            InputError: there are findings of a kind in `stop_on`.
        """
        if stopping := [kind for kind in FindingKind if kind in stop_on and self.counts[kind]]:
            raise InputError(
                f"the audit found {', '.join(f'{self.counts[kind]:,} {kind}' for kind in stopping)}, on which "
                f"audit.stop_on stops the run; correct what {self.table} lists, or remove the name from audit.stop_on."
            )
