"""When the jobs of a run worked, and arithmetic on such time spans."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from captionqa.files import read_json, write_json

#: (start, end) in seconds since the epoch.
TimeSpan = tuple[float, float]


def union(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """The same time as sorted spans without overlaps. Spans that are empty or end before they start are dropped."""
    merged: list[TimeSpan] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def minus(spans: Iterable[TimeSpan], others: Iterable[TimeSpan]) -> list[TimeSpan]:
    """The time in `spans` that is in none of the `others`, as sorted spans without overlaps."""
    left = union(spans)
    for start, end in union(others):
        left = [part for span in left for part in ((span[0], min(span[1], start)), (max(span[0], end), span[1]))]
        left = union(left)
    return left


def clip(spans: Iterable[TimeSpan], within: TimeSpan) -> list[TimeSpan]:
    """The time in `spans` that is also in `within`, as sorted spans without overlaps."""
    return union((max(start, within[0]), min(end, within[1])) for start, end in spans)


def seconds(spans: Iterable[TimeSpan]) -> float:
    """The length of spans without overlaps."""
    return sum(end - start for start, end in spans)


def begin_job_time(folder: Path, job: str, started: float) -> None:
    """Note that an attempt of a job began, in seconds since the epoch; it has no end until `record_job_time`.

    Raises:
        OSError: the file cannot be written.
    """
    _write(folder, job, [started, None])


def record_job_time(folder: Path, job: str, started: float) -> None:
    """Add the span from `started` (seconds since the epoch) until now to the attempts of a job.

    Raises:
        OSError: the file cannot be written.
    """
    _write(folder, job, [started, time.time()])


def _write(folder: Path, job: str, attempt: list[float | None]) -> None:
    path = folder / f"{job}.json"
    earlier: list[list[float | None]] = read_json(path) or []
    write_json(path, [*(other for other in earlier if other[0] != attempt[0]), attempt])


def read_job_times(folder: Path, now: float, last_signs: Mapping[str, float]) -> dict[str, list[TimeSpan]]:
    """The spans of each job of the run, by the job's name; one span for each attempt.

    A last attempt without an end runs, or was killed: it ends with the job's last sign of life, or `now` where there is
    none. Earlier attempts without an end are left out.
    """
    spans: dict[str, list[TimeSpan]] = {}
    for path in folder.glob("*.json"):
        attempts: list[tuple[float, float | None]] = read_json(path) or []
        found = [(start, end) for start, end in attempts if end is not None]
        if attempts and attempts[-1][1] is None:
            start = attempts[-1][0]
            found.append((start, max(start, last_signs.get(path.stem, now))))
        spans[path.stem] = found
    return spans
