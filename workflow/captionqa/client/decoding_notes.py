"""Notes of the images that a chunk's job is decoding: they show the next job which image killed the last one.

A decoder that takes all memory, or crashes, ends the job without a word. The notes outlive it. What was in hand at a
death is suspect: the next job decodes suspects one at a time, so that no innocent image is in hand beside the guilty
one. An image that was in hand at `MAX_DEATHS` deaths is not decoded any more. Images that are sent as they are leave no
note.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
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
        self.budget = budget or MemoryBudget(UNLIMITED_MB)
        self._lock = threading.Lock()
        #: The deaths at which each image was in hand.
        self._deaths: Counter[str] = Counter()
        self._file: int | None = None
        self._closed = False
        if path is not None and path.exists():
            self._read(path)

    def decoding(self, image: str, needed: int = 0) -> "Decoding":
        """A context to read an image in, by its name and stamp, and to encode it; `needed` as in `Decoding`."""
        return Decoding(self, image, needed)

    def deaths(self, image: str) -> int:
        """The deaths of a job at which an image was in hand."""
        return self._deaths.get(image, 0)

    def began(self, image: str) -> None:
        self._note("began", image)

    def ended(self, image: str) -> None:
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


class Decoding:
    """A wait for a turn to read and encode one image, and that turn; belongs to one thread.

    Entering waits for `needed` bytes of memory first, if it is known already how many the image takes, and gives
    `begin`.
    """

    __slots__ = ("_began", "_held", "_image", "_needed", "_notes", "_turn")

    def __init__(self, notes: DecodingNotes, image: str, needed: int):
        self._notes = notes
        self._image = image
        self._needed = needed
        self._began = False
        #: The bytes of memory that are held.
        self._held = 0
        self._turn: _Turn | None = None

    def __enter__(self) -> Callable[[int], None]:
        if self._needed:
            self._held = self._notes.budget.take(self._needed)
        self._take_turn()
        return self.begin

    def __exit__(self, *_: object) -> None:
        try:
            if self._began:
                self._notes.ended(self._image)
        finally:  # else no later image of the job would get a turn
            if self._turn is not None:
                self._turn.release()
            if self._held:
                self._notes.budget.give_back(self._held)

    def begin(self, bytes_needed: int = 0) -> None:
        """Call it before the image is decoded, which takes so many bytes; waits for them unless they are held already.

        Raises ItemFailure where they are more than there are, or where the image has killed too many jobs.
        """
        if (deaths := self._notes.deaths(self._image)) >= MAX_DEATHS:
            raise ItemFailure(
                Reason.UNREADABLE_IMAGE,
                f"its job was killed {deaths} times while it was decoded, as by a lack of memory; "
                "`captionqa retry-failed` tries it again",
            )
        self._notes.budget.check(bytes_needed)
        if self._began:
            return
        if not self._needed and bytes_needed >= SMALL_BYTES and self._turn is not None:
            # whoever has a turn waits for no memory, so that no two wait for each other
            turn, self._turn = self._turn, None
            turn.release()
            self._held = self._notes.budget.take(bytes_needed)
            self._take_turn()
        self._began = True
        self._notes.began(self._image)

    def _take_turn(self) -> None:
        turn: _Turn = _TurnAlone() if self._notes.deaths(self._image) else _decoding
        turn.acquire()
        self._turn = turn


class _TurnAlone:
    """A turn while no other image is being decoded."""

    def acquire(self) -> None:
        _alone.acquire()
        for _ in range(CORES):
            _decoding.acquire()

    def release(self) -> None:
        _decoding.release(CORES)
        _alone.release()


_Turn = threading.BoundedSemaphore | _TurnAlone
