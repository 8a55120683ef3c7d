"""Concurrency that finds its own level: how many requests a client job keeps in flight, by what its servers say.

Where servers tell the length of their queue (vLLM's /metrics), each job keeps about `WANTED_WAITING` of its requests in
it. Requests leave a queue in the order they came, so a job's part of it follows from its part of all requests, and
all jobs that share servers settle at the same level without knowing of each other, whatever they began with: this is
the law of TCP Vegas (Brakmo & Peterson 1995) and FAST TCP (Wei, Jin, Low & Hegde 2006). The short queue is wanted: the
next request is at the server, its images read and encoded, before a slot becomes free.

Where there is no queue, or no telling, the level climbs as long as answers per second grow by it: doubling first, in
steps later. On 429 and timeouts it is cut by a share. Adding and cutting so makes shares fair where no queue is told
(Chiu & Jain 1989).
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass

from captionqa.client.in_flight_limit import Gate
from captionqa.client.server_pool import Pool
from captionqa.errors import RunStoppedError, ServerDeadError
from captionqa.server.probe import Probe, ServerLoad

AUTO = "auto"
#: What fills a fast GPU; a server that can take less queues the rest until the first looks.
START, LEAST, MOST = 64, 1, 256
LOOK_S = 1.0
#: The requests of a job that are to wait at its servers, and the share of what is amiss that a look sets right.
WANTED_WAITING, GAIN = 12.0, 0.5
#: Later steps: a share of the level where a queue would soon show that it is too much, else a number, at most twofold.
STEP_SHARE, STEP = 0.5, 8.0
#: A step is kept where answers per second grew by this share of what it would bring at best; they are counted until
#: chance is a small part of that, over so many bursts of answers where no queue would show a mistake.
WORTH, NOISE, BURSTS = 0.25, 6.0, 4
#: A job that has never so much of its level in flight is held up by itself: more of the same would be no help.
USED = 0.75
#: What is left of the level when a server had no time for requests.
CUT = 0.7
#: After that, or a step that was for nothing, none is tried for so long.
HOLD_S = 30.0
#: A server without vLLM's metrics is looked at so seldom.
NO_METRICS_S = 30.0
#: Changes of the level by less than this factor, or sooner, are not worth a line in the log.
NEWS_FACTOR, NEWS_S = 1.5, 30.0

log = logging.getLogger(__name__)


def first(concurrency: int | str) -> int:
    """The requests in flight to begin with by the setting `client.concurrency`."""
    return START if concurrency == AUTO else int(concurrency)


def most(concurrency: int | str) -> int:
    """The most requests in flight that the setting `client.concurrency` allows."""
    return MOST if concurrency == AUTO else int(concurrency)


@dataclass(frozen=True)
class _Trial:
    """A step upwards that has to prove its worth: from which level, and the answers per second there."""

    level: float
    rate: float


@dataclass(frozen=True)
class _Window:
    """When answers began to be counted, and how many had come until then."""

    began: float
    answered: int


class Level:
    """The law; sets the limit of a gate by what went through it and by the servers' load."""

    def __init__(self, gate: Gate):
        self._gate = gate
        self._level = float(gate.limit)
        self._quick = True
        self._trial: _Trial | None = None
        self._hold_until = float("-inf")
        self._overloads = self._deaf_until = 0
        self._restart()

    def look(self, now: float, load: ServerLoad | None) -> None:
        """`load` is that of all healthy servers together, None where they do not tell."""
        gate = self._gate
        used, gate.peak = gate.peak >= USED * gate.limit, gate.in_flight
        queued = load is not None and load.waiting >= 1
        if self._fall_back(now):
            pass
        elif queued:
            # what is above the limit already is on its way out, and has to be seen first
            self._restart()
            surplus = gate.in_flight * load.waiting / load.requests - WANTED_WAITING
            lower = surplus > 0 and gate.in_flight <= gate.limit
            if lower or (surplus < 0 and used and now >= self._hold_until):
                self._level -= GAIN * surplus
            self._quick = False
        elif used:
            self._climb(now, told=load is not None)
        elif self._trial and gate.left >= self._settled_at + self._level:  # its threads had the time to begin
            self._step_back(now, self._trial.level)
        else:
            self._window = None
        self._level = min(max(self._level, LEAST), MOST)
        if round(self._level) != gate.limit:
            gate.resize(round(self._level))

    def _fall_back(self, now: float) -> bool:
        """Whether the server had no time for requests; those sent before the last change count for that one."""
        overloads, self._overloads = self._gate.overloads - self._overloads, self._gate.overloads
        if not overloads:
            return False
        if self._gate.left >= self._deaf_until:
            self._step_back(now, CUT * self._level)
            self._deaf_until = self._gate.left + self._gate.in_flight
        return True

    def _climb(self, now: float, told: bool) -> None:
        """Try a step once it is known how many answers per second come without it; take back one that brought none."""
        gate = self._gate
        if gate.left < self._settled_at:
            return
        if self._window is None:
            self._window = _Window(now, gate.answered)
            return
        step = self._level if self._quick else STEP_SHARE * self._level if told else min(STEP, self._level)
        answered, seconds = gate.answered - self._window.answered, now - self._window.began
        # a count of n varies by its root; answers come in bursts of up to a level's number
        if answered < max(self._level * (1 if told else BURSTS), (NOISE * self._level / step) ** 2):
            return
        rate = answered / seconds
        trial = self._trial
        if trial and rate < trial.rate * (1 + WORTH * (self._level / trial.level - 1)):
            self._step_back(now, trial.level)
        elif now >= self._hold_until:
            self._restart()
            self._trial = _Trial(self._level, rate)
            self._level += step
        else:
            self._restart()

    def _step_back(self, now: float, level: float) -> None:
        self._restart()
        self._level, self._quick, self._hold_until = level, False, now + HOLD_S

    def _restart(self) -> None:
        """Measure anew, once the requests that are under way are over."""
        self._trial, self._window = None, None
        self._settled_at = self._gate.left + self._gate.in_flight


class Tuner:
    """Looks at the servers of a pool and sets the limit of its gate, in a thread of its own, until the pool stops."""

    def __init__(self, gate: Gate, pool: Pool, read_key: Callable[[], str | None], trust_env: bool):
        """`read_key` gives the servers' key as it is now; `trust_env` is as for `Probe`."""
        self._gate = gate
        self._pool = pool
        self._read_key = read_key
        self._trust_env = trust_env
        self._probes: dict[tuple[str, str | None], Probe] = {}
        self._next_look: dict[str, float] = {}
        self._finishing = threading.Event()
        #: The limit that it came to.
        self.found = gate.limit

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="concurrency").start()

    def finish(self) -> None:
        """Let the last items be sent as soon as they are ready, as many as at the start: no share of a later queue is
        lost by it, and the last job of a server does not end with its slots half empty."""
        self._finishing.set()
        if not self._gate.overloads:
            self._gate.resize(max(self._gate.limit, START))

    def _run(self) -> None:
        level = Level(self._gate)
        told, next_news = self._gate.limit, 0.0
        with suppress(RunStoppedError, ServerDeadError):  # which the threads that ask find too
            while True:
                self._pool.pause(LOOK_S)
                load = self.load()
                if self._finishing.is_set():
                    return
                level.look(time.monotonic(), load)
                self.found = limit = self._gate.limit
                now = time.monotonic()
                if max(limit, told) >= NEWS_FACTOR * min(limit, told) and now >= next_news:
                    log.info("requests in flight: %d at most, after %d", limit, told)
                    told, next_news = limit, now + NEWS_S

    def load(self) -> ServerLoad | None:
        """What all healthy servers that tell their load have together."""
        loads = [load for url in self._pool.urls() if (load := self._load_of(url))]
        if not loads:
            return None
        return ServerLoad(*(sum(values) for values in zip(*map(astuple, loads), strict=True)))

    def _load_of(self, url: str) -> ServerLoad | None:
        if time.monotonic() < self._next_look.get(url, 0.0):
            return None
        with suppress(OSError):  # of a flickering file system
            mark = url, self._read_key()
            if mark not in self._probes:
                self._probes[mark] = Probe(*mark, self._trust_env)
            if load := self._probes[mark].load():
                return load
        self._next_look[url] = time.monotonic() + NO_METRICS_S
        return None
