"""Load figures: how busy the servers and the client jobs of a run were, from the files that they left."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from captionqa.config.layout import Layout
from captionqa.run.job_times import TimeSpan, clip, seconds, union
from captionqa.run.progress import answered_items, read_progress
from captionqa.server import load_log
from captionqa.server.load_log import LoadRecord

#: From this fraction on a KV cache counts as full.
CACHE_FULL = 0.95


@dataclass(frozen=True)
class ServerLoad:
    """What the supervisors saw of their servers while client jobs ran, over all their samples."""

    #: How many samples there are.
    looks: int
    #: The fraction of samples in which requests waited in the server's queue.
    full: float
    #: The fraction of samples in which the server had no request.
    idle: float
    #: The fraction of samples in which requests waited and the KV cache was full.
    cache_full: float
    #: The mean number of requests in the engines of all servers together, over the time for which there are samples.
    requests: float
    #: Of these, the mean number that waited.
    waiting: float
    #: How often a running request was preempted.
    preemptions: float
    #: Tokens of prompts and answers per second, of all servers together.
    tokens_per_s: float


@dataclass(frozen=True)
class ClientLoad:
    """What the client jobs of a run did."""

    #: How many jobs there were.
    jobs: int
    #: How many of them ran at the same time, on average.
    at_a_time: float
    #: The processor cores that a job used, on average.
    cores: float
    #: The threads of a job that had an item in hand, on average.
    busy: float
    #: Of the busy threads, those whose item was with a server, or waited for one.
    asking: float
    #: Of these, the ones whose item waited: to be sent again, or for a server.
    pausing: float
    #: The items of all jobs that were not answered before the run.
    asked: int
    #: Of these, the ones that a server answered: without failures, and without those that share another's answer.
    answered: int


def server_load(layouts: Iterable[Layout], job_spans: Sequence[TimeSpan]) -> ServerLoad | None:
    """The load of the servers of these models while the chunk jobs ran.

    None without samples, as for an existing server (`url`).
    """
    samples = full = idle = cache_full = 0
    requests = waiting = preemptions = tokens_per_s = 0.0
    replicas = chain.from_iterable(load_log.read_all(layout.server) for layout in layouts)
    seen = [found for replica in replicas if (found := [*_during(replica, job_spans)])]
    spans = [clip(job_spans, (during[0]["time"], during[-1]["time"])) for during in seen]
    whole_s = seconds(union(chain.from_iterable(spans)))
    for during, span in zip(seen, spans, strict=True):
        # servers of models that follow one another are not there all the time
        share = seconds(span) / whole_s if whole_s else 1.0
        samples += len(during)
        full += sum(sample["waiting"] > 0 for sample in during)
        idle += sum(sample["requests"] == 0 for sample in during)
        cache_full += sum(sample["waiting"] > 0 and sample["cache_used"] >= CACHE_FULL for sample in during)
        requests += share * sum(sample["requests"] for sample in during) / len(during)
        waiting += share * sum(sample["waiting"] for sample in during) / len(during)
        counts = [sample["preemptions"] for sample in during]
        # the counter of a restarted server begins at 0 again
        preemptions += sum(max(0.0, now - before) for before, now in pairwise(counts))
        tokens = sum(max(0.0, now["tokens"] - before["tokens"]) for before, now in pairwise(during))
        tokens_per_s += tokens / max(1.0, during[-1]["time"] - during[0]["time"])
    if not samples:
        return None
    return ServerLoad(
        samples, full / samples, idle / samples, cache_full / samples, requests, waiting, preemptions, tokens_per_s
    )


def _during(replica: Iterable[LoadRecord], job_spans: Sequence[TimeSpan]) -> Iterator[LoadRecord]:
    return (sample for sample in replica if any(start <= sample["time"] <= end for start, end in job_spans))


def client_load(layout: Layout, job_spans: Sequence[TimeSpan]) -> ClientLoad | None:
    """The load of the run's client jobs, which worked in these spans; None where they sent no request."""
    jobs = read_progress(layout.progress)
    asked = sum(job["done"] - job["reused"] for job in jobs)
    wall_s = sum(job["wall_s"] for job in jobs)
    if not asked or not wall_s or not job_spans:
        return None
    cores = sum(job["cpu_s"] for job in jobs) / wall_s
    working = sum(job["working_s"] for job in jobs) / wall_s
    asking = sum(job["asking_s"] for job in jobs) / wall_s
    at_a_time = seconds(job_spans) / seconds(union(job_spans))
    pausing = sum(job.get("pausing_s", 0.0) for job in jobs) / wall_s
    answered = sum(map(answered_items, jobs))
    return ClientLoad(len(jobs), at_a_time, cores, working + asking, asking, pausing, asked, answered)
