"""Duplicate requests: of a chunk's items whose requests are identical, the first is sent and the others share it."""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

from captionqa.client.chunk_result import ResultLine

Waiter = TypeVar("Waiter")


class DuplicateRequests(Generic[Waiter]):
    """Which requests are under way or settled, and who waits for them; safe to share between threads.

    `_lock` guards both dictionaries. The result lines are kept for the chunk result anyway.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: dict[Hashable, ResultLine] = {}
        self._waiting: dict[Hashable, list[Waiter]] = {}

    def join(self, key: Hashable, waiter: Waiter) -> tuple[bool, ResultLine | None]:
        """(whether the caller has to send the request and then `settle` it, its result line if it is settled).

        (False, None): another thread has sent it. The waiter is kept, and that thread gets it from `settle`.
        """
        with self._lock:
            if key in self._settled:
                return False, self._settled[key]
            if key in self._waiting:
                self._waiting[key].append(waiter)
                return False, None
            self._waiting[key] = []
            return True, None

    def settle(self, key: Hashable, line: ResultLine) -> list[Waiter]:
        """Keep the result line of a request; returns who waited for it."""
        with self._lock:
            self._settled[key] = line
            return self._waiting.pop(key, [])

    def withdraw(self, key: Hashable) -> list[Waiter]:
        """Forget a request that turned out to be another; returns who waited for it."""
        with self._lock:
            return self._waiting.pop(key, [])
