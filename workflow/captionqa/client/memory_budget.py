"""The memory that pictures take in a chunk's job: a budget that large ones wait for, and blocks that are given back."""

import ctypes
import threading
from collections import deque

from captionqa.errors import ItemFailure, Reason

MB = 10**6
#: By default pictures get this part of the job's memory.
PART_OF_JOB = 8
#: Pictures that share the budget take this part of it, so that the requests in flight have room beside them.
SHARED_PART = 2 / 3
#: A picture that takes less than this does not wait.
SMALL_BYTES = 16 * MB
#: The parameters of glibc's mallopt, and from which size on a block is given back to the system once it is free.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE_BLOCK_BYTES = 4 * 2**20


class MemoryBudget:
    """The bytes that large pictures take at once, from reading to encoding; safe to share between threads.

    Those that share it take at most two thirds of it; one alone may take all of it. They go on in the order in which
    they came, so that a large one is not overtaken for ever. `_lock` guards what is held and who waits.
    """

    def __init__(self, total_mb: int):
        self.total_mb = total_mb
        self._lock = threading.Lock()
        self._held = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    def check(self, needed: int) -> None:
        """Raise ItemFailure image_too_large for a picture that takes more than the whole budget."""
        if needed > self.total_mb * MB:
            raise ItemFailure(
                Reason.IMAGE_TOO_LARGE,
                f"it takes about {needed // MB} MB to decode; client.images.memory_mb is {self.total_mb}",
            )

    def take(self, needed: int) -> int:
        """Wait for a number of bytes, or for all of them where it is more; returns how many `give_back` is to be given.

        A small number is not waited for.
        """
        if needed < SMALL_BYTES:
            return 0
        taken, gate = entry = min(needed, self.total_mb * MB), threading.Event()
        with self._lock:
            self._waiting.append(entry)
            self._let_in()
        gate.wait()
        return taken

    def give_back(self, taken: int) -> None:
        with self._lock:
            self._held -= taken
            self._let_in()

    def _let_in(self) -> None:
        """Let those in that wait, as far as there is room for them."""
        while self._waiting:
            needed, gate = self._waiting[0]
            if self._held and self._held + needed > self.total_mb * MB * SHARED_PART:
                return
            self._waiting.popleft()
            self._held += needed
            gate.set()


def give_back_large_blocks() -> None:
    """Let this process give each large block of memory back to the system once it is free.

    By itself glibc keeps blocks of up to 32 MB, and as many as each thread has ever had at once: after some dozens of
    large pictures that is two gigabytes which nobody uses.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have no such function, and give large blocks back
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK_BYTES)
