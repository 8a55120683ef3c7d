"""The restart budget: how many more restarts a failing server is allowed."""

from dataclasses import dataclass, field


@dataclass
class RestartBudget:
    """At most `limit` restarts; the count is reset once the server has generated for `forgiven_after_s` without one.

    So a few images that crash the server cannot end a long run, while a crash that repeats at once does.
    """

    limit: int
    forgiven_after_s: float
    #: Restarts since the last reset.
    spent: int = field(default=0, init=False)
    _generated_s: float = field(default=0.0, init=False)

    def add_generating(self, seconds: float) -> None:
        """Count time in which the server generated tokens."""
        self._generated_s += seconds
        if self._generated_s >= self.forgiven_after_s:
            self.spent = 0

    def spend(self) -> bool:
        """Take one restart from the budget; False where none is left."""
        self._generated_s = 0.0
        if self.spent >= self.limit:
            return False
        self.spent += 1
        return True
