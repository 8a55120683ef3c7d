"""Twins: items of a chunk whose requests are identical, of which the first is asked and the others get its outcome."""

import threading
from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

Member = TypeVar("Member")


class Twins(Generic[Member]):
    """Who asks and who waits; keeps keys, outcomes that exist anyway, and the members that wait. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[Hashable, Mapping[str, Any]] = {}
        self._waiting: dict[Hashable, list[Member]] = {}

    def join(self, key: Hashable, member: Member) -> tuple[bool, Mapping[str, Any] | None]:
        """(whether the caller has to ask and then to `settle`, the outcome if it is known).

        Neither: the member waits and is handed to whoever settles.
        """
        with self._lock:
            if key in self._outcomes:
                return False, self._outcomes[key]
            if key in self._waiting:
                self._waiting[key].append(member)
                return False, None
            self._waiting[key] = []
            return True, None

    def settle(self, key: Hashable, outcome: Mapping[str, Any]) -> list[Member]:
        """Note the outcome of a request; returns who waited for it."""
        with self._lock:
            self._outcomes[key] = outcome
            return self._waiting.pop(key, [])
