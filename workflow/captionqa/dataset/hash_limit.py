"""A limit for a pilot: a hash of each name decides whether it is within, whatever the other names are."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import AnyPath

HASH_BITS = 64
NO_LIMIT = 1 << HASH_BITS


class HashLimit:
    """The names within a limit; those of a lower limit are within a higher one, too."""

    def __init__(self, limit: int | float | None, names: Iterable[str]):
        """`limit` is how many, or below 1 which share; None for all. Only a number reads `names`, which are all."""
        self._highest = NO_LIMIT
        if limit is not None and limit < 1:
            self._highest = int(limit * NO_LIMIT)
        elif limit is not None:
            self._highest = max(heapq.nsmallest(int(limit), map(_hash, names)), default=0)

    def has(self, name: str) -> bool:
        """Whether a name is within the limit."""
        return self._highest == NO_LIMIT or _hash(name) <= self._highest


class ImageLimit:
    """Chooses the images to caption by `captions.limit`, from records that begin with a name."""

    def __init__(self, limit: int | float | None, folder: AnyPath):
        """`limit` is as for `HashLimit`; records are kept in an unnamed file in `folder` where they are read twice."""
        self.limit = limit
        self._folder = folder
        #: How many there were, and how many were chosen; complete once all were seen.
        self.seen = self.chosen = 0

    def of(self, records: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Yield the chosen records; where the limit is a number, sorted by name and with lists for tuples inside.

        Raises:
            InputError: there are records, and none is within the limit.
        """
        if self.limit is None or self.limit < 1:
            yield from self._within(HashLimit(self.limit, ()), records)
            return
        with ExternalSort(self._folder) as found:
            for record in records:
                found.add(record)
            yield from self._within(HashLimit(self.limit, (record[0] for record in found)), found)

    def _within(self, limit: HashLimit, records: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for record in records:
            self.seen += 1
            if limit.has(record[0]):
                self.chosen += 1
                yield record
        if self.seen and not self.chosen:
            raise InputError(f"captions.limit: {self.limit} of {self.seen:,} images is not one image; raise it.")

    def expected(self, count: int) -> int:
        """About how many of so many records are within the limit."""
        if self.limit is None:
            return count
        return round(self.limit * count) if self.limit < 1 else min(int(self.limit), count)

    def notes(self) -> list[str]:
        """A sentence on what was chosen, where anything may be left out."""
        if self.limit is None:
            return []
        return [f"{self.chosen:,} of {self.seen:,} images are captioned, as captions.limit says"]


def _hash(name: str) -> int:
    digest = hashlib.blake2b(f"limit {name}".encode("utf-8", "surrogatepass"), digest_size=HASH_BITS // 8)
    return int.from_bytes(digest.digest())
