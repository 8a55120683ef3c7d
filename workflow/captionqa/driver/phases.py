"""Phases: what a run's time went to, each second counted once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import mean
from typing import get_args

from captionqa.config.config import Task
from captionqa.run.job_times import TimeSpan, clip, minus, seconds, union
from captionqa.run.progress import duration
from captionqa.server.client_job_times import ClientJobTimes
from captionqa.server.endpoint import Endpoint, State

#: {phase: its name at the end of a run}. Time that fits several phases counts for the first of them.
PHASES = {
    "planning": "planning",
    "queue": "server in Slurm's queue",
    "start": "server start",
    "client_queue": "clients in Slurm's queue",
    "first_client": "until the first client job",
    "asking": "requests",
    "merging": "merging",
    "exporting": "exports",
    "page": "the page",
    "else": "other",
}
CHUNK_JOBS = tuple(f"{task}_" for task in get_args(Task))
START_JOBS = "start_server"
MERGE_JOBS = ("merge_", "list_items", "check_failures")
EXPORT_JOBS = "export_"
PAGE_JOBS = "page"


@dataclass(frozen=True)
class SlurmTimes:
    """What Slurm had to do in a run, and how long its client jobs waited and ran."""

    #: Whether a server's job was to be submitted.
    server_job: bool
    #: When each of the client jobs waited in the queue; none where Slurm did not say.
    waits: Sequence[TimeSpan]
    #: Their mean wait, in seconds; None without `waits`.
    wait_s: float | None
    #: The mean time from start to end of those that have ended, in seconds; None where there are none.
    ran_s: float | None


@dataclass(frozen=True)
class RequestTime:
    """The time of requests: from the start of the first chunk job to the end of the last."""

    seconds: float
    #: How much of it no server was healthy.
    without_server_s: float
    #: How much of it no client job ran.
    without_client_s: float
    #: How much of that a client job waited in Slurm's queue; None where nobody knows.
    queued_s: float | None = None


def slurm_times(jobs: Sequence[ClientJobTimes], server_job: bool, now: float) -> SlurmTimes:
    """What the times of a run's client jobs show; a job that still waits does so until `now`."""
    waits = [(job.submitted, now if job.started is None else job.started) for job in jobs]
    ran = [job.ended - job.started for job in jobs if job.started is not None and job.ended is not None]
    wait_s = mean(end - start for start, end in waits) if waits else None
    return SlurmTimes(server_job, waits, wait_s, mean(ran) if ran else None)


def chunk_spans(jobs: Mapping[str, Sequence[TimeSpan]]) -> list[TimeSpan]:
    """The spans of a run's chunk jobs, by the names of all its jobs."""
    return [span for name, spans in jobs.items() if name.startswith(CHUNK_JOBS) for span in spans]


def server_starts(jobs: Mapping[str, Sequence[TimeSpan]]) -> list[TimeSpan]:
    """The spans of the starts of a run's servers, the first one first, by the names of all its jobs."""
    return sorted(span for name, spans in jobs.items() if name.startswith(START_JOBS) for span in spans)


def phase_seconds(
    run: TimeSpan,
    planning_s: float,
    jobs: Mapping[str, Sequence[TimeSpan]],
    servers: Iterable[Endpoint],
    slurm: SlurmTimes | None = None,
) -> dict[str, float]:
    """{phase: seconds} of a run, which add up to the whole of it.

    The requests go from the start of the first chunk job to the end of the last, whatever is merged meanwhile. `slurm`
    is None where Slurm does not run the jobs.
    """
    starts, chunks = server_starts(jobs), chunk_spans(jobs)
    requests = [_whole(chunks)] if chunks else []
    waits = [] if slurm is None else slurm.waits
    left_queue = _left_queue(servers, run[1] if slurm is not None and slurm.server_job else 0.0)
    first_client = [(end, requests[0][0] if requests else run[1]) for _, end in starts[:1] if requests or waits]
    spans_of = {
        "planning": [(run[0], run[0] + planning_s)],
        "queue": [(start, min(end, left_queue)) for start, end in starts],
        "start": starts,
        "client_queue": [part for span in first_client for part in clip(waits, span)],
        "first_client": first_client,
        "asking": requests,
        "merging": [span for name, spans in jobs.items() if name.startswith(MERGE_JOBS) for span in spans],
        "exporting": [span for name, spans in jobs.items() if name.startswith(EXPORT_JOBS) for span in spans],
        "page": [span for name, spans in jobs.items() if name.startswith(PAGE_JOBS) for span in spans],
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


def request_time(
    job_spans: Sequence[TimeSpan],
    servers: Iterable[Endpoint],
    slurm: SlurmTimes | None = None,
    starts: Sequence[TimeSpan] = (),
) -> RequestTime:
    """The time of requests by the spans of the chunk jobs, of which there is at least one.

    A server counts as unhealthy only while its state is known and it has not ended: no client waits for one that has,
    and a model that nothing is asked has one of an earlier run. Where no chunk job runs until another of the `starts`
    of servers is over, as where one model follows another, is no time of requests.
    """
    whole = _whole(job_spans)
    gaps = minus([whole], job_spans)
    between = union(
        (gap[0], min(gap[1], end)) for gap in gaps for start, end in starts if start < gap[1] and end > gap[0]
    )
    known, ready = [], []
    for server in servers:
        ends = [*(at for _, at in server.changes[1:]), whole[1]]
        for (state, since), end in zip(server.changes, ends, strict=False):
            if state != State.DEAD:
                known.append((since, end))
            if state == State.READY:
                ready.append((since, end))
    without_client = minus(minus([whole], clip(job_spans, whole)), between)
    return RequestTime(
        seconds=seconds(minus([whole], between)),
        without_server_s=seconds(minus(minus(clip(known, whole), ready), between)),
        without_client_s=seconds(without_client),
        queued_s=None if slurm is None or not slurm.waits else seconds(_both(without_client, slurm.waits)),
    )


def _whole(spans: Sequence[TimeSpan]) -> TimeSpan:
    """From the first start to the last end."""
    return min(start for start, _ in spans), max(end for _, end in spans)


def _both(spans: Sequence[TimeSpan], others: Sequence[TimeSpan]) -> list[TimeSpan]:
    """The time in `spans` that is also in `others`."""
    return minus(spans, minus(spans, others))


def _left_queue(servers: Iterable[Endpoint], never: float) -> float:
    """When the server's job left Slurm's queue, in seconds since the epoch; `never` where no job has.

    Of several servers that of the first healthy one counts, or else the first that left the queue.
    """
    started = [
        (min((at for state, at in server.changes if state == State.READY), default=inf), server.changes[0][1])
        for server in servers
        if server.job and server.changes
    ]
    return min(started)[1] if started else never
