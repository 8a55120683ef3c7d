"""The thread that reads the servers' load and updates a client job's limit on requests in flight by it."""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import astuple

from captionqa.client.adaptive_concurrency import AUTO, AdaptiveLimit, initial_limit
from captionqa.client.api_key import ApiKeys
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.server_pool import ServerPool
from captionqa.errors import RunStoppedError, ServerDeadError
from captionqa.server.endpoint import Endpoint
from captionqa.server.probe import EngineLoad, Probe

#: How often the limit is updated.
UPDATE_S = 1.0
#: A server without vLLM's metrics is asked for them again after this long.
METRICS_RETRY_S = 30.0
#: Changes of the limit by less than this factor are not logged.
LOG_FACTOR = 1.5
#: The shortest time between two logged changes.
LOG_INTERVAL_S = 30.0

log = logging.getLogger(__name__)


class ConcurrencyTuner:
    """Updates the limit of a limiter by the load of a pool's servers, in its own thread, until the pool stops.

    That thread alone uses the probes. `finish` may be called by another.
    """

    def __init__(self, limiter: InFlightLimiter, pool: ServerPool, keys: ApiKeys):
        self._limiter = limiter
        self._pool = pool
        self._keys = keys
        #: By address and key, since either may change.
        self._probes: dict[tuple[str, str | None], Probe] = {}
        #: By address: when a server without metrics is asked for them again.
        self._next_try: dict[str, float] = {}
        self._finishing = threading.Event()
        #: The limit that the last update set.
        self.limit = limiter.limit

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="concurrency").start()

    def finish(self) -> None:
        """End the updates, and raise a lower limit to INITIAL_LIMIT: the last items are sent as soon as they are ready.

        The job has no later requests that would have to wait behind these. Without this the last job on a server would
        end with half of the server's slots empty.
        """
        self._finishing.set()
        if not self._limiter.overloads:
            self._limiter.resize(max(self._limiter.limit, initial_limit(AUTO)))

    def load(self) -> EngineLoad | None:
        """The load of all healthy servers that publish theirs, added up; None where none does."""
        loads = [load for server in self._pool.ready_servers() if (load := self._load_of(server))]
        if not loads:
            return None
        return EngineLoad(*(sum(values) for values in zip(*map(astuple, loads), strict=True)))

    def _run(self) -> None:
        law = AdaptiveLimit(self._limiter)
        logged, next_log = self._limiter.limit, 0.0
        with suppress(RunStoppedError, ServerDeadError):  # the threads that send requests find out too
            while True:
                self._pool.pause(UPDATE_S)
                load = self.load()
                if self._finishing.is_set():
                    return
                law.update(time.monotonic(), load)
                self.limit = limit = self._limiter.limit
                now = time.monotonic()
                if max(limit, logged) >= LOG_FACTOR * min(limit, logged) and now >= next_log:
                    log.info("requests in flight: %d at most, after %d", limit, logged)
                    logged, next_log = limit, now + LOG_INTERVAL_S

    def _load_of(self, server: Endpoint) -> EngineLoad | None:
        url = server.url
        assert url is not None
        if time.monotonic() < self._next_try.get(url, 0.0):
            return None
        key = self._keys.of(server)
        if self._keys.own and key is None:
            return None
        if (url, key) not in self._probes:
            self._probes[url, key] = Probe(url, key, self._keys.own)
        if load := self._probes[url, key].load():
            return load
        self._next_try[url] = time.monotonic() + METRICS_RETRY_S
        return None
