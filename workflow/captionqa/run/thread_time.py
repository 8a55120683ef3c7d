"""How the threads of a client job spend their time, and how much processor time the job uses."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NotRequired, TypedDict


class TimeRecord(TypedDict):
    """Seconds since the job started, as its progress file keeps them."""

    #: By the clock.
    wall_s: float
    #: Processor time of the whole process.
    cpu_s: float
    #: Time that threads worked on an item themselves, reading files included; summed over the threads.
    working_s: float
    #: Time that an item was at a server or waited for one; summed over the threads.
    asking_s: float
    #: Of this, the time that it waited to be sent again or for a server; missing in the files of earlier versions.
    pausing_s: NotRequired[float]


class ThreadTime:
    """Adds up what the threads of a chunk job do. Safe to share between them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._started_at, self._cpu_at_start_s = clock(), time.process_time()
        self._working_s = self._asking_s = self._pausing_s = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count the time of the block as `asking_s`."""
        started_at = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - started_at
            with self._lock:
                self._asking_s += seconds

    def add_working(self, seconds: float) -> None:
        """Count seconds as `working_s`."""
        with self._lock:
            self._working_s += seconds

    def add_pausing(self, seconds: float) -> None:
        """Count seconds of `asking` as `pausing_s` too."""
        with self._lock:
            self._pausing_s += seconds

    def record(self) -> TimeRecord:
        """The figures up to now, rounded to milliseconds."""
        return {
            "wall_s": round(self._clock() - self._started_at, 3),
            "cpu_s": round(time.process_time() - self._cpu_at_start_s, 3),
            "working_s": round(self._working_s, 3),
            "asking_s": round(self._asking_s, 3),
            "pausing_s": round(self._pausing_s, 3),
        }
