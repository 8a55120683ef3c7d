"""Watching a running server: how long something has been bad, and whether its tokens advance."""

import threading
import time
from collections.abc import Callable

from captionqa.errors import ServerError
from captionqa.server.probe import Load


class Aside:
    """A call in a thread of its own, so that a server that does not answer cannot hold up the watch."""

    def __init__(self, call: Callable[[], object]):
        self.over = threading.Event()
        self.error: Exception | None = None
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error
        self.over.set()


class Patience:
    """How long something has been bad without a break."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic):
        self.limit_s = limit_s
        self._clock = clock
        self._since = clock()

    def good(self) -> None:
        self._since = self._clock()

    def lost(self) -> bool:
        return self._clock() - self._since > self.limit_s


class TokenWatch:
    """Whether a server's tokens advance while it has requests."""

    def __init__(self, limit_s: float):
        self._patience = Patience(limit_s)
        self._last: Load | None = None

    def advance(self, load: Load | None) -> bool:
        """Whether they have since the last look; yes where the server publishes no metrics.

        Raises ServerError when requests have been there for `limit_s` without a token.
        """
        last, self._last = self._last, load
        advanced = load is None or (last is not None and load.tokens != last.tokens)
        if advanced or last is None or load.requests == 0:
            self._patience.good()
        elif self._patience.lost():
            raise ServerError(
                f"{load.requests:.0f} requests were there for {self._patience.limit_s:.0f} s without a token"
            )
        return advanced
