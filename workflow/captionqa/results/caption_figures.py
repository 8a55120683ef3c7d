"""Figures of the captions of one prompt style: how long they are, how often cut, repetitive, or alike.

They are taken while the captions are merged, one by one; the memory that they need does not grow with their number.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Self, TypedDict

from captionqa.client.answer import Answer
from captionqa.external_sort import ExternalSort
from captionqa.files import AnyPath

#: Words of the parts that are looked for twice in a caption.
REPEATED_WORDS = 4
DIGEST_BYTES = 12


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
    """seq-rep-4 of Welleck et al. 2020 ("Neural Text Generation with Unlikelihood Training"), over words.

    That is 1 - (different 4-grams / 4-grams) of a caption: 0 where none comes twice, near 1 for a loop.
    """

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
    """Counts captions; a context manager, since it may hold a temporary file in `folder`."""

    def __init__(self, folder: AnyPath):
        self._characters: Counter[int] = Counter()
        self._words: Counter[int] = Counter()
        self._tokens: Counter[int] = Counter()
        self._truncated = 0
        self._repeatable, self._repeated, self._most_repeated = 0, 0.0, 0.0
        self._texts = ExternalSort(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._texts.__exit__(*error)

    def add(self, text: str, answer: Answer, shared: bool) -> None:
        """Add a caption and the answer that it is from; a `shared` answer came from an identical request."""
        words = text.split()
        self._characters[len(text)] += 1
        self._words[len(words)] += 1
        self._tokens[answer["completion_tokens"]] += 1
        self._truncated += answer["finish_reason"] == "length"
        if len(words) >= REPEATED_WORDS:
            share = repeated_share(words)
            self._repeatable += 1
            self._repeated += share
            self._most_repeated = max(self._most_repeated, share)
        if not shared:
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)
            self._texts.add((digest.hexdigest(),))

    def statistics(self) -> CaptionStatistics:
        """The figures; no caption may be added after this."""
        captions, asked = self._characters.total(), len(self._texts)
        copies = [count for count in _counts(self._texts) if count > 1]
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


def repeated_share(words: list[str]) -> float:
    """seq-rep-4 of at least four words; see `Repetition`."""
    different = set(zip(*(words[start:] for start in range(REPEATED_WORDS)), strict=False))
    return 1 - len(different) / (len(words) - REPEATED_WORDS + 1)


def _counts(texts: Iterable[tuple[str]]) -> Iterable[int]:
    """How often each text comes, of sorted ones."""
    return (sum(1 for _ in same) for _, same in groupby(texts, key=itemgetter(0)))


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
