"""The verdict at the end of a run: where its time went, what its bottleneck was, and the setting to change."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import mean
from typing import TypedDict

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.driver.bottleneck import MIN_REQUEST_TIME_S, JobLengths, Limit, find_bottleneck
from captionqa.driver.front_end import ApiServers
from captionqa.driver.load_figures import client_load, server_load
from captionqa.driver.measured_rates import keep_rate
from captionqa.driver.phases import (
    chunk_spans,
    phase_seconds,
    phases_line,
    request_time,
    server_starts,
    slurm_times,
)
from captionqa.files import write_json
from captionqa.run.job_times import TimeSpan, clip, read_job_times
from captionqa.run.progress import progress_written
from captionqa.run.run_record import read_run_record, server_layouts
from captionqa.server import endpoint
from captionqa.server.client_job_times import ClientJobTimes


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
    #: The fields of `captionqa.driver.bottleneck.JobLengths`.
    jobs: dict[str, float | None]
    #: The fields of `captionqa.driver.bottleneck.Bottleneck`.
    limit: Limit
    evidence: str
    advice: str | None


def run_verdict(
    config: Config, layout: Layout, run: TimeSpan, planning_s: float, slurm_jobs: Sequence[ClientJobTimes] | None
) -> str | None:
    """Write the verdict file and return its text for the user. The run may have failed or been interrupted.

    `run` is when the run began and ended; its first `planning_s` seconds were planning. `slurm_jobs` are the run's
    client jobs; None where Slurm does not run them. Times of jobs on other machines are by those machines' clocks.

    Returns:
        None where the run needed no server; the phases alone, and no file, where it sent no request.
    """
    jobs = read_job_times(layout.job_times, run[1], progress_written(layout.progress))
    layouts = server_layouts(layout)
    if not layouts:
        return None
    servers = [server for each in layouts for server in endpoint.read_all(each.server)]
    slurm = None if slurm_jobs is None else slurm_times(slurm_jobs, any(map(_has_server_job, layouts)), run[1])
    phases = phase_seconds(run, planning_s, jobs, servers, slurm)
    chunks = clip(chunk_spans(jobs), run)
    clients = client_load(layout, chunk_spans(jobs))
    if clients is None or not chunks:
        return phases_line(phases)
    requests = request_time(chunks, servers, slurm, server_starts(jobs))
    server = server_load(layouts, chunks)
    working_s = mean(end - start for start, end in chunk_spans(jobs))
    lengths = JobLengths(working_s, slurm.wait_s, slurm.ran_s) if slurm is not None else JobLengths(working_s)
    at_once = layouts if config.servers == "side_by_side" else layouts[:1]
    api_servers = ApiServers.of(server for each in at_once for server in endpoint.read_all(each.server))
    bottleneck = find_bottleneck(requests, server, clients, lengths, config, slurm is not None, api_servers)
    verdict: Verdict = {
        "seconds": run[1] - run[0],
        "phases": phases,
        "asking": asdict(requests),
        "server": None if server is None else asdict(server),
        "clients": asdict(clients),
        "jobs": asdict(lengths),
        "limit": bottleneck.limit,
        "evidence": bottleneck.evidence,
        "advice": bottleneck.advice,
    }
    if [each.model for each in layouts] == [config.model_name]:  # else it is no rate of one model
        keep_rate(config, servers, server, clients, requests)
    with suppress(OSError):  # a full disk costs the file, not the text
        write_json(layout.verdict, verdict)
    if requests.seconds < MIN_REQUEST_TIME_S:  # too short for a bottleneck
        return phases_line(phases)
    return "\n  ".join(filter(None, (phases_line(phases), bottleneck.evidence, bottleneck.advice)))


def _has_server_job(layout: Layout) -> bool:
    """Whether a server's job of the layout's model was to be submitted to Slurm."""
    record = read_run_record(layout.server)
    return record is not None and "options" in (record["slurm"] or {})
