"""Adaptive concurrency: how many requests a client job keeps in flight, set by the load of its servers.

Where servers publish the length of their queue (vLLM's /metrics), each job keeps about `TARGET_QUEUED` of its requests
in it. Requests leave a queue in the order in which they came, so a job's share of the queue follows from its share of
all requests. All jobs that share servers settle at the same limit without knowing of each other, whatever they began
with. This is the law of TCP Vegas (Brakmo & Peterson 1995) and FAST TCP (Wei, Jin, Low & Hegde 2006). The short queue
is wanted: the next request is at the server, its images read and encoded, before a slot becomes free.

Where there is no queue, or its length is unknown, the limit rises as long as throughput rises with it: doubling at
first (slow start), then in steps.

Requests that are in flight and not in the engine are on their way, or in the server's front end, which preprocesses
one image at a time. Where they are the larger part, the front end may be the limit: a longer queue before it brings
nothing. Then the limit falls in steps as long as throughput does not fall with it, until about `TARGET_QUEUED` requests
are left there. Where throughput does fall, they were on their way, and the limit rises as above. Throughput is that of
all jobs where the servers tell it: a job alone would gain from each step what the others lose. Each job counts its own
requests less all in the engine, which is fewer than it has before it, so none sends too little.

After 429 and timeouts it is multiplied by `DECREASE_FACTOR`. Additive increase with
multiplicative decrease makes shares fair where no queue length is known (Chiu & Jain 1989).
"""

from dataclasses import dataclass, field

from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.server.probe import EngineLoad

#: The value of `client.concurrency` that asks for adaptive concurrency.
AUTO = "auto"
#: The first limit. It fills a fast GPU; a smaller server queues the rest until the first updates.
INITIAL_LIMIT = 64
MIN_LIMIT = 1
MAX_LIMIT = 256
#: Target queue length per job: its requests that wait at the servers.
TARGET_QUEUED = 12.0
#: The fraction of the error in the queue length that one update corrects.
GAIN = 0.5
#: After slow start, where the queue length is known: a step is this fraction of the limit. A queue soon shows
#: that a step was too large.
STEP_FRACTION = 0.5
#: After slow start, where the queue length is unknown: a step is this many requests, but at most doubles the limit.
BLIND_STEP = 8.0
#: Keep a higher limit only if throughput rose by at least this fraction of the ideal gain.
WORTHWHILE_FRACTION = 0.25
#: Measure throughput until the noise of the count of answers is this many times smaller than the ideal gain.
SIGNAL_TO_NOISE = 6.0
#: Where the queue length is unknown, also measure over at least this many bursts of answers.
BLIND_BURSTS = 4
#: A job that never fills this fraction of its limit is itself the bottleneck; a higher limit would not help.
USED_FRACTION = 0.75
#: Where at least this fraction of a job's requests is before the engine, the front end may be the limit.
FRONT_FRACTION = 0.5
#: What was found of the front end holds for this long.
FRONT_HOLDS_S = 300.0
#: The limit is multiplied by this when a server was too busy for a request.
DECREASE_FACTOR = 0.7
#: After a decrease, or a step that brought nothing, no step is tried for this long.
HOLD_S = 30.0


def initial_limit(concurrency: int | str) -> int:
    """The first limit on requests in flight, by the setting `client.concurrency`."""
    return INITIAL_LIMIT if concurrency == AUTO else int(concurrency)


def max_limit(concurrency: int | str) -> int:
    """The highest limit on requests in flight that the setting `client.concurrency` allows."""
    return MAX_LIMIT if concurrency == AUTO else int(concurrency)


@dataclass(frozen=True)
class _Step:
    """A step that has yet to prove its worth."""

    #: The limit before it.
    limit: float
    #: Answers per second at that limit, of all jobs where the servers tell.
    rate: float


@dataclass
class _Measurement:
    """A measurement of throughput."""

    began: float
    #: Until it began: answers to the job, and all that the servers gave, 0 where they do not tell.
    answered: int
    finished: float
    #: The job's requests that were before the engine, at each look.
    before_engine: list[float] = field(default_factory=list)

    @property
    def mean_before_engine(self) -> float:
        """To import the package `statistics` for this would be felt at the start of each chunk job."""
        return sum(self.before_engine) / len(self.before_engine)


class AdaptiveLimit:
    """The control law: sets the limit of a limiter by the requests that passed it and by the servers' load.

    Used by the tuner's thread. Only `ConcurrencyTuner.finish` resizes the limiter from another thread.
    """

    def __init__(self, limiter: InFlightLimiter):
        self._limiter = limiter
        #: The limit before it is rounded.
        self._limit = float(limiter.limit)
        self._in_slow_start = True
        self._step: _Step | None = None
        self._measurement: _Measurement | None = None
        self._hold_until = float("-inf")
        #: Until then a longer queue before the engine is known to bring nothing.
        self._front_is_limit_until = float("-inf")
        #: Until then a shorter one is known to cost throughput.
        self._front_is_needed_until = float("-inf")
        self._overloads = 0
        #: Until this many requests are finished, overloads are of requests that were sent before the last decrease.
        self._ignore_overloads_until = 0
        #: Measure once this many requests are finished: the ones before may have been sent under another limit.
        self._measure_from = limiter.finished + limiter.in_flight

    def update(self, now: float, load: EngineLoad | None) -> None:
        """Set the limit anew; to be called about once a second.

        `now` is in seconds by a monotonic clock. `load` is that of all healthy servers together, or None where they
        publish none.
        """
        limiter = self._limiter
        used, limiter.peak = limiter.peak >= USED_FRACTION * limiter.limit, limiter.in_flight
        before_engine = 0.0 if load is None else max(0.0, limiter.in_flight - load.requests)
        if self._decrease(now):
            pass
        elif load is not None and load.waiting >= 1 and not self._is_held_up(load, before_engine):
            self._follow_queue(now, load, before_engine, used)
        elif used:
            self._experiment(now, before_engine, load)
        elif self._step and self._step.limit < self._limit and limiter.finished >= self._measure_from + self._limit:
            # the threads that the step added had the time to send requests, and did not
            self._step_back(now, self._step.limit)
        else:
            self._measurement = None
        self._limit = min(max(self._limit, MIN_LIMIT), MAX_LIMIT)
        if round(self._limit) != limiter.limit:
            limiter.resize(round(self._limit))

    def _decrease(self, now: float) -> bool:
        """Whether a server was too busy for requests; lowers the limit, unless they were sent before it last fell."""
        limiter = self._limiter
        overloads, self._overloads = limiter.overloads - self._overloads, limiter.overloads
        if not overloads:
            return False
        if limiter.finished >= self._ignore_overloads_until:
            self._step_back(now, DECREASE_FACTOR * self._limit)
            self._ignore_overloads_until = limiter.finished + limiter.in_flight
        return True

    def _follow_queue(self, now: float, load: EngineLoad, before_engine: float, used: bool) -> None:
        """Bring the job's share of the queue nearer to its target."""
        self._restart_measuring()
        in_flight = self._limiter.in_flight
        surplus = self._queued(load) - TARGET_QUEUED
        if surplus < 0:  # those before the engine will lengthen its queue
            surplus = min(0.0, surplus + before_engine)
        # requests above the limit are already ending, which shortens the queue without a lower limit
        too_many = surplus > 0 and in_flight <= self._limiter.limit
        too_few = surplus < 0 and used and now >= self._hold_until
        if too_many or too_few:
            self._limit -= GAIN * surplus
        self._in_slow_start = False

    def _queued(self, load: EngineLoad) -> float:
        """The job's share of the engine's queue."""
        return min(self._limiter.in_flight, load.requests) * load.waiting / load.requests

    def _is_held_up(self, load: EngineLoad, before_engine: float) -> bool:
        """Whether what would lengthen the engine's short queue is in the front end already."""
        queued = self._queued(load)
        return queued < TARGET_QUEUED <= queued + before_engine

    def _experiment(self, now: float, before_engine: float, load: EngineLoad | None) -> None:
        """Take a step once the throughput without it is known; take it back if it was not worth it."""
        limiter, measurement, finished = self._limiter, self._measurement, 0.0 if load is None else load.finished
        if limiter.finished < self._measure_from:
            return
        if measurement is None or finished < measurement.finished:  # or a server began anew
            self._measurement = _Measurement(now, limiter.answered, finished)
            return
        measurement.before_engine.append(before_engine)
        step_size = self._step_size(now, measurement, queue_known=load is not None)
        own = limiter.answered - measurement.answered
        answered = max(own, finished - measurement.finished)
        share = own / answered if own else 1.0
        # the noise of a count is its square root; answers come in bursts of up to the limit
        signal = share * (abs(step_size) or STEP_FRACTION * self._limit) / self._limit
        if own < self._limit * (1 if load is not None else BLIND_BURSTS) or answered < (SIGNAL_TO_NOISE / signal) ** 2:
            return
        rate, step = answered / (now - measurement.began), self._step
        if step and rate < step.rate * (1 + WORTHWHILE_FRACTION * share * (self._limit / step.limit - 1)):
            self._learn(now, step, measurement)
            self._step_back(now, step.limit)
            return
        if step and self._limit < step.limit:
            self._front_is_limit_until, self._in_slow_start = now + FRONT_HOLDS_S, False
            step_size = self._step_size(now, measurement, queue_known=load is not None)
        self._restart_measuring()
        if step_size < 0 or (step_size > 0 and now >= self._hold_until):
            self._step = _Step(self._limit, rate)
            self._limit += step_size

    def _step_size(self, now: float, measurement: _Measurement, queue_known: bool) -> float:
        """By how much to change the limit next; 0 where the front end is the limit and has a queue."""
        before_engine = measurement.mean_before_engine
        is_long = before_engine > 2 * TARGET_QUEUED and before_engine >= FRONT_FRACTION * self._limit
        if is_long and now >= self._front_is_needed_until:
            return -min(before_engine - TARGET_QUEUED, STEP_FRACTION * self._limit)
        if now < self._front_is_limit_until and before_engine >= TARGET_QUEUED / 2:
            return 0.0
        if self._in_slow_start:
            return self._limit
        return STEP_FRACTION * self._limit if queue_known else min(BLIND_STEP, self._limit)

    def _learn(self, now: float, step: _Step, measurement: _Measurement) -> None:
        """Remember why a step was not worth it, where the front end was the reason."""
        if self._limit < step.limit:
            self._front_is_needed_until = now + FRONT_HOLDS_S
        elif measurement.mean_before_engine >= TARGET_QUEUED / 2:
            self._front_is_limit_until = now + FRONT_HOLDS_S

    def _step_back(self, now: float, limit: float) -> None:
        self._restart_measuring()
        self._limit, self._in_slow_start, self._hold_until = limit, False, now + HOLD_S

    def _restart_measuring(self) -> None:
        """Forget the step and its measurement; the next one begins when the requests in flight are finished."""
        self._step, self._measurement = None, None
        self._measure_from = self._limiter.finished + self._limiter.in_flight
