"""How a generation of a server ended, and what follows."""

from dataclasses import dataclass
from enum import Enum


class Next(Enum):
    """What follows the end of a generation."""

    RESTART = "another generation in this process"
    OTHER_PORT = "the same on another port, for another process has this one"
    REQUEUE = "another generation when the job, sent back to the queue from here, starts again"
    SLURM = "what Slurm decides: another generation when the job starts again, or the end"
    NOTHING = "the end"


@dataclass
class Outcome:
    """Why a generation ended, and what follows."""

    reason: str
    next: Next
