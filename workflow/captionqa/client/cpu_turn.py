"""A turn at the interpreter: threads that compute for a moment do it one after another.

Python lets one thread run at a time, and passes on at each call that may have to wait. Dozens of threads that read,
encode and note at once wake each other at each of them, which took a third of a client's CPU.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Turns that take so long in the mean are not worth their order: they compute without the interpreter,
SLOW_S = 0.002
#: or they wait, as for a file on a network.
WAITING_S = 0.0005
SMOOTHING = 32
#: No turn counts for more than so many times that: a thread that had to wait for a core once is no sign.
MOST = SMOOTHING / 4
#: So long all go ahead at once then.
FREE_S = 5.0
#: A turn that has not ended by then is not waited for.
STUCK_S = 0.25


class Turn:
    """Lets threads go one after another as long as each is quick, and all at once where they are not.

    Nothing relies on it but speed. `note` is told the seconds of each turn; waiting for it is not in them.
    """

    def __init__(
        self,
        note: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ):
        self._note = note
        self._clock, self._cpu_clock = clock, cpu_clock
        self._lock = threading.Lock()
        self._held: dict[int, float] = {}  # by whom, and since when; whoever takes the entry out lets the next one in
        self._free_until = float("-inf")
        self._mean_s = self._mean_waiting_s = 0.0
        self._mine = threading.local()

    def __enter__(self) -> None:
        ordered = False
        if self._clock() >= self._free_until:
            while not self._lock.acquire(timeout=STUCK_S):
                self._let_go_of_stuck()
            ordered = self._clock() >= self._free_until
            if not ordered:  # those before were slow
                self._lock.release()
        self._mine.began, self._mine.cpu = self._clock(), self._cpu_clock()
        if ordered:
            self._held[threading.get_ident()] = self._mine.began

    def __exit__(self, *error: object) -> None:
        now = self._clock()
        seconds = now - self._mine.began
        if self._held.pop(threading.get_ident(), None) is not None:
            waiting_s = seconds - (self._cpu_clock() - self._mine.cpu)
            self._mean_s += (min(seconds, MOST * SLOW_S) - self._mean_s) / SMOOTHING
            self._mean_waiting_s += (min(waiting_s, MOST * WAITING_S) - self._mean_waiting_s) / SMOOTHING
            if self._mean_s > SLOW_S or self._mean_waiting_s > WAITING_S:
                self._free(now)
            self._lock.release()
        self._note(seconds)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others go meanwhile: for what waits for a server, or for a thread that may."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _let_go_of_stuck(self) -> None:
        now = self._clock()
        for holder, began in list(self._held.items()):
            if now - began > STUCK_S and self._held.pop(holder, None) is not None:
                self._free(now)
                self._lock.release()

    def _free(self, now: float) -> None:
        self._free_until, self._mean_s, self._mean_waiting_s = now + FREE_S, 0.0, 0.0
