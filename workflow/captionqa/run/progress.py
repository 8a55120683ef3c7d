"""Progress: a chunk counts its items into a log line and a small file; the driver adds the files up into one line."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from captionqa.files import read_json, write_json
from captionqa.run.thread_time import Effort

LOG_INTERVAL_S = 10.0
FILE_INTERVAL_S = 2.0

log = logging.getLogger(__name__)


class Progress:
    """Counts the items of one chunk; call `beat` now and then."""

    def __init__(self, path: Path, total: int, clock: Callable[[], float] = time.monotonic):
        self._path = path
        self._clock = clock
        self._started = self._logged = self._written = clock()
        self.effort = Effort(clock)
        self.total = total
        self.answered = self.shared = self.failed = self.reused = 0

    @property
    def done(self) -> int:
        return self.answered + self.shared + self.failed + self.reused

    def beat(self, last: bool = False) -> None:
        now = self._clock()
        if last or now - self._written >= FILE_INTERVAL_S:
            self._written = now
            counts = {name: getattr(self, name) for name in ("total", "done", "failed", "reused", "shared")}
            with suppress(OSError):  # a full disk under this file alone is no reason to stop
                write_json(self._path, counts | self.effort.figures())
        if last or now - self._logged >= LOG_INTERVAL_S:
            self._logged = now
            log.info("%s", self.line())

    def line(self) -> str:
        seconds = self._clock() - self._started
        return progress_line(self.done, self.total, self.reused, self.failed, seconds, self.shared)


def progress_line(done: int, total: int, reused: int, failed: int, seconds: float, shared: int = 0) -> str:
    """One line a person can follow; the rate counts only what was not known before."""
    share = 100 * done / total if total else 100.0
    text = f"{done:,}/{total:,} items ({share:.0f} %)"
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


def totals(folder: Path) -> dict[str, int]:
    """The sums over the progress files of a run's chunks."""
    sums = {"done": 0, "failed": 0, "reused": 0, "shared": 0}
    for file in folder.glob("*.json"):
        counts = read_json(file) or {}
        for key in sums:
            sums[key] += counts.get(key, 0)
    return sums
