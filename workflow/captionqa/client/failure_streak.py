"""Failures in a row: after SUSPICIOUS of them the server is the likelier cause, and the chunk stops in time."""

import threading
from collections.abc import Callable

from captionqa.errors import ItemFailure, ServerRefusedError

#: After this many failures in a row, and each multiple of it, the server is suspected and not the items.
SUSPICIOUS = 50


class FailureStreak:
    """Counts the items in a row whose requests failed; safe to share between threads.

    `_lock` guards the count; only an answer resets it without the lock. The lock is held while the server is
    tried, so that threads whose item fails meanwhile wait for the outcome and send no more requests.
    """

    def __init__(self, any_answer: Callable[[], bool], rejection: Callable[[], str | None]):
        """`any_answer` says whether the chunk has an answer yet; `rejection` is `RetryingClient.rejection`."""
        self._any_answer = any_answer
        self._rejection = rejection
        self._lock = threading.Lock()
        self._count = 0

    def end(self) -> None:
        """An item was answered."""
        self._count = 0

    def add(self, failure: ItemFailure) -> None:
        """An item failed; raises ServerRefusedError where that is hardly its own fault."""
        with self._lock:
            self._count += 1
            if self._count % SUSPICIOUS:
                return
            if self._any_answer() and not self._rejection():
                return
            raise ServerRefusedError(
                f"the last {SUSPICIOUS} items that were asked for all failed, so the fault is hardly theirs; the "
                f"last failure was {failure}. What is answered is kept: look into the server's log and the settings "
                "(model, sampling, max_tokens, prompts), then run the same command again."
            )
