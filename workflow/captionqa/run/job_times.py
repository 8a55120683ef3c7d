"""When the jobs of a run worked, and arithmetic on such time spans."""

import time
from collections.abc import Iterable
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


def record_job_time(folder: Path, job: str, started: float) -> None:
    """Add the span from `started` (seconds since the epoch) until now to the attempts of a job.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / f"{job}.json"
    write_json(path, [*(read_json(path) or []), [started, time.time()]])


def read_job_times(folder: Path) -> dict[str, list[TimeSpan]]:
    """The spans of each job of the run, by the job's name; one span for each attempt."""
    return {path.stem: [(start, end) for start, end in read_json(path) or []] for path in folder.glob("*.json")}
