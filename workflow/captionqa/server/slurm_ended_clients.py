"""Client jobs that Slurm ended: why, for the end of the run. They could not say it themselves."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from captionqa.server import slurm

#: What stands in the log of a job that Slurm ended for its memory, where Slurm's state of it is FAILED.
OUT_OF_MEMORY = re.compile(rb"oom.kill|exceeded (\w+ )?memory limit|out.of.memory handler", re.IGNORECASE)
#: How much of a log's end is searched, in bytes.
LOG_END_BYTES = 8_192
#: The most jobs that are named for one reason.
JOBS_NAMED = 5


@dataclass
class EndedClients:
    """The jobs of a run that Slurm ended, by reason."""

    _logs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list), init=False)

    def note(self, number: str, rule: str, slurm_log: Path) -> None:
        """Note a failed job if Slurm ended it; of one that failed by itself the own error says more."""
        job = (slurm.jobs([number]) or {}).get(number)
        if job is None or job.state == "COMPLETED":
            return
        state = job.state
        if state == "FAILED":
            if not OUT_OF_MEMORY.search(_end_of(slurm_log)):
                return
            state = "OUT_OF_MEMORY"
        if state in slurm.ENDED:
            self._logs[f"a job of {rule} {slurm.ended(state, rule)}"].append(f"{number}, log: {slurm_log}")

    def messages(self) -> list[str]:
        """Which jobs Slurm ended, each reason once."""
        messages = []
        for reason, logs in self._logs.items():
            times = f" ({len(logs)} times)" if len(logs) > 1 else ""
            rows = [f"Slurm: {reason}{times}", *(f"    job {log}" for log in logs[:JOBS_NAMED])]
            if len(logs) > JOBS_NAMED:
                rows.append(f"    and {len(logs) - JOBS_NAMED} more")
            messages.append("\n".join(rows))
        return messages


def _end_of(log: Path) -> bytes:
    try:
        with log.open("rb") as opened:
            opened.seek(max(log.stat().st_size - LOG_END_BYTES, 0))
            return opened.read()
    except OSError:
        return b""
