"""The verdict at the end of a run: where its time went, what its bottleneck was, and the setting to change."""

from contextlib import suppress
from dataclasses import asdict
from typing import TypedDict

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.driver.bottleneck import Limit, find_bottleneck
from captionqa.driver.load_figures import client_load, server_load
from captionqa.driver.phases import chunk_spans, phase_seconds, phases_line, request_time
from captionqa.files import write_json
from captionqa.run.job_times import TimeSpan, clip, read_job_times
from captionqa.run.run_record import read_run_record
from captionqa.server import endpoint


class Verdict(TypedDict):
    """The verdict file of a run."""

    #: How long the run was.
    seconds: float
    #: {phase: seconds}; they add up to the run.
    phases: dict[str, float]
    #: The fields of `captionqa.driver.phases.RequestTime`.
    asking: dict[str, float]
    #: The fields of `captionqa.driver.load_figures.ServerLoad`; None without samples.
    server: dict[str, float] | None
    #: The fields of `captionqa.driver.load_figures.ClientLoad`.
    clients: dict[str, float]
    #: The fields of `captionqa.driver.bottleneck.Bottleneck`.
    limit: Limit
    evidence: str
    advice: str | None


def run_verdict(config: Config, layout: Layout, run: TimeSpan, planning_s: float) -> str | None:
    """Write the verdict file and return its text for the user; None where the run sent no request.

    `run` is when the run began and ended; its first `planning_s` seconds were planning. Times of jobs on other machines
    are by those machines' clocks.
    """
    jobs, servers = read_job_times(layout.job_times), endpoint.read_all(layout.server)
    chunks = clip(chunk_spans(jobs), run)
    clients = client_load(layout, chunk_spans(jobs))
    if clients is None or not chunks:
        return None
    phases = phase_seconds(run, planning_s, jobs, servers)
    requests, server = request_time(chunks, servers), server_load(layout, chunks)
    record = read_run_record(layout.server)
    slurm = record is not None and record["slurm"] is not None
    bottleneck = find_bottleneck(requests, server, clients, config, slurm)
    verdict: Verdict = {
        "seconds": run[1] - run[0],
        "phases": phases,
        "asking": asdict(requests),
        "server": None if server is None else asdict(server),
        "clients": asdict(clients),
        "limit": bottleneck.limit,
        "evidence": bottleneck.evidence,
        "advice": bottleneck.advice,
    }
    with suppress(OSError):  # a full disk costs the file, not the text
        write_json(layout.verdict, verdict)
    return "\n  ".join(filter(None, (phases_line(phases), bottleneck.evidence, bottleneck.advice)))
