"""Spans of time: when the jobs of a run worked, and how such spans add up where they overlap."""

import time
from collections.abc import Iterable
from pathlib import Path

from captionqa.files import read_json, write_json

#: From when to when, in seconds since the epoch.
Span = tuple[float, float]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that do not overlap, in their order; empty and backward ones are dropped."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def minus(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """The time of the spans that is in none of the others."""
    left = union(spans)
    for start, end in union(others):
        left = [part for span in left for part in ((span[0], min(span[1], start)), (max(span[0], end), span[1]))]
        left = union(left)
    return left


def clip(spans: Iterable[Span], within: Span) -> list[Span]:
    return union((max(start, within[0]), min(end, within[1])) for start, end in spans)


def seconds(spans: Iterable[Span]) -> float:
    """How long spans are that do not overlap."""
    return sum(end - start for start, end in spans)


def note_job(folder: Path, name: str, started: float) -> None:
    """Keep when a job of the run worked, until now, beside its tries before; raises OSError."""
    path = folder / f"{name}.json"
    write_json(path, [*(read_json(path) or []), [started, time.time()]])


def job_spans(folder: Path) -> dict[str, list[Span]]:
    """When the jobs of the run worked, by their names."""
    return {path.stem: [(start, end) for start, end in read_json(path) or []] for path in folder.glob("*.json")}
