"""Client jobs on Slurm that nobody looks after: those that the executor lost, and those of a killed driver."""

import time
from collections.abc import Iterable

from captionqa.config.layout import Layout
from captionqa.config.server_files import read_own_json
from captionqa.run.lease import LeaseRecord, live_lease
from captionqa.run.run_record import read_run_record
from captionqa.server import slurm

#: Seconds between two checks for lost jobs.
LOST_INTERVAL_S = 60.0
#: How long to wait for cancelled jobs. Slurm kills a job that does not end by itself after its KillWait, usually 30 s.
END_TIMEOUT_S = 60.0
END_POLL_S = 0.5


class LostJobs:
    """Finds jobs that somebody waits for though Slurm has forgotten them or knows that they ended badly.

    Snakemake's Slurm executor does not learn of such an end where it could not ask for longer than Slurm remembers a
    job (MinJobAge), or where sacct's text for a job that somebody else cancelled is not one it knows.
    """

    def __init__(self, interval_s: float = LOST_INTERVAL_S):
        self._interval_s = interval_s
        self._checked_at = float("-inf")
        self._suspects: set[str] = set()

    def find(self, numbers: Iterable[str]) -> set[str]:
        """Those of these jobs that were found lost at two checks in a row; empty between the checks."""
        numbers = set(numbers)
        if not numbers or time.monotonic() - self._checked_at < self._interval_s:
            return set()
        self._checked_at = time.monotonic()
        known = slurm.jobs(numbers)
        if known is None:
            return set()
        lost = {number for number in numbers if number not in known or known[number].state in slurm.ENDED_BADLY}
        found, self._suspects = lost & self._suspects, lost - self._suspects
        return found


def end_killed_run(layout: Layout) -> None:
    """Cancel the client jobs of a run whose driver was killed, and wait until they are gone.

    It must come before the next run is planned: a job that is cancelled deletes the result it has just written.
    """
    lease: LeaseRecord | None = read_own_json(layout.server_files.lease)
    run = read_run_record(layout.server)
    if not run or not run["slurm"] or not lease or lease["state"] == "released" or live_lease(layout.server):
        return
    name = run["slurm"]["name"]
    slurm.cancel_named(name)
    deadline = time.monotonic() + END_TIMEOUT_S
    while slurm.named(name) and time.monotonic() < deadline:
        time.sleep(END_POLL_S)
