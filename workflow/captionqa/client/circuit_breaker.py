"""The circuit breaker of one server: open while the server answers nothing, so that an outage spends no attempts."""

from collections import deque

#: How many of the last attempts count: the circuit opens when more than WINDOW / 2 of them failed.
WINDOW = 16
#: The longest pause between two trials.
MAX_PAUSE_S = 60.0


class CircuitBreaker:
    """Counts the outcomes of the attempts on one server, by a monotonic clock in seconds.

    While the circuit is open, the server gets nothing but single trials. The pauses between them double from
    `first_pause_s` up to a minute. The first trial that is answered closes the circuit.

    Not safe to share between threads: the server pool guards it by its own lock.
    """

    def __init__(self, first_pause_s: float):
        self.is_open = False
        #: The last failure that opened the circuit or kept it open.
        self.reason = ""
        self._first_pause_s = first_pause_s
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)
        self._answered_at = float("-inf")
        self._pause_s = min(MAX_PAUSE_S, first_pause_s)
        self._on_trial = False
        self._next_trial = float("-inf")

    def record_answer(self, now: float) -> None:
        self._answered_at = now
        self._outcomes.append(True)

    def answered_since(self, then: float) -> bool:
        return self._answered_at >= then

    def record_failure(self, reason: str) -> bool:
        """Count a failed attempt; returns whether it opens the circuit."""
        self._outcomes.append(False)
        return 2 * self._outcomes.count(False) > WINDOW and self.trip(reason)

    def trip(self, reason: str) -> bool:
        """Open the circuit, so that a trial shows whether the server still answers; False if it was open before."""
        if self.is_open:
            return False
        self.is_open, self.reason, self._next_trial = True, reason, float("-inf")
        self._pause_s = min(MAX_PAUSE_S, self._first_pause_s)
        return True

    def claim_trial(self, now: float) -> bool:
        """Whether the caller has to make a trial now. Nobody else gets one until the caller records its outcome."""
        if not self.is_open or self._on_trial or now < self._next_trial:
            return False
        self._on_trial = True
        return True

    def record_trial(self, failure: str | None, now: float) -> None:
        """End a trial; `failure` is None if it was answered."""
        self._on_trial = False
        if failure is None:
            self.is_open = False
            self._answered_at = now
            self._outcomes.clear()
        else:
            self.reason = failure
            self._next_trial = now + self._pause_s
            self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)
