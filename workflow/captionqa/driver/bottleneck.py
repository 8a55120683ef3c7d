"""The bottleneck: what limited a run while it sent requests, the figures that show it, and the setting to change."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from captionqa.config.config import Config
from captionqa.config.vllm_options import is_given
from captionqa.driver.front_end import ApiServers, FrontEnd, front_end_advice
from captionqa.driver.load_figures import ClientLoad, ServerLoad
from captionqa.driver.phases import RequestTime
from captionqa.run.progress import duration

#: Requests that ran for less than this show nothing.
MIN_REQUEST_TIME_S = 30.0
#: Fewer samples of a server than this show nothing.
MIN_SAMPLES = 10
#: At or above this fraction of the time, something is the bottleneck.
MOSTLY = 0.5
#: At or above this fraction of the time, something is common enough to matter.
OFTEN = 0.25
#: A client job that uses this many cores is at its limit: Python does hardly more than one core's work in a process.
BUSY_CORES = 0.8
#: A chunk whose requests take less than this is small: the start of its job takes a good part of that.
SMALL_CHUNK_S = 60.0
#: Where at least this fraction of the request slots is busy, all count as taken.
ALL_TAKEN = 0.9
#: From this many preemptions per request on, the KV cache is too small for the requests that run at once.
MANY_PREEMPTIONS = 0.05

#: The bottleneck in one word.
Limit = Literal[
    "unknown",
    "no_server",
    "no_client",
    "small_chunks",
    "retries",
    "server",
    "memory",
    "clients",
    "files",
    "front_end",
    "slots",
    "server_or_slots",
    "neither",
]


@dataclass(frozen=True)
class Bottleneck:
    """What limited a run, in the words of its verdict."""

    limit: Limit
    #: The figures that show it, for the user.
    evidence: str
    #: What would help, for the user; None where nothing is known to.
    advice: str | None = None


@dataclass(frozen=True)
class JobLengths:
    """Seconds of a client job, on average over a run."""

    #: From its first step to its last; the start of its process comes before.
    working_s: float
    #: In Slurm's queue; None without Slurm, and where Slurm does not tell.
    wait_s: float | None = None
    #: From start to end as Slurm counts, the start of its process included; None like `wait_s`.
    ran_s: float | None = None


@dataclass(frozen=True)
class _Run:
    """All that is known of a run."""

    requests: RequestTime
    server: ServerLoad | None
    clients: ClientLoad
    lengths: JobLengths
    config: Config
    slurm: bool
    api_servers: ApiServers | None

    @property
    def front_end(self) -> FrontEnd | None:
        """None where nobody took samples of the servers."""
        if self.server is None:
            return None
        return FrontEnd.of(self.server, self.clients, self.requests, self.api_servers)


def find_bottleneck(
    requests: RequestTime,
    server: ServerLoad | None,
    clients: ClientLoad,
    lengths: JobLengths,
    config: Config,
    slurm: bool = False,
    api_servers: ApiServers | None = None,
) -> Bottleneck:
    """What limited a run while it sent requests, by the first rule of `_RULES` that applies.

    `server` is None where nobody took samples.
    """
    run = _Run(requests, server, clients, lengths, config, slurm, api_servers)
    return next((limit for rule in _RULES if (limit := rule(run)) is not None), None) or _neither(run)


def _too_little(run: _Run) -> Bottleneck | None:
    """Too little to tell anything by."""
    if run.requests.seconds < MIN_REQUEST_TIME_S:
        shortest = duration(MIN_REQUEST_TIME_S)
        return Bottleneck("unknown", f"requests ran for less than {shortest}, too short to identify the bottleneck")
    if run.server is not None and run.server.looks < MIN_SAMPLES:
        samples = f"{run.server.looks} samples of the server's load (server.health_interval_s)"
        return Bottleneck("unknown", f"{samples} are too few to identify the bottleneck")
    return None


def _no_server(run: _Run) -> Bottleneck | None:
    requests = run.requests
    if requests.without_server_s < OFTEN * requests.seconds:
        return None
    part = _part(requests.without_server_s, requests.seconds)
    return Bottleneck("no_server", f"no server was healthy for {part} of requests: its log says why")


def _no_client(run: _Run) -> Bottleneck | None:
    requests = run.requests
    if requests.without_client_s < OFTEN * requests.seconds:
        return None
    evidence = f"no client job ran for {_part(requests.without_client_s, requests.seconds)} of requests"
    if run.slurm and requests.queued_s is None:
        return Bottleneck("no_client", f"{evidence}, and Slurm did not tell how long they waited in its queue")
    if requests.queued_s is not None and requests.queued_s >= MOSTLY * requests.without_client_s:
        evidence += f": {duration(requests.queued_s)} of that they waited in Slurm's queue"
        advice = "another slurm_partition under default-resources may be faster"
        return Bottleneck("no_client", evidence, advice)
    if run.lengths.working_s < SMALL_CHUNK_S:
        return _too_small(run, f"{evidence}, and ")
    return Bottleneck("no_client", f"{evidence}: Snakemake's log (.snakemake/log) says what it did meanwhile")


def _small_chunks(run: _Run) -> Bottleneck | None:
    """Client jobs that spend most of their time on starting, though some run at any time."""
    lengths = run.lengths
    if lengths.ran_s is None or lengths.working_s >= min(SMALL_CHUNK_S, MOSTLY * lengths.ran_s):
        return None
    return _too_small(run)


def _too_small(run: _Run, evidence: str = "") -> Bottleneck:
    lengths = run.lengths
    evidence += "a client job "
    if lengths.wait_s is not None and lengths.ran_s is not None:
        evidence += f"waited {lengths.wait_s:.1f} s in Slurm's queue, ran {lengths.ran_s:.1f} s, and "
    evidence += f"worked on its chunk for {lengths.working_s:.1f} s, on average: the chunks are too small"
    settings = " and ".join(f"{task}.chunks" for task in run.config.tasks)
    return Bottleneck("small_chunks", evidence, f"fewer and larger chunks ({settings}) start fewer jobs")


def _retries_bound(run: _Run) -> Bottleneck | None:
    """Requests that wait to be sent again, as where a server takes only so many in a minute (HTTP 429)."""
    clients = run.clients
    if not clients.pausing or clients.pausing < MOSTLY * clients.asking:
        return None
    part = _percent(clients.pausing / clients.asking)
    evidence = f"requests spent {part} of their time waiting to be sent again, since the server refused or failed them"
    advice = "the logs of the client jobs say why; with HTTP 429 the server's own limit on the rate is the limit"
    return Bottleneck("retries", evidence, advice)


def _server_bound(run: _Run) -> Bottleneck | None:
    server = run.server
    if server is None or server.full < MOSTLY or (run.front_end is not None and run.front_end.is_limit):
        return None
    arguments = run.config.model.server.extra_args
    evidence = _queued(server)
    if server.cache_full >= OFTEN or server.preemptions >= MANY_PREEMPTIONS * run.clients.asked:
        evidence += f"; its KV cache was full in {_percent(server.cache_full)} of them"
        if server.preemptions:
            evidence += f", and running requests were preempted {server.preemptions:.0f} times"
        evidence += ": the server's memory is the limit"
        if not is_given(arguments, "--gpu-memory-utilization"):
            return Bottleneck("memory", evidence, "raise --gpu-memory-utilization in server.extra_args")
        setting = "start_server's gpu in the profile" if run.slurm else "server.tensor_parallel_size"
        return Bottleneck("memory", evidence, f"more GPUs for each server ({setting})")
    evidence += ": the server is the limit"
    if is_given(arguments, "--max-num-seqs"):
        return Bottleneck("server", evidence, "a higher --max-num-seqs in server.extra_args may help")
    return Bottleneck("server", evidence, "more servers (server.replicas) would help, more clients would not")


def _clients_bound(run: _Run) -> Bottleneck | None:
    clients = run.clients
    if clients.cores < BUSY_CORES:
        return None
    evidence = f"each client job used {clients.cores:.2f} cores, and the server had no queue"
    cores = os.cpu_count() or 1
    if not run.slurm and clients.cores * clients.at_a_time >= BUSY_CORES * cores:
        return Bottleneck("clients", f"{evidence}: this machine's {cores} cores are the limit")
    evidence += ": the clients are the limit"
    if clients.jobs > clients.at_a_time + 1:
        setting = "jobs" if run.slurm else "cores"
        return Bottleneck("clients", evidence, f"let more of them run at a time ({setting} in the profile)")
    settings = " and ".join(f"{task}.chunks" for task in run.config.tasks)
    return Bottleneck("clients", evidence, f"cut the work into more chunks ({settings})")


def _files_bound(run: _Run) -> Bottleneck | None:
    clients = run.clients
    on_files = 1 - clients.asking / clients.busy if clients.busy else 0.0
    if on_files < MOSTLY:
        return None
    evidence = (
        f"the client jobs' threads spent {_percent(on_files)} of their time on files, with {clients.cores:.2f} cores "
        "at work in each: the file system is the limit"
    )
    return Bottleneck("files", evidence, "put the images (dataset_path) and output_dir on a faster file system")


def _front_end_bound(run: _Run) -> Bottleneck | None:
    """Requests that are sent, read or preprocessed, and have not reached the engine."""
    front_end = run.front_end
    if front_end is None or not front_end.is_limit:
        return None
    evidence = f"{front_end.evidence()}: the front end is the limit"
    return Bottleneck("front_end", evidence, front_end_advice(run.api_servers, run.slurm))


def _slots_bound(run: _Run) -> Bottleneck | None:
    """Too few requests in flight, where their number is configured and the server may have room for more."""
    slots, server = run.config.client.concurrency, run.server
    if slots == "auto" or run.clients.busy < ALL_TAKEN * slots:
        return None
    evidence = f"all {slots} request slots of the client jobs were taken"
    if server is None:
        advice = "if the server has no requests waiting, raise client.concurrency, or set it to auto"
        return Bottleneck("server_or_slots", f"{evidence}: the clients waited for the server", advice)
    if server.full >= OFTEN:
        return None
    evidence += f", and {_queued(server)}: it could take more"
    return Bottleneck("slots", evidence, "raise client.concurrency, or set it to auto")


def _neither(run: _Run) -> Bottleneck:
    server, clients = run.server, run.clients
    queued = "the load of the server is not known" if server is None else _queued(server)
    did = f"each client job used {clients.cores:.2f} cores and had {clients.asking:.0f} requests in flight"
    return Bottleneck("neither", f"{queued}, {did}: no clear limit")


#: What may limit a run, the strongest reason first.
_RULES: tuple[Callable[[_Run], Bottleneck | None], ...] = (
    _too_little,
    _no_server,
    _no_client,
    _server_bound,
    _small_chunks,
    _retries_bound,
    _clients_bound,
    _files_bound,
    _front_end_bound,
    _slots_bound,
)


def _queued(server: ServerLoad) -> str:
    return f"requests waited in the server's queue in {_percent(server.full)} of {server.looks} samples"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _part(part_s: float, whole_s: float) -> str:
    return f"{duration(part_s)} of {duration(whole_s)}"
