"""The journal: every answer as it comes, in append-only files that outlive failed jobs.

The range of all places is cut into a fixed number of segments, one file each, whatever the number of chunks: a chunk
opens the segments that its items fall into, so changing the number of chunks loses nothing. A segment has one writer
at a time: it is locked (the kernel lets go when the writer dies) from the first of its items to the last.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from captionqa.config.answer_files import journal_segment
from captionqa.dataset.places import HASH_BITS
from captionqa.files import full_disk_named, json_line, read_json_lines

SEGMENT_BITS = 10


def segment(place: int) -> int:
    """The segment that a place falls into."""
    return place >> (HASH_BITS - SEGMENT_BITS)


class Segment:
    """One locked segment: what it holds for a fingerprint, and a place to append to.

    `answers` has the newest line of each item; `crashes` the lines of items that were under way as a server crashed.

    `wait` is called between tries while another writer holds the lock; it may raise to give up.
    """

    def __init__(self, folder: Path, index: int, fingerprint: str, wait: Callable[[], None]):
        self._path = journal_segment(folder, index)
        self._fingerprint = fingerprint
        with full_disk_named(self._path.parent):
            try:
                self._file = self._open()
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = self._open()
        try:
            self._lock(wait)
            is_empty = not self._mend_torn_end()
            self.answers: dict[str, dict[str, Any]] = {}
            self.crashes: dict[str, list[dict[str, Any]]] = {}
            for line in () if is_empty else read_lines(self._path):
                if line["fingerprint"] == fingerprint and "crashed" in line:
                    self.crashes.setdefault(line["id"], []).append(line)
                elif line["fingerprint"] == fingerprint:
                    self.answers[line["id"]] = line
        except BaseException:
            os.close(self._file)
            raise

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line; it is in the kernel's hands when this returns, so killing the process loses nothing.

        Raises DiskFullError, and then nothing of the line is left behind.
        """
        self._write(json_line({"fingerprint": self._fingerprint, **line}).encode())

    def close(self) -> None:
        """Let go of the lock; a late append fails instead of going to whatever file has the descriptor by then.

        Raises DiskFullError where a file system finds out only now.
        """
        file, self._file = self._file, -1
        with full_disk_named(self._path.parent):
            os.close(file)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def _lock(self, wait: Callable[[], None]) -> None:
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                wait()

    def _mend_torn_end(self) -> int:
        """End a line that a killed writer left open, so that the next one is not glued to it; returns the size in bytes
        before."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")
        return size

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            with full_disk_named(self._path.parent):
                while data:
                    data = data[os.write(self._file, data) :]
        except OSError:
            os.ftruncate(self._file, size)  # the next line must not be glued to half of this one
            raise


class OpenSegment:
    """A segment of the journal, and of the fallback's where there is one, that closes when its last item is done."""

    def __init__(self, journal: Segment, fallback: Segment | None, items: int):
        self.journal = journal
        self.fallback = fallback
        self.left = items

    def item_done(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.close()

    def close(self) -> None:
        self.journal.close()
        if self.fallback is not None:
            self.fallback.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of one segment, oldest first."""
    for line in read_json_lines(path):
        if isinstance(line, dict) and "id" in line and "fingerprint" in line:
            yield line
