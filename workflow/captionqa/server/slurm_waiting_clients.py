"""Client jobs that wait in Slurm's queue while a server waits for them."""

import logging
import re
import time
from collections import Counter
from collections.abc import Collection

from captionqa.server import slurm

#: Seconds between two questions to Slurm's controller.
INTERVAL_S = 10.0
#: Seconds after which the same message is logged again.
REPEAT_MESSAGE_S = 300.0
#: How long no client job runs for reasons that do not pass before the run ends. Somebody may change the jobs meanwhile.
HOPELESS_S = 60.0
#: The same where a job is held: whoever held it may release it. Also where the run's own servers use up a limit: the
#: reason that Slurm shows may be some minutes old.
HELD_S = 600.0
#: Slurm's reasons that do not pass by themselves (`man squeue`, JOB REASON CODES).
HOPELESS = re.compile(
    r"Partition(Time|Node)Limit|BadConstraints|Invalid(Account|QOS)|(Account|QOS)NotAllowed|DependencyNeverSatisfied|"
    r"(Assoc|QOS)Max.*PerJob(Limit)?|(Assoc|QOS)Grp(?!.*Run).*Minutes(Limit)?|QOSMin.*"
)
HELD = re.compile(r".*held.*|JobHoldMaxRequeue", re.IGNORECASE)
#: Limits on all that a user runs at a time. They pass when other jobs of the user end, but not while only servers run.
USERS_LIMIT = re.compile(r"QOSMax(?!Submit)\w+PerUser(Limit)?|AssocMaxJobsLimit")

log = logging.getLogger(__name__)


class WaitingClients:
    """Watches the jobs of one name: tells why none of them runs, and starts requeued ones at once."""

    def __init__(
        self, name: str, interval_s: float = INTERVAL_S, hopeless_s: float = HOPELESS_S, held_s: float = HELD_S
    ):
        self._name = name
        self._interval_s, self._hopeless_s, self._held_s = interval_s, hopeless_s, held_s
        self._checked_at = self._shown_at = float("-inf")
        self._shown: str | None = None
        #: Since when no job runs and none waits for a reason that passes; None while that is not so.
        self._hopeless_since: float | None = None

    def check(self) -> str | None:
        """Log why no job runs where that is so; returns why none ever will, or None."""
        if time.monotonic() - self._checked_at < self._interval_s:
            return None
        self._checked_at = time.monotonic()
        known = slurm.jobs_named(self._name)
        if known is None:
            return None
        waiting = {number: job.reason for number, job in known.items() if job.state in slurm.WAITING}
        for number, reason in waiting.items():
            if reason == slurm.REQUEUE_DELAY:
                slurm.start_requeued_now(number)
        if not waiting or len(waiting) < len(known):
            self._shown, self._shown_at, self._hopeless_since = None, float("-inf"), None
            return None
        reasons = ", ".join(f"{count} for {reason}" for reason, count in sorted(Counter(waiting.values()).items()))
        text = f"no client job runs; waiting in Slurm's queue: {reasons}"
        # first shown when they have waited for a whole interval: a job that starts at once waits for a moment too
        if self._shown is not None and (text != self._shown or self._checked_at - self._shown_at >= REPEAT_MESSAGE_S):
            self._shown_at = self._checked_at
            log.info("%s", text)
        self._shown = text
        return self._why_hopeless(waiting.values(), text)

    def _why_hopeless(self, reasons: Collection[str], text: str) -> str | None:
        held = any(HELD.fullmatch(reason) for reason in reasons)
        limited = any(USERS_LIMIT.fullmatch(reason) for reason in reasons)
        lasting = all(any(kind.fullmatch(reason) for kind in (HOPELESS, HELD, USERS_LIMIT)) for reason in reasons)
        if not lasting or (limited and self._others_run()):
            self._hopeless_since = None
            return None
        self._hopeless_since = self._hopeless_since or self._checked_at
        if self._checked_at - self._hopeless_since < (self._held_s if held or limited else self._hopeless_s):
            return None
        if held:
            change = "scontrol release starts them"
        elif limited:
            change = "beside this run's own servers the limit leaves no room; set-resources in the profile changes that"
        else:
            change = "set-resources in the profile changes what they ask for"
        return f"{text}. This does not pass, so the run ends; {change}, and the same command continues."

    def _others_run(self) -> bool:
        """Whether this user runs a job that is not one of the run's servers, or may run one."""
        running = slurm.running_names()
        return running is None or any(not name.startswith(self._name) for name in running)
