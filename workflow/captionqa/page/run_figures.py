"""A run's figures on its page: where the time went, answers per second, and the load of the servers."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TypedDict

from captionqa.client.chunk_result import ChunkHeader, read_chunk
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import planned_files
from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.run.job_times import TimeSpan
from captionqa.server import load_log

#: Points of a line.
POINTS = 120
#: Chunks with a longer pause between them are of different runs.
PAUSE_S = 600.0
#: The most chunk results whose headers are read.
MAX_HEADERS = 4096


class Plot(TypedDict):
    """Lines over time."""

    title: str
    #: Of the values.
    unit: str
    #: Seconds since the epoch.
    start: float
    end: float
    #: {what a line shows: its values at equal steps from start to end; None where nobody knows}.
    lines: dict[str, list[float | None]]


class RunFigures(TypedDict):
    """The figures of the last run that sent requests."""

    #: {phase: seconds}, by the names that the end of a run uses; None until the run has ended.
    phases: dict[str, float] | None
    #: What limited the run, and what would help, in sentences.
    verdict: list[str]
    plots: list[Plot]


def run_figures(config: Config, layout: Layout, phase_names: Mapping[str, str] | None = None) -> RunFigures:
    """The figures, of all data sets of the configuration.

    With `phase_names`, as at the end of a run, also where its time went, by the stored verdict.
    """
    headers = _last_run(list(_headers(config, layout)))
    plots = [_answers_plot(headers)] if headers else []
    span = (min(h["started"] for h in headers), max(h["finished"] for h in headers)) if headers else None
    plots += _load_plots(layout.of_models(config.model_names), span)
    stored = read_json(layout.verdict) if phase_names is not None else None
    if stored is None or phase_names is None:
        return {"phases": None, "verdict": [], "plots": plots}
    phases = {phase_names.get(phase, phase): seconds for phase, seconds in stored["phases"].items() if seconds >= 0.5}
    verdict = [text for text in (stored["evidence"], stored["advice"]) if text]
    return {"phases": phases, "verdict": verdict, "plots": plots}


def _headers(config: Config, layout: Layout) -> Iterator[ChunkHeader]:
    paths = [
        path
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
        for file in planned_files(each, of_model)
        for path in file.results(each, of_model)
        if os.path.exists(path)
    ]
    for path in paths[:MAX_HEADERS]:
        try:
            yield read_chunk(path)[0]
        except (ResultError, OSError):  # whoever needs its lines says so
            continue


def _last_run(headers: list[ChunkHeader]) -> list[ChunkHeader]:
    """The chunks of the last run that asked, by their times: those before a pause are of earlier runs."""
    headers = sorted((h for h in headers if h.get("asked", 1)), key=lambda header: header["finished"], reverse=True)
    kept: list[ChunkHeader] = []
    begun = 0.0
    for header in headers:
        if kept and header["finished"] < begun - PAUSE_S:
            break
        begun = min(begun, header["started"]) if kept else header["started"]
        kept.append(header)
    return kept


def _answers_plot(headers: Sequence[ChunkHeader]) -> Plot:
    """Answers per second: those of a chunk are spread evenly over its job."""
    start, end = min(h["started"] for h in headers), max(h["finished"] for h in headers)
    step = max((end - start) / POINTS, 1e-3)
    rates = [0.0] * POINTS
    for header in headers:
        answers = header.get("asked", header["items"])
        length = max(header["finished"] - header["started"], step)
        for point in range(POINTS):
            begin = start + point * step
            overlap = min(begin + step, header["started"] + length) - max(begin, header["started"])
            rates[point] += answers / length * max(0.0, overlap) / step
    return {"title": "Answers", "unit": "per second", "start": start, "end": end, "lines": {"answers": list(rates)}}


def _load_plots(layouts: Sequence[Layout], span: TimeSpan | None) -> list[Plot]:
    """The requests and the tokens of all servers together; none without samples, as for an existing server (`url`)."""
    replicas = []
    for records in chain.from_iterable(load_log.read_all(layout.server) for layout in layouts):
        samples = [record for record in records if span is None or span[0] <= record["time"] <= span[1]]
        if len(samples) > 1:
            replicas.append(samples)
    if not replicas:
        return []
    start = min(samples[0]["time"] for samples in replicas) if span is None else span[0]
    end = max(samples[-1]["time"] for samples in replicas) if span is None else span[1]
    points = max(2, min(POINTS, max(map(len, replicas)) - 1))

    def line(values: Iterable[Iterable[tuple[float, float]]]) -> list[float | None]:
        return _sum([_binned(each, start, end, points) for each in values])

    running = line([(s["time"], s["requests"] - s["waiting"]) for s in samples] for samples in replicas)
    waiting = line([(s["time"], s["waiting"]) for s in samples] for samples in replicas)
    tokens = line(map(_token_rates, replicas))
    return [
        {
            "title": "Requests",
            "unit": "at the servers",
            "start": start,
            "end": end,
            "lines": {"run": running, "wait": waiting},
        },
        {"title": "Tokens", "unit": "per second", "start": start, "end": end, "lines": {"read and generated": tokens}},
    ]


def _token_rates(samples: Sequence[load_log.LoadRecord]) -> Iterator[tuple[float, float]]:
    for before, now in pairwise(samples):
        if now["time"] > before["time"]:
            # the counter of a restarted server begins at 0 again
            yield now["time"], max(0.0, now["tokens"] - before["tokens"]) / (now["time"] - before["time"])


def _binned(values: Iterable[tuple[float, float]], start: float, end: float, points: int) -> list[float | None]:
    """The mean of the values in each of equal parts of the time; None for a part without one."""
    parts: list[list[float]] = [[] for _ in range(points)]
    for at, value in values:
        parts[min(points - 1, int((at - start) / max(end - start, 1e-3) * points))].append(value)
    return [sum(part) / len(part) if part else None for part in parts]


def _sum(lines: Sequence[list[float | None]]) -> list[float | None]:
    sums: list[float | None] = []
    for values in zip(*lines, strict=True):
        there = [value for value in values if value is not None]
        sums.append(sum(there) if there else None)
    return sums


def page_data(layout: Layout) -> Path:
    """The folder of the page's data."""
    return Path(layout.page).parent / "data"
