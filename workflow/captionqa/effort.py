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
        self._sums = {"busy_s": 0.0, "asking_s": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Count a thread's time: `busy_s` while it has an item in hand, `asking_s` while that is with a server or waits
        for one."""
        began = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._sums[what] += self._clock() - began

    def figures(self) -> dict[str, float]:
        """Seconds by the clock, of the process's processor time, and summed over the threads."""
        found = {"wall_s": self._clock() - self._started, "cpu_s": time.process_time() - self._cpu_before, **self._sums}
        return {name: round(value, 3) for name, value in found.items()}
