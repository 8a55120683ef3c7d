"""Notes of the images that a chunk's job is decoding: they show the next job which image killed the last one.

A decoder that takes all memory, or crashes, ends the job without a word. The notes outlive it. What was in hand at a
death is suspect: the next job decodes suspects one at a time, so that no innocent image is in hand beside the guilty
one. An image that was in hand at `MAX_DEATHS` deaths is not decoded any more. Images that are sent as they are leave no
note.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from captionqa.client.memory_budget import SMALL_BYTES, MemoryBudget
from captionqa.errors import ItemFailure, Reason
from captionqa.files import json_line, not_through_link, read_json_lines

#: Deaths of a job during the decoding of an image before the image is blamed for them.
MAX_DEATHS = 2
UNLIMITED_MB = 2**40
#: Decoding more images at once than there are cores is no faster, and takes memory by their size.
CORES = len(os.sched_getaffinity(0))
_decoding = threading.BoundedSemaphore(CORES)
#: Held by the one thread that keeps all others from decoding.
_alone = threading.Lock()


class DecodingNotes:
    """The notes of one chunk, whatever its items are; safe to share between threads.

    `_lock` guards the counts and the file. A line of the file is [what happened, image]: `began`, `ended`, `died` for
    an image that was in hand at a death, or `closed` at the end of a job that was not killed.
    """

    def __init__(self, path: Path | None, budget: MemoryBudget | None = None):
        """`path` may be of a file that is not there yet; with None nothing is noted.

        Decoded pictures share the memory of `budget`; without one there is no limit.
        """
        self._path = path
        self._budget = budget or MemoryBudget(UNLIMITED_MB)
        self._lock = threading.Lock()
        #: The deaths at which each image was in hand.
        self._deaths: Counter[str] = Counter()
        self._file: int | None = None
        self._closed = False
        if path is not None and path.exists():
            self._read(path)

    @contextmanager
    def decoding(self, image: str, needed: int = 0) -> Iterator[Callable[[int], None]]:
        """Wait for a turn to read an image, by its name and stamp, and to encode it.

        Waits for `needed` bytes of memory first, if it is known already how many the image takes. Yields what to call
        with that number before the image is decoded, which waits for the bytes unless they are held by then. It raises
        ItemFailure where they are more than there are, or where the image has killed too many jobs.
        """
        began = False
        with ExitStack() as held:
            if needed:
                held.enter_context(self._budget.held(needed))
            turn = held.enter_context(ExitStack())

            def take_turn() -> None:
                turn.enter_context(_alone_in_decoding() if self._deaths[image] else _decoding)

            def begin(bytes_needed: int = 0) -> None:
                nonlocal began
                if (deaths := self._deaths[image]) >= MAX_DEATHS:
                    raise ItemFailure(
                        Reason.UNREADABLE_IMAGE,
                        f"its job was killed {deaths} times while it was decoded, as by a lack of memory; "
                        "`make retry-failed` tries it again",
                    )
                self._budget.check(bytes_needed)
                if began:
                    return
                if not needed and bytes_needed >= SMALL_BYTES:
                    turn.close()  # whoever has a turn waits for no memory, so that no two wait for each other
                    held.enter_context(self._budget.held(bytes_needed))
                    take_turn()
                began = True
                self._note("began", image)

            take_turn()
            try:
                yield begin
            finally:
                if began:
                    self._note("ended", image)

    def close(self) -> None:
        """Note that the job was not killed; remove the file where nothing is suspect."""
        with self._lock, suppress(OSError):
            self._closed = True
            if self._file is not None:
                self._append("closed", "")
                os.close(self._file)
            if self._path is not None and not self._deaths:
                self._path.unlink(missing_ok=True)

    def _note(self, what: str, image: str) -> None:
        if self._path is None:
            return
        with self._lock:
            if what == "ended":
                self._deaths.pop(image, None)
            if not self._closed:
                self._append(what, image)

    def _append(self, what: str, image: str) -> None:
        if self._path is None:
            return
        with suppress(OSError):  # without its note an image is decoded all the same
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = not_through_link(os.fspath(self._path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(self._file, json_line([what, image]).encode())

    def _read(self, path: Path) -> None:
        """Count the deaths; what was still in hand was so at the death of the last job."""
        in_hand: set[str] = set()
        for note in read_json_lines(path):
            if not (isinstance(note, list) and len(note) == 2 and all(isinstance(part, str) for part in note)):
                continue  # a damaged line must not end the job, at this run and at each later one
            what, image = note
            if what == "began":
                in_hand.add(image)
                continue
            if what == "closed":
                in_hand.clear()
            elif what == "died":
                self._deaths[image] += 1
            else:
                self._deaths.pop(image, None)
            in_hand.discard(image)
        for image in sorted(in_hand):
            self._deaths[image] += 1
            self._append("died", image)


@contextmanager
def _alone_in_decoding() -> Iterator[None]:
    """Wait until no image is being decoded, and keep others from it."""
    with _alone, ExitStack() as turns:
        for _ in range(CORES):
            turns.enter_context(_decoding)
        yield
