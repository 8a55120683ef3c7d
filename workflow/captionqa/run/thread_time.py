"""Effort: what a client job's threads and its processor were busy with."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Effort:
    """Adds up what the threads of a chunk job do; safe to share between them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._started, self._cpu_before = clock(), time.process_time()
        self._sums = {"working_s": 0.0, "asking_s": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a thread's time while its item is with a server or waits for one, as `asking_s`."""
        began = self._clock()
        try:
            yield
        finally:
            self._add("asking_s", self._clock() - began)

    def worked(self, seconds: float) -> None:
        """Count a thread's time on its item by itself, files included, as `working_s`."""
        self._add("working_s", seconds)

    def figures(self) -> dict[str, float]:
        """Seconds by the clock, of the process's processor time, and summed over the threads."""
        found = {"wall_s": self._clock() - self._started, "cpu_s": time.process_time() - self._cpu_before, **self._sums}
        return {name: round(value, 3) for name, value in found.items()}

    def _add(self, what: str, seconds: float) -> None:
        with self._lock:
            self._sums[what] += seconds
