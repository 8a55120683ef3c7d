"""Samples: which items a page shows where there are more than a browser should hold."""

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

#: A page shows all items up to this number.
WHOLE_ITEMS = 20_000
#: How a page sees an item that it may have to leave out.
Kind = Literal["failed", "wrong", "other"]
#: Of more items it shows at most these of each kind; of all that failed it has a row of text beside.
LIMITS: Mapping[Kind, int] = {"failed": 2_000, "wrong": 10_000, "other": 4_000}

T = TypeVar("T")


def limits_for(items: int) -> Mapping[Kind, int]:
    """How many items of each kind a page shows, of this many in all."""
    return dict.fromkeys(LIMITS, items) if items <= WHOLE_ITEMS else LIMITS


class Sample(Generic[T]):
    """Keeps of each kind the items whose names have the smallest hashes, so that the same items give the same sample.

    Memory grows with the limits and not with the number of items.
    """

    def __init__(self, limits: Mapping[Kind, int]):
        self._limits = limits
        #: {kind: a heap of (minus the hash, name, item)}, the largest hash first.
        self._kept: dict[Kind, list[tuple[int, str, T]]] = {kind: [] for kind in limits}
        self._seen: dict[Kind, int] = dict.fromkeys(limits, 0)

    def add(self, kind: Kind, name: str, item: T) -> None:
        """Consider an item; no other has its name."""
        entry = (-_hash(name), name, item)
        self._seen[kind] += 1
        kept = self._kept[kind]
        if len(kept) < self._limits[kind]:
            heapq.heappush(kept, entry)
        elif kept:
            heapq.heappushpop(kept, entry)

    def shares(self) -> dict[Kind, tuple[int, int]]:
        """{kind: (items that were kept, items in all)}."""
        return {kind: (len(self._kept[kind]), seen) for kind, seen in self._seen.items()}

    def __iter__(self) -> Iterator[T]:
        """The items that were kept, in no order."""
        return (item for kept in self._kept.values() for _, _, item in kept)

    def ordered(self, key: Callable[[T], Any]) -> Sequence[T]:
        """The items that were kept, sorted by a key."""
        return sorted(self, key=key)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
