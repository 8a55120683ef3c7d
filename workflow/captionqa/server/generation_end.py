"""How a generation of a server ended, and what follows."""

from dataclasses import dataclass
from enum import Enum


class NextStep(Enum):
    """What follows the end of a generation."""

    RESTART = "another generation in this process"
    OTHER_PORT = "another generation in this process, on another port, because another process has this one"
    FEWER_OPTIONS = "another generation in this process, without chosen options that this vLLM does not know"
    REQUEUE = "this process requeues its Slurm job, whose next start runs another generation"
    SLURM = "Slurm decides: another generation when the job starts again, or the end"
    NOTHING = "the server is dead"


@dataclass(frozen=True)
class GenerationEnd:
    """Why a generation ended or has to end, and what follows."""

    reason: str
    next: NextStep
