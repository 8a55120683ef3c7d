"""The verdict at the end of a run: where its time went, what the limit was while it asked, and which knob to turn."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.vllm_options import is_given
from captionqa.driver.phases import Asking, asking_time, chunk_spans, phase_seconds, phases_line
from captionqa.files import read_json, write_json
from captionqa.run.job_times import Span, clip, read_job_times, seconds, union
from captionqa.run.progress import duration
from captionqa.run.run_record import read_run_record
from captionqa.server import endpoint, load_log

#: Less asking, or fewer looks at a server, tell nothing.
MIN_ASKING_S, MIN_LOOKS = 30.0, 10
#: From the first share on something is the limit; from the second on it is no longer rare: time without a server or a
#: client explains the rest, and a server whose requests wait so often gains little by more of them.
MOSTLY, OFTEN = 0.5, 0.25
#: Python does hardly more than one core's work in a process, whatever the number of its threads.
BUSY_CORES = 0.8
#: The share of the request slots that have an item in hand where all are taken.
ALL_TAKEN = 0.9
#: Less of what is under way than this in the servers' engines means that it is held up on the way there.
IN_ENGINE = 0.7
CACHE_FULL = 0.95
#: Preemptions for each item asked, from which on the KV cache is too small for what runs at once.
MANY_PREEMPTIONS = 0.05


@dataclass(frozen=True)
class ServerSide:
    """What the supervisors saw of their servers while client jobs ran.

    Of so many looks the shares with requests waiting (`full`), without any request (`idle`), and with a full KV cache
    beside waiting requests (`cache_full`); the mean number of requests in all engines; the preemptions of that time.
    """

    looks: int
    full: float
    idle: float
    cache_full: float
    requests: float
    preemptions: float


@dataclass(frozen=True)
class ClientSide:
    """What the run's client jobs did: how many there were, and on average at a time.

    For a mean job: the cores that it used, its threads with an item in hand (`busy`), and those of them whose item was
    with a server (`asking`). `asked` items in all were not known before.
    """

    jobs: int
    at_a_time: float
    cores: float
    busy: float
    asking: float
    asked: int


@dataclass(frozen=True)
class Judgement:
    """What the limit was, the figures that say so, and what would help, if anything."""

    limit: str
    evidence: str
    advice: str | None = None


def run_verdict(config: Config, layout: Layout, run: Span, planning_s: float) -> str | None:
    """The verdict on a run, for a person, also written to `layout.verdict`; None where it asked for nothing.

    `run` is when it began and ended; its first `planning_s` seconds were planning. Times of jobs on other machines are
    by those machines' clocks.
    """
    jobs, servers = read_job_times(layout.job_times), endpoint.read_all(layout.server)
    chunks = clip(chunk_spans(jobs), run)
    clients = client_side(layout, chunk_spans(jobs))
    if clients is None or not chunks:
        return None
    phases = phase_seconds(run, planning_s, jobs, servers)
    asking, server = asking_time(chunks, servers), server_side(layout, chunks)
    record = read_run_record(layout.server)
    judged = judge(asking, server, clients, config, slurm=record is not None and record["slurm"] is not None)
    figures = {
        "seconds": run[1] - run[0],
        "phases": phases,
        "asking": asdict(asking),
        "server": server and asdict(server),
        "clients": asdict(clients),
    }
    with suppress(OSError):  # on a full disk it is said all the same
        write_json(layout.verdict, figures | asdict(judged))
    return "\n  ".join(filter(None, (phases_line(phases), judged.evidence, judged.advice)))


def server_side(layout: Layout, chunks: Sequence[Span]) -> ServerSide | None:
    """What was seen of the servers during the chunk jobs; None where nobody looked, such as at a server of `url`."""
    looks = full = idle = cache_full = 0
    requests = preemptions = 0.0
    for replica in load_log.read_all(layout.server):
        seen = [look for look in replica if any(start <= look["time"] <= end for start, end in chunks)]
        looks += len(seen)
        full += sum(look["waiting"] > 0 for look in seen)
        idle += sum(look["requests"] == 0 for look in seen)
        cache_full += sum(look["waiting"] > 0 and look["cache_used"] >= CACHE_FULL for look in seen)
        requests += sum(look["requests"] for look in seen) / max(1, len(seen))
        counts = [look["preemptions"] for look in seen]
        # a server that was started again counts from nothing
        preemptions += sum(max(0.0, now - before) for before, now in pairwise(counts))
    if not looks:
        return None
    return ServerSide(looks, full / looks, idle / looks, cache_full / looks, requests, preemptions)


def client_side(layout: Layout, chunks: Sequence[Span]) -> ClientSide | None:
    """The figures of the client jobs of this run, which worked in these spans; None where they asked for nothing."""
    found = [stored for path in layout.progress.glob("*.json") if (stored := read_json(path))]
    asked = sum(stored["done"] - stored["reused"] for stored in found)
    wall_s = sum(stored["wall_s"] for stored in found)
    if not asked or not wall_s or not chunks:
        return None
    cores, own, asking = (sum(stored[key] for stored in found) / wall_s for key in ("cpu_s", "working_s", "asking_s"))
    at_a_time = seconds(chunks) / seconds(union(chunks))
    return ClientSide(len(found), at_a_time, cores, own + asking, asking, asked)


def judge(
    asking: Asking, server: ServerSide | None, clients: ClientSide, config: Config, slurm: bool = False
) -> Judgement:
    """What the limit of a run was while it asked; the strongest reason alone."""
    if asking.seconds < MIN_ASKING_S:
        shortest = duration(MIN_ASKING_S)
        return Judgement("unknown", f"it asked for less than {shortest}: too short to tell what the limit was")
    if server is not None and server.looks < MIN_LOOKS:
        looks = f"{server.looks} looks at the server (server.health_interval_s)"
        return Judgement("unknown", f"{looks} are too few to tell what the limit was")
    slots = config.client.concurrency
    own = 1 - clients.asking / clients.busy if clients.busy else 0.0
    under_way = clients.asking * clients.at_a_time
    if asking.without_server_s >= OFTEN * asking.seconds:
        gone = _part(asking.without_server_s, asking.seconds)
        return Judgement("no_server", f"while asking no server was healthy for {gone}: its log says why")
    if asking.without_client_s >= OFTEN * asking.seconds:
        gone = _part(asking.without_client_s, asking.seconds)
        advice = "their own start takes that long: fewer and larger chunks (captions.chunks, qa.chunks) need fewer"
        if slurm:
            advice = "they waited in Slurm's queue: another slurm_partition under default-resources may be faster"
        return Judgement("no_client", f"while asking no client job ran for {gone}", advice)
    if server is not None and server.full >= MOSTLY:
        return _server_bound(server, clients, config, slurm)
    if clients.cores >= BUSY_CORES:
        return _client_bound(clients, config, slurm)
    if own >= MOSTLY:
        evidence = (
            f"the client jobs' threads spent {_percent(own)} of their time on files, with {clients.cores:.2f} cores at "
            "work in each: the file system is the limit"
        )
        return Judgement("files", evidence, "put the images (dataset_path) and output_dir on a faster one")
    if server is not None and server.requests < IN_ENGINE * under_way:
        evidence = (
            f"of {under_way:.0f} requests under way on average {server.requests:.0f} were in the server's engine: the "
            "others were being sent, or read and prepared in front of it"
        )
        advice = "smaller images (client.images.max_pixels) need less of that, more servers (server.replicas) share it"
        return Judgement("preparing", evidence, advice)
    waited = _waited(server) if server else None
    may_have_room = server is None or server.full < OFTEN
    if slots != "auto" and clients.busy >= ALL_TAKEN * slots and may_have_room:
        evidence = f"all {slots} request slots of the client jobs were taken"
        if server is None:
            advice = "if the server has no requests waiting, raise client.concurrency, or set it to auto"
            return Judgement("server_or_slots", f"{evidence}: the clients waited for the server", advice)
        evidence += f", and {waited}: it could take more"
        return Judgement("slots", evidence, "raise client.concurrency, or set it to auto")
    did = f"each client job used {clients.cores:.2f} cores and had {clients.asking:.0f} requests under way"
    return Judgement("neither", f"{waited or 'what the server had to do is not known'}, {did}: no clear limit")


def _server_bound(server: ServerSide, clients: ClientSide, config: Config, slurm: bool) -> Judgement:
    arguments = config.model.server.extra_args
    evidence = f"while asking, {_waited(server)}"
    if server.cache_full >= OFTEN or server.preemptions >= MANY_PREEMPTIONS * clients.asked:
        evidence += f"; its KV cache was full at {_percent(server.cache_full)} of them"
        evidence += f", and it put off running requests {server.preemptions:.0f} times" if server.preemptions else ""
        evidence += ": the server's memory is the limit"
        if not is_given(arguments, "--gpu-memory-utilization"):
            return Judgement("memory", evidence, "raise --gpu-memory-utilization in server.extra_args")
        knob = "start_server's gpu in the profile" if slurm else "server.tensor_parallel_size"
        return Judgement("memory", evidence, f"more GPUs for each server ({knob})")
    evidence += ": the server is the limit"
    if is_given(arguments, "--max-num-seqs"):
        return Judgement("server", evidence, "a higher --max-num-seqs in server.extra_args may help")
    return Judgement("server", evidence, "more servers (server.replicas) would help, more clients would not")


def _client_bound(clients: ClientSide, config: Config, slurm: bool) -> Judgement:
    evidence = f"each client job used {clients.cores:.2f} cores, and the server had no queue"
    cores = os.cpu_count() or 1
    if not slurm and clients.cores * clients.at_a_time >= BUSY_CORES * cores:
        return Judgement("clients", f"{evidence}: this machine's {cores} cores are the limit")
    evidence += ": the clients are the limit"
    if clients.jobs > clients.at_a_time + 1:
        knob = "jobs" if slurm else "cores"
        return Judgement("clients", evidence, f"let more of them run at a time ({knob} in the profile)")
    knob = " and ".join(f"{task}.chunks" for task in config.tasks)
    return Judgement("clients", evidence, f"cut the work into more chunks ({knob})")


def _waited(server: ServerSide) -> str:
    return f"requests waited in the server's queue at {_percent(server.full)} of {server.looks} looks"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _part(part_s: float, whole_s: float) -> str:
    return f"{duration(part_s)} of {duration(whole_s)}"
