"""The front end of the servers: how many requests of a run were in it, and what would make it faster.

A request that a client has sent and that is not in vLLM's engine, neither running nor waiting, is on its way or in the
server's front end, where each API server preprocesses images in one thread. vLLM does not count these, so they are what
the clients had in flight less what the engines had.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from captionqa.config.vllm_options import api_server_count, engines_and_gpus
from captionqa.driver.load_figures import ClientLoad, ServerLoad
from captionqa.driver.phases import RequestTime
from captionqa.server.chosen_options import CORES_PER_API_SERVER, MOST_API_SERVERS, engine_cores
from captionqa.server.endpoint import Endpoint

#: Where less than this fraction of the requests in flight is in the servers' engines, what comes before is the limit.
IN_ENGINE = 0.7
#: With fewer requests than this before the engine, for each API server, none waits behind another for most of the time.
QUEUED = 2
#: As long as fewer than this fraction of those before the engine wait in it, it takes each as it comes.
WAITING = 0.1


@dataclass(frozen=True)
class ApiServers:
    """The API servers of a run, by what its servers published."""

    #: Of each server, and how many servers there are.
    each: int
    servers: int
    #: The cores of a server's job; None where an earlier version started it.
    cores: int | None
    #: Those of them that its engines take.
    engine_cores: int = 1

    @classmethod
    def of(cls, servers: Iterable[Endpoint]) -> Self | None:
        """None where captionqa started no server."""
        started = [server for server in servers if server.argv]
        if not started:
            return None
        argv = started[0].argv
        engines, gpus = engines_and_gpus(argv)
        return cls(api_server_count(argv), len(started), started[0].cores, engine_cores(gpus, engines))

    def fitting(self, slurm: bool) -> int:
        """How many API servers the cores of a server's job hold beside its engines; without Slurm clients take half."""
        cores = 0 if self.cores is None else self.cores if slurm else self.cores // 2
        return min((cores - self.engine_cores) // CORES_PER_API_SERVER, MOST_API_SERVERS)


@dataclass(frozen=True)
class FrontEnd:
    """The requests of a run that were before the servers' engines, on average."""

    #: In flight, in the engines, and of these waiting there.
    in_flight: float
    in_engine: float
    waiting: float
    #: Answers per second.
    rate: float
    #: The API servers of all servers together; None where captionqa started none.
    api_servers: int | None

    @classmethod
    def of(cls, server: ServerLoad, clients: ClientLoad, requests: RequestTime, api_servers: ApiServers | None) -> Self:
        seconds = requests.seconds - requests.without_server_s - requests.without_client_s
        rate = clients.answered / max(1.0, seconds)
        count = None if api_servers is None else api_servers.each * api_servers.servers
        return cls((clients.asking - clients.pausing) * clients.at_a_time, server.requests, server.waiting, rate, count)

    @property
    def before_engine(self) -> float:
        return self.in_flight - self.in_engine

    @property
    def is_limit(self) -> bool:
        """Whether most that was asked for had not reached the engines, which had nothing to put off.

        With few requests for each API server more of them may be faster.
        """
        are_before = self.in_engine < IN_ENGINE * self.in_flight and self.waiting < WAITING * self.before_engine
        return are_before and self.before_engine >= QUEUED * (self.api_servers or 1) and self.rate > 0

    def evidence(self) -> str:
        text = (
            f"of {self.in_flight:.0f} requests in flight on average {self.in_engine:.0f} were in the server's engine, "
            f"where {self.waiting:.1f} waited: the others were on their way or in its front end, for "
            f"{self.before_engine / self.rate:.1f} of the {self.in_flight / self.rate:.1f} s that a request took"
        )
        if (count := self.api_servers) is None:
            return text
        whose = "1 API server" if count == 1 else f"{count} API servers"
        return f"{text}; {whose} took {self.rate:.1f} a second, {1000 * count / self.rate:.0f} ms for each"


def front_end_advice(api_servers: ApiServers | None, slurm: bool) -> str:
    """What would make the front end faster, the first that is possible first."""
    smaller = "smaller images (a preset of client.images.max_pixels) take less of it"
    shared = "more servers (server.replicas) share it"
    if api_servers is None:
        return f"{smaller}, {shared}"
    fitting = api_servers.fitting(slurm)
    if fitting > api_servers.each:
        return f"server.api_servers: {fitting} fits the {api_servers.cores} cores of the server's job; {smaller}"
    if slurm:
        cores = "" if api_servers.cores is None else f" than {api_servers.cores}"
        return f"more cores{cores} for the server's job (start_server's cpus_per_task) hold more API servers; {smaller}"
    return f"{smaller}, {shared}"
