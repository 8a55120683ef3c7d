"""Figures of the captions of one prompt style: how long they are, how often cut, repetitive, or alike.

They are counted while the captions are merged, one by one; eight bytes of each stay in memory.
"""

from array import array
from collections import Counter
from itertools import accumulate, groupby
from typing import TypedDict

from captionqa.client.answer import Answer
from captionqa.client.text_figures import TextFigures


class Lengths(TypedDict):
    """Lengths of captions; the median and the 95th percentile are lengths that occur (nearest rank)."""

    mean: float
    min: int
    median: int
    p95: int
    max: int


class Share(TypedDict):
    """How many captions, and which share of them."""

    captions: int
    share: float


class Repetition(TypedDict):
    """`client.text_figures.repeated_share`: 0 where no four words come twice in a caption, near 1 for a loop."""

    #: Of at least four words, which the figures are about.
    captions: int
    mean: float
    max: float


class Duplicates(Share):
    """Captions that another image has word for word; images with identical requests count once."""

    #: How many images the commonest of them has.
    most: int


class CaptionStatistics(TypedDict):
    """A statistics file; None stands for what no caption has."""

    captions: int
    characters: Lengths | None
    #: What blanks separate.
    words: Lengths | None
    #: As the server counted them, with those of reasoning.
    tokens: Lengths | None
    #: Ended at max_tokens.
    truncated: Share
    repetition: Repetition | None
    duplicates: Duplicates


class CaptionFigures:
    """Counts captions."""

    def __init__(self) -> None:
        self._characters: Counter[int] = Counter()
        self._words: Counter[int] = Counter()
        self._tokens: Counter[int] = Counter()
        self._truncated = 0
        self._repeatable, self._repeated, self._most_repeated = 0, 0.0, 0.0
        #: Of each text the hash that Python keeps it by, which is the same for equal texts within one process.
        self._texts = array("q")

    def add(self, text: str, figures: TextFigures, answer: Answer, shared: bool) -> None:
        """Add a caption and the answer that it is from; a `shared` answer came from an identical request."""
        self._characters[len(text)] += 1
        self._words[figures["words"]] += 1
        self._tokens[answer["completion_tokens"]] += 1
        self._truncated += answer["finish_reason"] == "length"
        if (share := figures["repetition"]) is not None:
            self._repeatable += 1
            self._repeated += share
            self._most_repeated = max(self._most_repeated, share)
        if not shared:
            self._texts.append(hash(text))

    def statistics(self) -> CaptionStatistics:
        """The figures of the captions added so far."""
        captions, asked = self._characters.total(), len(self._texts)
        copies = [count for _, same in groupby(sorted(self._texts)) if (count := sum(1 for _ in same)) > 1]
        return {
            "captions": captions,
            "characters": _lengths(self._characters),
            "words": _lengths(self._words),
            "tokens": _lengths(self._tokens),
            "truncated": {"captions": self._truncated, "share": self._truncated / captions if captions else 0.0},
            "repetition": self._repetition(),
            "duplicates": {
                "captions": sum(copies),
                "share": sum(copies) / asked if asked else 0.0,
                "most": max(copies, default=0),
            },
        }

    def _repetition(self) -> Repetition | None:
        if not self._repeatable:
            return None
        mean = self._repeated / self._repeatable
        return {"captions": self._repeatable, "mean": mean, "max": self._most_repeated}


def _lengths(counts: Counter[int]) -> Lengths | None:
    """The lengths of {length: captions}."""
    total = counts.total()
    if not total:
        return None
    return {
        "mean": sum(length * count for length, count in counts.items()) / total,
        "min": min(counts),
        "median": _percentile(counts, total, 50),
        "p95": _percentile(counts, total, 95),
        "max": max(counts),
    }


def _percentile(counts: Counter[int], total: int, percent: int) -> int:
    """The least length that at least so many percent of the captions do not exceed."""
    lengths = sorted(counts)
    at_most = accumulate(counts[length] for length in lengths)
    return next(length for length, seen in zip(lengths, at_most, strict=True) if seen * 100 >= percent * total)
