"""Liveness of a running server: how long a check has been failing, and whether tokens and heartbeats advance."""

import time
from collections.abc import Callable, Mapping

from captionqa.errors import ServerError
from captionqa.server.probe import EngineLoad


class GracePeriod:
    """How long a check may fail without a success in between."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic):
        self.limit_s = limit_s
        self._clock = clock
        self._renewed_at = clock()

    def renew(self) -> None:
        """Begin anew, after a success."""
        self._renewed_at = self._clock()

    def expired(self) -> bool:
        return self._clock() - self._renewed_at > self.limit_s


class TokenWatch:
    """Whether a server's tokens advance while it has requests."""

    def __init__(self, limit_s: float):
        self._grace = GracePeriod(limit_s)
        self._last: EngineLoad | None = None

    def advanced(self, load: EngineLoad | None) -> bool:
        """Whether tokens have advanced since the last call; True where the server publishes no metrics (None).

        Raises:
            ServerError: there were requests for `limit_s` and no token.
        """
        last, self._last = self._last, load
        if load is None:
            self._grace.renew()
            return True
        advanced = last is not None and load.tokens != last.tokens
        if advanced or last is None or load.requests == 0:
            self._grace.renew()
        elif self._grace.expired():
            raise ServerError(
                f"{load.requests:.0f} requests were there for {self._grace.limit_s:.0f} s without a token"
            )
        return advanced


class HeartbeatWatch:
    """Whether each API server of a server still has its heartbeat."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic):
        self._limit_s = limit_s
        self._clock = clock
        self._graces: dict[int, GracePeriod] = {}
        self._last: Mapping[int, int] = {}
        self._suspects: set[int] = set()

    def check(self, beats: Mapping[int, int]) -> None:
        """Compare the `heartbeat.last_beats` of now with those of the last check.

        Raises:
            ServerError: one did not advance for `limit_s`, nor since the check before. So a job that was suspended as
                a whole gets the time between two checks to go on.
        """
        last, self._last = self._last, beats
        for process, beat in beats.items():
            if last.get(process) != beat:
                self._graces[process] = GracePeriod(self._limit_s, self._clock)
                self._suspects.discard(process)
            elif self._graces[process].expired():
                if process in self._suspects:
                    raise ServerError(
                        f"its process {process}, one of {len(beats)} that take requests, hung for {self._limit_s:.0f} s"
                    )
                self._suspects.add(process)
