"""Progress: each chunk job counts its items in a log line and a small file; the driver adds these files up."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypedDict

from captionqa.files import read_json, write_json
from captionqa.run.thread_time import ThreadTime, TimeRecord

#: Seconds between two progress lines in a job's log.
LOG_INTERVAL_S = 10.0
#: Seconds between two writes of a job's progress file.
FILE_INTERVAL_S = 2.0

#: What became of an item: where its answer came from, or that it has none.
Outcome = Literal["answered", "shared", "reused", "failed"]

log = logging.getLogger(__name__)


class Totals(TypedDict):
    """Numbers of items, summed over the chunk jobs of a run."""

    #: Items with an answer or a named failure.
    done: int
    #: Of these: failed in this run.
    failed: int
    #: Of these: answered by an earlier run.
    reused: int
    #: Of these: given the answer of another item with the same request.
    shared: int


class ProgressRecord(Totals, TimeRecord):
    """The progress file of one chunk job."""

    #: All items of the chunk.
    total: int


class Progress:
    """Counts the items of one chunk. Call `report` often: it writes and logs at its own intervals."""

    def __init__(self, path: Path, total: int, clock: Callable[[], float] = time.monotonic):
        self._path = path
        self._clock = clock
        self._started_at = self._logged_at = self._written_at = clock()
        self.thread_time = ThreadTime(clock)
        self.total = total
        self.answered = self.shared = self.failed = self.reused = 0

    @property
    def done(self) -> int:
        return self.answered + self.shared + self.failed + self.reused

    def request_s(self) -> float:
        """The mean time of a request in seconds; before the first answer the time since the start."""
        if not self.answered:
            return self._clock() - self._started_at
        return self.thread_time.record()["asking_s"] / self.answered

    def count(self, outcome: Outcome) -> None:
        """Count one more item of the chunk as done."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def report(self, last: bool = False) -> None:
        """Write the progress file and log the progress line where it is time to, or at once for the `last` report."""
        now = self._clock()
        if last or now - self._written_at >= FILE_INTERVAL_S:
            self._written_at = now
            with suppress(OSError):  # a full disk that only this file hits must not stop the job
                write_json(self._path, self._record())
        if last or now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            log.info("%s", self.line())

    def line(self) -> str:
        return progress_line(self._totals(), self.total, self._clock() - self._started_at)

    def _totals(self) -> Totals:
        return {"done": self.done, "failed": self.failed, "reused": self.reused, "shared": self.shared}

    def _record(self) -> ProgressRecord:
        return {"total": self.total, **self._totals(), **self.thread_time.record()}


def answered_items(counts: Totals) -> int:
    """How many items a server has answered in this run."""
    return counts["done"] - counts["reused"] - counts["shared"] - counts["failed"]


def progress_line(counts: Totals, total: int, seconds: float) -> str:
    """Progress as one line for a person. The rate leaves out the items that an earlier run answered."""
    done, reused, failed, shared = counts["done"], counts["reused"], counts["failed"], counts["shared"]
    percent = 100 * done / total if total else 100.0
    text = f"{done:,}/{total:,} items ({percent:.0f} %)"
    fresh = done - reused
    if fresh and seconds > 0:
        rate = fresh / seconds
        text += f", {rate:.1f} items/s"
        if done < total:
            text += f", {duration((total - done) / rate)} left"
    if reused:
        text += f", {reused:,} already answered"
    if shared:
        text += f", {shared:,} {'duplicate' if shared == 1 else 'duplicates'} (answer shared)"
    if failed:
        text += f", {failed:,} failed"
    return text


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 5 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(number: int, what: str) -> str:
    """A number of things as a person says it: 1 image, 1,200 images."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def read_progress(folder: Path, task: str = "") -> list[ProgressRecord]:
    """The progress files of a run's chunk jobs, or of one task's, without those that cannot be read."""
    return [record for path in folder.glob(f"{task}*.json") if (record := read_json(path))]


def progress_written(folder: Path) -> dict[str, float]:
    """{chunk job: when it last wrote its progress file, in seconds since the epoch}."""
    return {path.stem: path.stat().st_mtime for path in folder.glob("*.json")}


def totals(folder: Path, task: str = "") -> Totals:
    """The sums over all progress files of a run, or of one task."""
    records = read_progress(folder, task)
    return {
        "done": sum(record["done"] for record in records),
        "failed": sum(record["failed"] for record in records),
        "reused": sum(record["reused"] for record in records),
        "shared": sum(record["shared"] for record in records),
    }
