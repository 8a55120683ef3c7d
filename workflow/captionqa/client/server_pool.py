"""The servers of a run as a client sees them: which are healthy, which is least loaded, and when to give up."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from captionqa.client.chat_completion import Transient
from captionqa.client.circuit_breaker import Circuit
from captionqa.client.in_flight_limit import Gate
from captionqa.errors import RunStoppedError, ServerDeadError
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint
from captionqa.server.endpoint import Endpoint, State

REFRESH_S = 1.0

log = logging.getLogger(__name__)


class Pool:
    """The servers of a run: picks the least loaded healthy one, and waits while there is none.

    A server on which most attempts fail is left alone but for trials until it answers again. `trial` makes one: it
    returns None for an answer, else what was wrong. Shared by all threads of a chunk. Raises RunStoppedError when the
    driver is gone, ServerDeadError when every server is dead or none served for `wait_s` seconds.
    """

    def __init__(self, folder: Path, lease: LeaseWatch, wait_s: float, first_pause_s: float, gate: Gate):
        """No more attempts than the gate lets in are made at a time."""
        self._folder = folder
        self._gate = gate
        self._lease = lease
        self._wait_s = wait_s
        self._first_pause_s = first_pause_s
        self._lock = threading.Lock()
        self._in_flight: Counter[int] = Counter()
        self._endpoints: list[Endpoint] = []
        self._refreshed = float("-inf")
        self._unserved_since: float | None = None
        self._avoided: dict[int, float] = {}
        self._held: dict[int, float] = {}
        self._circuits: dict[tuple[int, int], Circuit] = {}
        self.stopped = threading.Event()

    def acquire(self, trial: Callable[[Endpoint], Transient | None]) -> Endpoint:
        """A healthy server; give it back with `release`."""
        self._gate.enter()
        try:
            return self._acquire(trial)
        except BaseException:
            self._gate.leave()
            raise

    def _acquire(self, trial: Callable[[Endpoint], Transient | None]) -> Endpoint:
        while True:
            with self._lock:
                self._refresh()
                now = time.monotonic()
                usable = [entry for entry in self._endpoints if self._usable(entry, now)]
                on_trial = next((entry for entry in usable if self._circuit(entry).claim_trial(now)), None)
                closed = [entry for entry in usable if not self._circuit(entry).open]
                if on_trial is None and closed:
                    # ties at random: many clients start with the same view of the servers
                    chosen = min(closed, key=lambda entry: (self._in_flight[entry.replica], random.random()))
                    self._in_flight[chosen.replica] += 1
                    return chosen
                if on_trial is None:
                    # a server that names the time of its return is not lost
                    self._check_patience(now, spare=any(until > now for until in self._held.values()))
            if on_trial is None:
                self.pause(REFRESH_S)
            else:
                self._try(on_trial, trial)

    def release(self, server: Endpoint, reached: bool) -> None:
        self._gate.leave()
        with self._lock:
            self._in_flight[server.replica] -= 1
            if reached:
                self._unserved_since = None
            else:
                self._avoided[server.replica] = time.monotonic() + REFRESH_S

    def answered(self, server: Endpoint) -> None:
        """Note that an attempt on a server was answered, be it by a rejection."""
        with self._lock:
            self._gate.answered += 1
            self._circuit(server).answered(time.monotonic())

    def failed(self, server: Endpoint, error: Transient) -> None:
        """Note that an attempt on a server failed; nobody asks it for the time that it wants to be left alone."""
        with self._lock:
            self._gate.overloads += error.overload
            self._hold(server, error)
            if self._circuit(server).failed(str(error)):
                log.warning("server %d fails most requests (%s): waiting until it answers", server.replica, error)

    def is_well(
        self, server: Endpoint, since: float, error: Transient, trial: Callable[[Endpoint], Transient | None]
    ) -> bool:
        """Whether a server has answered anything since a time; if not, a trial tells.

        While others try it already it counts as ill. The trial waits for the time that the server wants to be left
        alone.
        """
        with self._lock:
            circuit = self._circuit(server)
            if circuit.answered_since(since):
                return True
            if not circuit.doubt(str(error)) or not circuit.claim_trial(time.monotonic()):
                return False
        while time.monotonic() < self._held.get(server.replica, 0.0):
            self.pause(REFRESH_S)
        return self._try(server, trial)

    def successor(self, server: Endpoint) -> Endpoint | None:
        """What has become of a server that is no longer the one it was when it was acquired; None while it is."""
        with self._lock:
            self._refreshed = float("-inf")
            self._look()
            now = next((entry for entry in self._endpoints if entry.replica == server.replica), server)
            return None if now.generation == server.generation and now.state is State.READY else now

    def urls(self) -> list[str]:
        """The addresses of the healthy servers."""
        with self._lock:
            return [entry.url for entry in self._endpoints if entry.state is State.READY and entry.url]

    def pause(self, seconds: float) -> None:
        """Sleep, unless the chunk is being stopped or every server is dead."""
        if self.stopped.wait(seconds):
            raise RunStoppedError("the chunk is stopping.")
        with self._lock:
            self._refresh()

    def _usable(self, entry: Endpoint, now: float) -> bool:
        wait_until = max(self._avoided.get(entry.replica, 0.0), self._held.get(entry.replica, 0.0))
        return entry.state is State.READY and wait_until <= now

    def _circuit(self, server: Endpoint) -> Circuit:
        key = server.replica, server.generation
        if key not in self._circuits:
            self._circuits[key] = Circuit(self._first_pause_s)
        return self._circuits[key]

    def _try(self, server: Endpoint, trial: Callable[[Endpoint], Transient | None]) -> bool:
        error = trial(server)
        with self._lock:
            now = time.monotonic()
            self._circuit(server).tried(None if error is None else str(error), now)
            if error is None:
                self._unserved_since = None
                log.info("server %d answers", server.replica)
                return True
            self._hold(server, error)
            if not any(self._usable(entry, now) and not self._circuit(entry).open for entry in self._endpoints):
                self._check_patience(now)
        return False

    def _hold(self, server: Endpoint, error: Transient) -> None:
        until = time.monotonic() + error.retry_after_s
        self._held[server.replica] = max(self._held.get(server.replica, 0.0), until)

    def _check_patience(self, now: float, spare: bool = False) -> None:
        """Raise ServerDeadError when no server served for the whole waiting time, queues not counted."""
        if any(entry.state is State.QUEUED for entry in self._endpoints):
            self._unserved_since = None
        elif self._unserved_since is None:
            self._unserved_since = now
        elif now - self._unserved_since > self._wait_s and not spare:
            complaints = [
                circuit.reason for entry in self._endpoints if (circuit := self._circuit(entry)).open and entry.url
            ]
            if complaints:
                raise ServerDeadError(
                    f"the server says that it is ready but has answered nothing for {self._wait_s:.0f} s "
                    f"(client.server_wait_s), at last: {complaints[0]}; what is answered is kept, run the same command "
                    "again once it is well."
                )
            raise ServerDeadError(f"no server was reached for {self._wait_s:.0f} s (client.server_wait_s).")

    def _refresh(self) -> None:
        """Look at the servers now and then, and see whether there is a use in waiting for any."""
        self._look()
        if self._endpoints and all(entry.state is State.DEAD for entry in self._endpoints):
            raise ServerDeadError(f"the server is gone for good: {endpoint.reasons(self._endpoints)}.")

    def _look(self) -> None:
        if time.monotonic() - self._refreshed < REFRESH_S:
            return
        self._refreshed = time.monotonic()
        self._lease.check()
        with suppress(OSError):  # of a flickering file system; what was seen last holds until the next look
            self._endpoints = endpoint.read_all(self._folder) or self._endpoints
