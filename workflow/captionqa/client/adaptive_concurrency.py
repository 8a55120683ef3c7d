"""Adaptive concurrency: how many requests a client job keeps in flight, set by the load of its servers.

Where servers publish the length of their queue (vLLM's /metrics), each job keeps about `TARGET_QUEUED` of its requests
in it. Requests leave a queue in the order in which they came, so a job's share of the queue follows from its share of
all requests. All jobs that share servers settle at the same limit without knowing of each other, whatever they began
with. This is the law of TCP Vegas (Brakmo & Peterson 1995) and FAST TCP (Wei, Jin, Low & Hegde 2006). The short queue
is wanted: the next request is at the server, its images read and encoded, before a slot becomes free.

Where there is no queue, or its length is unknown, the limit rises as long as throughput rises with it: doubling at
first (slow start), then in steps. After 429 and timeouts it is multiplied by `DECREASE_FACTOR`. Additive increase with
multiplicative decrease makes shares fair where no queue length is known (Chiu & Jain 1989).
"""

from dataclasses import dataclass

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
    """A step upwards that has yet to prove its worth."""

    #: The limit before it.
    limit: float
    #: Answers per second at that limit.
    rate: float


@dataclass(frozen=True)
class _Measurement:
    """The start of a measurement of throughput."""

    began: float
    #: Answers until then.
    answered: int


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
        if self._decrease(now):
            pass
        elif load is not None and load.waiting >= 1:
            self._follow_queue(now, load, used)
        elif used:
            self._climb(now, queue_known=load is not None)
        elif self._step and limiter.finished >= self._measure_from + self._limit:
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

    def _follow_queue(self, now: float, load: EngineLoad, used: bool) -> None:
        """Bring the job's share of the queue nearer to its target."""
        self._restart_measuring()
        in_flight = self._limiter.in_flight
        surplus = in_flight * load.waiting / load.requests - TARGET_QUEUED
        # requests above the limit are already ending, which shortens the queue without a lower limit
        too_many = surplus > 0 and in_flight <= self._limiter.limit
        too_few = surplus < 0 and used and now >= self._hold_until
        if too_many or too_few:
            self._limit -= GAIN * surplus
        self._in_slow_start = False

    def _climb(self, now: float, queue_known: bool) -> None:
        """Take a step once the throughput without it is known; take it back if it brought too little."""
        limiter = self._limiter
        if limiter.finished < self._measure_from:
            return
        if self._measurement is None:
            self._measurement = _Measurement(now, limiter.answered)
            return
        if self._in_slow_start:
            step_size = self._limit
        else:
            step_size = STEP_FRACTION * self._limit if queue_known else min(BLIND_STEP, self._limit)
        answered = limiter.answered - self._measurement.answered
        # the noise of a count is its square root; answers come in bursts of up to the limit
        enough_for_signal = (SIGNAL_TO_NOISE * self._limit / step_size) ** 2
        if answered < max(self._limit * (1 if queue_known else BLIND_BURSTS), enough_for_signal):
            return
        rate = answered / (now - self._measurement.began)
        step = self._step
        if step and rate < step.rate * (1 + WORTHWHILE_FRACTION * (self._limit / step.limit - 1)):
            self._step_back(now, step.limit)
        elif now >= self._hold_until:
            self._restart_measuring()
            self._step = _Step(self._limit, rate)
            self._limit += step_size
        else:
            self._restart_measuring()

    def _step_back(self, now: float, limit: float) -> None:
        self._restart_measuring()
        self._limit, self._in_slow_start, self._hold_until = limit, False, now + HOLD_S

    def _restart_measuring(self) -> None:
        """Forget the step and its measurement; the next one begins when the requests in flight are finished."""
        self._step, self._measurement = None, None
        self._measure_from = self._limiter.finished + self._limiter.in_flight
