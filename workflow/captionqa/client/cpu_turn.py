"""A turn at the interpreter: threads that compute for a moment do so one after another.

Python runs one thread at a time and may switch to another at each call that can block. Dozens of threads that read,
encode and journal at once wake each other at each such call, which took a third of a client's CPU.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: If turns take longer than this on average, serialising does not pay: the threads compute outside the interpreter.
SLOW_TURN_S = 0.002
#: If turns wait longer than this on average, serialising does not pay: the threads wait, as for a file on a network.
SLOW_WAIT_S = 0.0005
#: The averages are exponential, over about this many turns.
SMOOTHING = 32
#: Each sample is capped at this many times its limit, so that one thread waiting for a core does not end serialising.
SAMPLE_CAP = SMOOTHING / 4
#: How long turns run unserialised once serialising has not paid.
UNSERIALISED_S = 5.0
#: After this long a turn loses the lock, and the other threads go on.
STUCK_S = 0.25


class CpuTurn:
    """Lets threads run one after another as long as each is quick, and all at once where they are not.

    A context manager: one turn of the calling thread. Only speed depends on it.

    `_lock` is held by the thread whose turn it is. `_held` says who that is; whoever takes its entry out releases
    `_lock`, be it that thread or one that found it stuck. The averages are written under `_lock` alone.
    """

    def __init__(
        self,
        report: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ):
        """`report` gets the seconds of each turn, without the wait for it."""
        self._report = report
        self._clock, self._cpu_clock = clock, cpu_clock
        self._lock = threading.Lock()
        #: {thread: when its turn began}
        self._held: dict[int, float] = {}
        self._unserialised_until = float("-inf")
        self._mean_s = self._mean_waiting_s = 0.0
        self._thread = threading.local()

    def __enter__(self) -> None:
        serialised = False
        if self._clock() >= self._unserialised_until:
            while not self._lock.acquire(timeout=STUCK_S):
                self._release_stuck()
            serialised = self._clock() >= self._unserialised_until
            if not serialised:  # the turns before were slow
                self._lock.release()
        self._thread.began, self._thread.cpu = self._clock(), self._cpu_clock()
        if serialised:
            self._held[threading.get_ident()] = self._thread.began

    def __exit__(self, *error: object) -> None:
        now = self._clock()
        seconds: float = now - self._thread.began
        if self._held.pop(threading.get_ident(), None) is not None:
            waiting_s = seconds - (self._cpu_clock() - self._thread.cpu)
            self._mean_s += (min(seconds, SAMPLE_CAP * SLOW_TURN_S) - self._mean_s) / SMOOTHING
            self._mean_waiting_s += (min(waiting_s, SAMPLE_CAP * SLOW_WAIT_S) - self._mean_waiting_s) / SMOOTHING
            if self._mean_s > SLOW_TURN_S or self._mean_waiting_s > SLOW_WAIT_S:
                self._stop_serialising(now)
            self._lock.release()
        self._report(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """End the turn and take another afterwards: around a wait for a server, or for a thread that may wait."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _release_stuck(self) -> None:
        now = self._clock()
        for holder, began in list(self._held.items()):
            if now - began > STUCK_S and self._held.pop(holder, None) is not None:
                self._stop_serialising(now)
                self._lock.release()

    def _stop_serialising(self, now: float) -> None:
        self._unserialised_until, self._mean_s, self._mean_waiting_s = now + UNSERIALISED_S, 0.0, 0.0
