"""The circuit of one server: open while it answers nothing, so that no item spends its attempts on an outage."""

from collections import deque

#: So many attempts are looked at; more than half of them failed opens the circuit.
WINDOW = 16
MAX_PAUSE_S = 60.0


class Circuit:
    """Counts what became of the attempts on one server. Times are those of one monotonic clock, in seconds.

    While it is open the server is sent nothing but a trial now and then, after pauses that double from `first_pause_s`
    up to a minute; the first one that is answered closes it. Whoever shares it has to guard it by a lock.
    """

    def __init__(self, first_pause_s: float):
        self._first_pause_s = first_pause_s
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)
        self._answered_at = float("-inf")
        self._pause_s = min(MAX_PAUSE_S, first_pause_s)
        self._on_trial = False
        self._next_trial = float("-inf")
        self.open = False
        self.reason = ""

    def answered(self, now: float) -> None:
        self._answered_at = now
        self._outcomes.append(True)

    def answered_since(self, then: float) -> bool:
        return self._answered_at >= then

    def failed(self, reason: str) -> bool:
        """Note an attempt that failed; returns whether the circuit opens by it."""
        self._outcomes.append(False)
        return 2 * self._outcomes.count(False) > WINDOW and self.doubt(reason)

    def doubt(self, reason: str) -> bool:
        """Open it, so that a trial tells whether the server still answers; returns False where it was open before."""
        if self.open:
            return False
        self.open, self.reason, self._next_trial = True, reason, float("-inf")
        self._pause_s = min(MAX_PAUSE_S, self._first_pause_s)
        return True

    def claim_trial(self, now: float) -> bool:
        """Whether the caller has to make a trial now; nobody else is told so until it has said how it ended."""
        if not self.open or self._on_trial or now < self._next_trial:
            return False
        self._on_trial = True
        return True

    def tried(self, complaint: str | None, now: float) -> None:
        """Note how a trial ended: None for an answer, else what was wrong."""
        self._on_trial = False
        if complaint is None:
            self.open = False
            self._answered_at = now
            self._outcomes.clear()
        else:
            self.reason = complaint
            self._next_trial = now + self._pause_s
            self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)
