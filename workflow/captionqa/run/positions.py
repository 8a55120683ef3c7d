"""Positions: how far the chunk jobs of a run are in the order of the images, each in a small file that the others read.

A file is written in place: network file systems show that sooner than a renamed one, and its checksum tells a torn
read. Whether a job still moves is judged by the reader's own clock, as with the lease.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from captionqa.files import checked_line, not_through_link, read_checked_lines

#: All records have this length, so that a shorter one leaves nothing of the one before.
RECORD_BYTES = 256
#: Seconds between two looks for the files of jobs that began meanwhile.
NEW_JOBS_S = 0.2
#: Seconds between two looks at a job on other images, of which it is only asked whether it moves.
OTHER_IMAGES_S = 1.0

#: An image by its segment of the journal, and how many of the job's images in that segment come before it: the order in
#: which every job goes through its images.
ImageKey = tuple[int, int]


class PositionRecord(TypedDict):
    """The file of one chunk job."""

    #: The chunk's number and the number of all.
    chunk: str
    #: The next image that it sends.
    key: list[int]
    #: How many images it lets itself be ahead of others; None while it does not know how large they are.
    window: int | None


@dataclass(frozen=True)
class Position:
    """Where another job is."""

    #: The job's name.
    job: str
    chunk: str
    key: ImageKey
    window: int | None
    #: Whether its chunk may have images of the reader's chunk.
    is_beside: bool


class PositionFile:
    """The writer's side."""

    def __init__(self, path: Path, chunk: str):
        self._path = path
        self.chunk = chunk

    def write(self, key: ImageKey, window: int | None) -> None:
        """Tell the others; where the disk is full they go on without."""
        record: PositionRecord = {"chunk": self.chunk, "key": list(key), "window": window}
        with suppress(OSError):
            # closed each time: a network file system then shows it to whoever opens the file next
            file = self._open()
            try:
                os.pwrite(file, checked_line(record).encode().ljust(RECORD_BYTES), 0)
            finally:
                os.close(file)

    def remove(self) -> None:
        """The job is over: nobody waits for it."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT
        try:
            return not_through_link(os.fspath(self._path), flags)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return not_through_link(os.fspath(self._path), flags)


class PositionWatch:
    """The readers' side: where the other jobs are, and for how long each has stood still."""

    def __init__(self, own: Path, chunk: str, clock: Callable[[], float] = time.monotonic):
        """`own` is the file of the job that reads, of a chunk of this name; the others are beside it."""
        self._own = own
        self._chunk = chunk
        self._clock = clock
        self._files: list[Path] = []
        self._looked_s = -NEW_JOBS_S
        #: {file: (its key, when that was first seen)}
        self._seen: dict[Path, tuple[ImageKey, float]] = {}
        #: {file of a job on other images: (its record, when that was read)}
        self._apart: dict[Path, tuple[PositionRecord, float]] = {}

    def read(self) -> Iterator[tuple[Position, float]]:
        """(position, seconds for which it has stood still) of each other job that has not ended."""
        now = self._clock()
        if now - self._looked_s >= NEW_JOBS_S:
            self._looked_s = now
            with suppress(OSError):  # of a flickering file system; what was seen last holds until the next time
                self._files = [path for path in self._own.parent.glob("*.json") if path != self._own]
        for path in self._files:
            record = self._record(path, now)
            if record is None:
                continue
            segment, index = record["key"]
            key = (segment, index)
            if path not in self._seen or self._seen[path][0] != key:
                self._seen[path] = (key, now)
            yield (
                Position(path.stem, record["chunk"], key, record["window"], path not in self._apart),
                now - self._seen[path][1],
            )

    def _record(self, path: Path, now: float) -> PositionRecord | None:
        """A job's record, for a while the one that was read before if the job is on other images."""
        known = self._apart.get(path)
        if known is not None and now - known[1] < OTHER_IMAGES_S:
            return known[0]
        record = _read(path)
        if record is not None and not _overlap(record["chunk"], self._chunk):
            self._apart[path] = record, now
        else:
            self._apart.pop(path, None)
        return record


def _overlap(chunk: str, other: str) -> bool:
    """Whether two chunks, each by its number and the number of all, have a part of the range of places in common."""
    (a, of_a), (b, of_b) = (map(int, name.split("-of-")) for name in (chunk, other))
    return a * of_b < (b + 1) * of_a and b * of_a < (a + 1) * of_b


def _read(path: Path) -> PositionRecord | None:
    """The record in a file; None where the job has ended or the file is just being written."""
    with suppress(OSError):
        for line, is_checked in read_checked_lines(path):
            return line if line is not None and is_checked else None  # type: ignore[return-value]  # of this shape
    return None
