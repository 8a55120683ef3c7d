"""Phases: what a run's time went to, each second counted once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from captionqa.config.config import TASKS
from captionqa.run.job_times import TimeSpan, clip, minus, seconds, union
from captionqa.run.progress import duration
from captionqa.server.endpoint import Endpoint, State

#: {phase: its name at the end of a run}. Time that fits several phases counts for the first of them.
PHASES = {
    "planning": "planning",
    "queue": "in Slurm's queue",
    "start": "server start",
    "first_client": "until the first client job",
    "asking": "requests",
    "merging": "merging",
    "else": "other",
}
CHUNK_JOBS = tuple(f"{task}_" for task in TASKS)
MERGE_JOBS = ("merge_", "check_failures")


@dataclass(frozen=True)
class RequestTime:
    """The time of requests: from the start of the first chunk job to the end of the last."""

    seconds: float
    #: How much of it no server was healthy.
    without_server_s: float
    #: How much of it no client job ran.
    without_client_s: float


def chunk_spans(jobs: Mapping[str, Sequence[TimeSpan]]) -> list[TimeSpan]:
    """The spans of a run's chunk jobs, by the names of all its jobs."""
    return [span for name, spans in jobs.items() if name.startswith(CHUNK_JOBS) for span in spans]


def phase_seconds(
    run: TimeSpan, planning_s: float, jobs: Mapping[str, Sequence[TimeSpan]], servers: Iterable[Endpoint]
) -> dict[str, float]:
    """{phase: seconds} of a run, which add up to the whole of it.

    The requests go from the start of the first chunk job to the end of the last, whatever is merged meanwhile.
    """
    starts, chunks = jobs.get("start_server", []), chunk_spans(jobs)
    requests = [_whole(chunks)] if chunks else []
    left_queue = _left_queue(servers)
    spans_of = {
        "planning": [(run[0], run[0] + planning_s)],
        "queue": [(start, min(end, left_queue)) for start, end in starts],
        "start": starts,
        "first_client": [(end, requests[0][0]) for _, end in starts if requests],
        "asking": requests,
        "merging": [span for name, spans in jobs.items() if name.startswith(MERGE_JOBS) for span in spans],
        "else": [run],
    }
    phases: dict[str, float] = {}
    taken: list[TimeSpan] = []
    for name, spans in spans_of.items():
        own = minus(clip(spans, run), taken)
        phases[name] = seconds(own)
        taken = union([*taken, *own])
    return phases


def phases_line(phases: Mapping[str, float]) -> str:
    """The phases as one line for the user, rounded so that whole seconds add up to the rounded sum."""
    parts: list[str] = []
    shown, passed = 0, 0.0
    for name, length in phases.items():
        passed += length
        if whole := round(passed) - shown:
            parts.append(f"{duration(whole)} {PHASES[name]}")
        shown += whole
    return f"where {duration(shown)} went: {', '.join(parts)}"


def request_time(job_spans: Sequence[TimeSpan], servers: Iterable[Endpoint]) -> RequestTime:
    """The time of requests by the spans of the chunk jobs, of which there is at least one.

    A server counts as unhealthy only while its state is known.
    """
    whole = _whole(job_spans)
    known, ready = [], []
    for server in servers:
        ends = [*(at for _, at in server.changes[1:]), whole[1]]
        for (state, since), end in zip(server.changes, ends, strict=False):
            known.append((since, end))
            if state == State.READY:
                ready.append((since, end))
    clients = clip(job_spans, whole)
    return RequestTime(seconds([whole]), seconds(minus(clip(known, whole), ready)), seconds(minus([whole], clients)))


def _whole(spans: Sequence[TimeSpan]) -> TimeSpan:
    """From the first start to the last end."""
    return min(start for start, _ in spans), max(end for _, end in spans)


def _left_queue(servers: Iterable[Endpoint]) -> float:
    """When the job of the first healthy server left Slurm's queue, in seconds since the epoch; 0 without such a job."""
    ready = [
        (min(at for state, at in server.changes if state == State.READY), server.changes[0][1])
        for server in servers
        if server.job and any(state == State.READY for state, _ in server.changes)
    ]
    return min(ready)[1] if ready else 0.0
