"""A turn at the interpreter: threads that compute for a moment do it one after another.

Python lets one thread run at a time and passes on at each system call. Dozens of threads that read, encode and note at
once then wake each other several times for each of them, which costs about as much as their work does.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: A turn is well below this in the mean; where it is not, it waits for files, or computes without the interpreter.
SLOW_S = 0.002
SMOOTHING = 32
#: So long all go ahead at once then, as they do where one turn does not end.
FREE_S = 5.0
STUCK_S = 0.1


class Turn:
    """Lets threads go one after another as long as each is quick, and all at once where they are not.

    Nothing relies on it but speed: whoever waits does so for at most a few slow turns of others. `watch` is to be
    called several times a second, and sees to a turn that does not end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[int, float] = {}  # by whom, and since when; whoever takes the entry out lets the next one in
        self._free_until = float("-inf")
        self._mean_s = 0.0

    def __enter__(self) -> None:
        if self._clock() < self._free_until:
            return
        self._lock.acquire()
        now = self._clock()
        if now < self._free_until:
            self._lock.release()
        else:
            self._held[threading.get_ident()] = now

    def __exit__(self, *error: object) -> None:
        began = self._held.pop(threading.get_ident(), None)
        if began is None:
            return
        now = self._clock()
        self._mean_s += (now - began - self._mean_s) / SMOOTHING
        if self._mean_s > SLOW_S:
            self._free(now)
        self._lock.release()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others go meanwhile: for what waits for a server, or for a thread that may."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def watch(self) -> None:
        now = self._clock()
        for holder, began in list(self._held.items()):
            if now - began > STUCK_S and self._held.pop(holder, None) is not None:
                self._free(now)
                self._lock.release()

    def _free(self, now: float) -> None:
        self._free_until, self._mean_s = now + FREE_S, 0.0
