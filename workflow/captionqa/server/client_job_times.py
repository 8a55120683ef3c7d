"""When Slurm was given the client jobs of a run, and when it started and ended them."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from captionqa.server import slurm

#: Seconds between two questions. Slurm forgets a job some minutes after its end (MinJobAge).
INTERVAL_S = 30.0
FORMAT = "%i|%T|%V|%S|%e|%k"


@dataclass(frozen=True)
class ClientJobTimes:
    """The times of one client job, in seconds since the epoch by the clock of Slurm's controller."""

    submitted: float
    #: None while it waits.
    started: float | None = None
    #: None while it waits or runs.
    ended: float | None = None


class ClientJobClock:
    """Notes the times of the jobs of one name that run one of these rules, while Slurm knows them."""

    def __init__(self, name: str, rules: Collection[str]):
        self._name = name
        self._comments = tuple(f"rule_{rule}" for rule in rules)
        self._asked_at = float("-inf")
        self._times: dict[str, ClientJobTimes] = {}

    def note(self) -> None:
        """Ask Slurm, where it is time to."""
        if time.monotonic() - self._asked_at >= INTERVAL_S:
            self._ask()

    def times(self) -> Sequence[ClientJobTimes]:
        """The times of all jobs up to now."""
        self._ask()
        return list(self._times.values())

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        command = ["squeue", "--noheader", "--states=all", f"--name={self._name}", f"--format={FORMAT}"]
        done = slurm.run(command, SLURM_TIME_FORMAT="%s")  # seconds since the epoch, whatever the user has set
        for line in done.stdout.splitlines() if done is not None and not done.returncode else ():
            number, *fields = line.strip().split("|", 5)
            if len(fields) == 5 and fields[4].startswith(self._comments) and fields[1].isdigit():
                self._times[number] = _times(*fields[:4])


def _times(state: str, submitted: str, started: str, ended: str) -> ClientJobTimes:
    """The times in Slurm's words. For a job that waits or runs, Slurm gives times that it expects."""
    over = state in slurm.ENDED or state in slurm.ENDING
    return ClientJobTimes(
        float(submitted),
        float(started) if started.isdigit() and (over or state not in slurm.WAITING) else None,
        float(ended) if ended.isdigit() and over else None,
    )
