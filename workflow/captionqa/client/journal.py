"""The journal: every answer as it comes, in append-only files that outlive failed jobs.

The hash range of all items is cut into a fixed number of segments, one file each, whatever the number of chunks. A
chunk opens the segments that its items fall into, so a changed number of chunks loses nothing. A segment has one
writer at a time. Its lock is held from the first of its items to the last; the kernel releases it when the writer dies.
Where the file system has no locks, two chunks may write to a segment at the same time.

Each line ends with a checksum, so that a damaged line is never taken for an answer: its item is asked again. Lines of
earlier versions have none; of these, only those count that have the form of a journal line.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypedDict

from captionqa.client.answer import Answer, is_answer
from captionqa.config.answer_files import journal_segment
from captionqa.dataset.places import HASH_BITS, SEGMENT_BITS
from captionqa.files import checked_line, full_disk_named, not_through_link, read_checked_lines
from captionqa.run.file_lock import Lock, try_lock

#: An image file as a request had it: name, [size, modification time in ns] if it had these, digest of its content.
#: JSON makes it a list.
FileMark = tuple[str, list[int] | None, str]

log = logging.getLogger(__name__)


class ItemMark(TypedDict):
    """What identifies the request of an item."""

    id: str
    #: The digest of the request's texts.
    prompt: str
    files: list[FileMark]


class JournalOutcome(TypedDict, total=False):
    """What became of a request: an answer, or a server that crashed while it was in flight."""

    answer: Answer
    #: The item whose request was identical and whose answer this is.
    same_as: str
    #: Which server crashed.
    crashed: str


class JournalLine(ItemMark, JournalOutcome):
    """One line of the journal."""

    #: Of the settings that decide the answer.
    fingerprint: str
    #: When it was written, in seconds since the epoch.
    time: float


#: All members that a line can have.
MEMBERS = JournalLine.__required_keys__ | JournalLine.__optional_keys__


def segment_of(place: int) -> int:
    """The segment that a place in the hash range falls into."""
    return place >> (HASH_BITS - SEGMENT_BITS)


class JournalSegment:
    """One locked segment: what it holds for a fingerprint, and a place to append to; safe to share between threads.

    `_lock` guards the file: one thread at a time appends a line or closes it.
    """

    def __init__(self, folder: Path, index: int, fingerprint: str, wait: Callable[[], None]):
        """`wait` is called between tries while another writer holds the lock; it may raise to give up."""
        #: {item: its newest answer}
        self.answers: dict[str, JournalLine] = {}
        #: {item: the crashes of a server during its request}
        self.crashes: dict[str, list[JournalLine]] = {}
        self._path = journal_segment(folder, index)
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        with full_disk_named(self._path.parent):
            try:
                self._file = self._open()
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = self._open()
        try:
            self._lock_file(wait)
            if self._mend_torn_end():
                self._read_lines()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, line: Mapping[str, object]) -> None:
        """Add one line. The kernel has it when this returns, so killing the process loses nothing.

        Raises DiskFullError, and then nothing of the line is left behind (without locks: no more than a torn line).
        """
        data = checked_line({"fingerprint": self._fingerprint, **line}).encode()
        with self._lock:
            self._write(data)

    def close(self) -> None:
        """Release the lock. A late append fails instead of going to whatever file has the descriptor by then.

        Raises DiskFullError where a file system finds out only now.
        """
        with self._lock:
            file, self._file = self._file, -1
            with full_disk_named(self._path.parent):
                os.close(file)

    def _open(self) -> int:
        return not_through_link(os.fspath(self._path), os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def _lock_file(self, wait: Callable[[], None]) -> None:
        while (lock := try_lock(self._file, fcntl.LOCK_EX)) is Lock.BUSY:
            wait()
        self._is_locked = lock is Lock.TAKEN
        if not self._is_locked:
            _warn_of_missing_locks()

    def _mend_torn_end(self) -> int:
        """End a line that a killed writer left open, so that the next one is not glued to it.

        Returns the size in bytes before.
        """
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")
        return size

    def _read_lines(self) -> None:
        damaged: list[int] = []
        for line in read_lines(self._path, damaged.append):
            if line["fingerprint"] != self._fingerprint:
                continue
            if "crashed" in line:
                self.crashes.setdefault(line["id"], []).append(line)
            else:
                self.answers[line["id"]] = line
        if damaged:
            log.warning(
                "%s: %d damaged lines are passed over, the first is line %d; an item whose answer was there is asked "
                "again.",
                self._path,
                len(damaged),
                damaged[0],
            )

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            with full_disk_named(self._path.parent):
                while data:
                    data = data[os.write(self._file, data) :]
        except OSError:
            if self._is_locked:  # else another chunk may have written behind this part
                os.ftruncate(self._file, size)  # the next line must not be glued to a part of this one
            raise


class SegmentJournals:
    """One segment of the journal and, where there is a letter fallback, of the fallback's own journal.

    Both close when the last of the chunk's items in the segment is finished. Not safe to share between threads: the
    chunk's run guards them by its own lock.
    """

    def __init__(self, main: JournalSegment, fallback: JournalSegment | None, items: int):
        self.main = main
        self.fallback = fallback
        #: Items of the chunk in this segment that have no outcome yet.
        self.unfinished = items

    def finish_item(self) -> None:
        self.unfinished -= 1
        if self.unfinished == 0:
            self.close()

    def close(self) -> None:
        self.main.close()
        if self.fallback is not None:
            self.fallback.close()


def read_lines(path: Path, report_damage: Callable[[int], object] = lambda number: None) -> Iterator[JournalLine]:
    """The sound lines of one segment, oldest first; `report_damage` is given the number, from 1, of each other line."""
    for number, (line, is_checked) in enumerate(read_checked_lines(path), 1):
        if line is None or not (is_checked or _is_sound(line)):
            report_damage(number)
        else:
            yield line  # type: ignore[misc]  # JSON of this form has this shape


def _is_sound(line: dict[str, object]) -> bool:
    """Whether a line without a checksum has the form of a journal line, and not a damaged checksum."""
    files = line.get("files")
    return (
        line.keys() <= MEMBERS
        and all(isinstance(line.get(name), str) for name in ("id", "prompt", "fingerprint"))
        and isinstance(files, list)
        and all(map(_is_file_mark, files))
        and (isinstance(line["crashed"], str) if "crashed" in line else is_answer(line.get("answer")))
        and isinstance(line.get("same_as", ""), str)
    )


def _is_file_mark(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and isinstance(value[2], str)


@cache  # once per job
def _warn_of_missing_locks() -> None:
    log.warning(
        "the file system of the output folder has no locks (flock), so the journal goes on without: two jobs that have "
        "the same items at the same time may both ask for them."
    )
