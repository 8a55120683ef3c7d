"""Restarts: how many more a sick server is allowed, a budget that its work refills."""

from dataclasses import dataclass, field


@dataclass
class RestartBudget:
    """At most `limit` restarts, all forgiven once the server has generated for `forgiven_after_s` without another.

    So a few images that crash the server cannot end a long run, and a crash that comes back at once does.
    """

    limit: int
    forgiven_after_s: float
    spent: int = field(default=0, init=False)
    _generated_s: float = field(default=0.0, init=False)

    def generated(self, seconds: float) -> None:
        """Count time in which the server's tokens advanced."""
        self._generated_s += seconds
        if self._generated_s >= self.forgiven_after_s:
            self.spent = 0

    def spend(self) -> bool:
        """Take one restart from the budget; False where none was left."""
        self._generated_s = 0.0
        if self.spent >= self.limit:
            return False
        self.spent += 1
        return True
