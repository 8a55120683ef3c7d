"""The servers of a run as a client sees them: which are healthy, which is least loaded, and when to give up."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from captionqa.client.circuit_breaker import CircuitBreaker
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.request_errors import TransientError
from captionqa.errors import RunStoppedError, ServerDeadError
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint
from captionqa.server.endpoint import Endpoint, State

#: How often the endpoint files are read, and how long a server that could not be reached is left alone.
REFRESH_S = 1.0

#: Sends a trial to a server: None for an answer, else what was wrong.
Trial = Callable[[Endpoint], TransientError | None]

log = logging.getLogger(__name__)


class ServerPool:
    """Picks the least loaded healthy server, and waits while there is none.

    A server on which most attempts fail gets nothing but trials until it answers one: each has a circuit breaker. A
    server that answered with a Retry-After gets nothing until that time.

    Shared by all threads of a chunk. `_lock` guards all that changes here, the circuit breakers and the limiter's
    counts of answers and overloads. Trials and waits happen outside of it.

    Raises RunStoppedError when the driver is gone, ServerDeadError when every server is dead or none served for
    `wait_s` seconds.
    """

    def __init__(
        self,
        folder: Path,
        lease: LeaseWatch,
        wait_s: float,
        first_pause_s: float,
        limiter: InFlightLimiter,
        add_pausing: Callable[[float], None] = lambda seconds: None,
    ):
        """`folder` holds the endpoint files; `first_pause_s` is the circuit breakers' first pause between trials.

        `add_pausing` gets the seconds of each pause of a request, also of one until the limit admits it.
        """
        self._folder = folder
        self._limiter = limiter
        self._add_pausing = add_pausing
        self._lease = lease
        self._wait_s = wait_s
        self._first_pause_s = first_pause_s
        self._lock = threading.Lock()
        self._endpoints: list[Endpoint] = []
        self._refreshed = float("-inf")
        #: Since when no server has been usable; None while one is.
        self._unserved_since: float | None = None
        #: {replica: requests in flight}
        self._in_flight: Counter[int] = Counter()
        #: {replica: when it may be tried again after a failed connection}
        self._unreachable_until: dict[int, float] = {}
        #: {replica: when its Retry-After ends}
        self._retry_after_until: dict[int, float] = {}
        #: By (replica, generation), since a new generation starts with a closed circuit.
        self._circuits: dict[tuple[int, int], CircuitBreaker] = {}
        #: Set when the chunk ends; wakes every thread that pauses.
        self.stopped = threading.Event()

    def acquire(self, trial: Trial) -> Endpoint:
        """A healthy server, once the limit on requests in flight admits one more; to be given back with `release`."""
        began = time.monotonic()
        self._limiter.acquire()
        # next to nothing, unless the limit fell while the request waited to be sent again
        self._add_pausing(time.monotonic() - began)
        try:
            return self._acquire_server(trial)
        except BaseException:
            self._limiter.release()
            raise

    def _acquire_server(self, trial: Trial) -> Endpoint:
        while True:
            with self._lock:
                self._refresh()
                now = time.monotonic()
                usable = [entry for entry in self._endpoints if self._is_usable(entry, now)]
                on_trial = next((entry for entry in usable if self._circuit(entry).claim_trial(now)), None)
                closed = [entry for entry in usable if not self._circuit(entry).is_open]
                if on_trial is None and closed:
                    # ties at random: many clients start with the same view of the servers
                    chosen = min(closed, key=lambda entry: (self._in_flight[entry.replica], random.random()))
                    self._in_flight[chosen.replica] += 1
                    return chosen
                if on_trial is None:
                    # a server that sent a Retry-After is not lost
                    self._check_patience(now, may_raise=all(until <= now for until in self._retry_after_until.values()))
            if on_trial is None:
                self.pause_request(REFRESH_S)
            else:
                self._try(on_trial, trial)

    def release(self, server: Endpoint, reached: bool) -> None:
        """Give a server back; `reached` says whether a connection to it was made."""
        self._limiter.release()
        with self._lock:
            self._in_flight[server.replica] -= 1
            if reached:
                self._unserved_since = None
            else:
                self._unreachable_until[server.replica] = time.monotonic() + REFRESH_S

    def record_answer(self, server: Endpoint) -> None:
        """Count an answer of a server; a rejection is one."""
        with self._lock:
            self._limiter.answered += 1
            self._circuit(server).record_answer(time.monotonic())

    def record_failure(self, server: Endpoint, error: TransientError) -> None:
        """Count a failed attempt on a server, and obey its Retry-After."""
        with self._lock:
            self._limiter.overloads += error.is_overload
            self._obey_retry_after(server, error)
            if self._circuit(server).record_failure(str(error)):
                log.warning("server %d fails most requests (%s): waiting until it answers", server.replica, error)

    def confirm_health(self, server: Endpoint, since: float, error: TransientError, trial: Trial) -> bool:
        """Find out whether a server works: it has answered anything since a time, or answers a trial now.

        Opens its circuit for the trial, which waits for the server's Retry-After. False while another thread tries it.
        """
        with self._lock:
            circuit = self._circuit(server)
            if circuit.answered_since(since):
                return True
            if not circuit.trip(str(error)) or not circuit.claim_trial(time.monotonic()):
                return False
        while time.monotonic() < self._retry_after_until.get(server.replica, 0.0):
            self.pause_request(REFRESH_S)
        return self._try(server, trial)

    def successor(self, server: Endpoint) -> Endpoint | None:
        """The present endpoint of the server's replica if it is another generation or not ready, else None."""
        with self._lock:
            self._refreshed = float("-inf")
            self._read_endpoints()
            current = next((entry for entry in self._endpoints if entry.replica == server.replica), server)
            return None if current.generation == server.generation and current.state is State.READY else current

    def ready_servers(self) -> list[Endpoint]:
        """The servers whose state is READY."""
        with self._lock:
            if not self._endpoints:  # nobody has asked for a server yet
                with suppress(OSError):
                    self._endpoints = endpoint.read_all(self._folder)
            return [entry for entry in self._endpoints if entry.state is State.READY and entry.url]

    def pause(self, seconds: float) -> None:
        """Sleep, unless the chunk is being stopped or every server is dead."""
        if self.stopped.wait(seconds):
            raise RunStoppedError("the chunk is stopping.")
        with self._lock:
            self._refresh()

    def pause_request(self, seconds: float) -> None:
        """As `pause`, by a thread whose request is with no server meanwhile."""
        began = time.monotonic()
        try:
            self.pause(seconds)
        finally:
            self._add_pausing(time.monotonic() - began)

    def _is_usable(self, entry: Endpoint, now: float) -> bool:
        replica = entry.replica
        wait_until = max(self._unreachable_until.get(replica, 0.0), self._retry_after_until.get(replica, 0.0))
        return entry.state is State.READY and wait_until <= now

    def _circuit(self, server: Endpoint) -> CircuitBreaker:
        key = server.replica, server.generation
        if key not in self._circuits:
            self._circuits[key] = CircuitBreaker(self._first_pause_s)
        return self._circuits[key]

    def _try(self, server: Endpoint, trial: Trial) -> bool:
        """Make the trial that was claimed; returns whether the server answered it."""
        error = trial(server)
        with self._lock:
            now = time.monotonic()
            self._circuit(server).record_trial(None if error is None else str(error), now)
            if error is None:
                self._unserved_since = None
                log.info("server %d answers", server.replica)
                return True
            self._obey_retry_after(server, error)
            if not any(self._is_usable(entry, now) and not self._circuit(entry).is_open for entry in self._endpoints):
                self._check_patience(now)
        return False

    def _obey_retry_after(self, server: Endpoint, error: TransientError) -> None:
        """Leave a server alone for the time that it asked for; an earlier, longer wait still holds."""
        until = time.monotonic() + error.retry_after_s
        self._retry_after_until[server.replica] = max(self._retry_after_until.get(server.replica, 0.0), until)

    def _check_patience(self, now: float, may_raise: bool = True) -> None:
        """Raise ServerDeadError if no server could be used for `wait_s`; time in Slurm's queue does not count.

        With `may_raise` False the waiting time only starts to run.
        """
        if any(entry.state is State.QUEUED for entry in self._endpoints):
            self._unserved_since = None
        elif self._unserved_since is None:
            self._unserved_since = now
        elif now - self._unserved_since > self._wait_s and may_raise:
            failures = [
                circuit.reason for entry in self._endpoints if (circuit := self._circuit(entry)).is_open and entry.url
            ]
            if failures:
                raise ServerDeadError(
                    f"the server says that it is ready but has answered nothing for {self._wait_s:.0f} s "
                    f"(client.server_wait_s), at last: {failures[0]}; what is answered is kept, run the same command "
                    "again once it is well."
                )
            raise ServerDeadError(f"no server was reached for {self._wait_s:.0f} s (client.server_wait_s).")

    def _refresh(self) -> None:
        """Read the endpoint files if that is due; raises where no server will come any more."""
        self._read_endpoints()
        if self._endpoints and all(entry.state is State.DEAD for entry in self._endpoints):
            raise ServerDeadError(f"the server is gone for good: {endpoint.reasons(self._endpoints)}.")

    def _read_endpoints(self) -> None:
        if time.monotonic() - self._refreshed < REFRESH_S:
            return
        self._refreshed = time.monotonic()
        self._lease.check()
        with suppress(OSError):  # of a flickering file system; what was read last holds until the next time
            self._endpoints = endpoint.read_all(self._folder) or self._endpoints
