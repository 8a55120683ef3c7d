"""The run record: what the driver tells its jobs, and the next driver, about the present run."""

from pathlib import Path
from typing import NotRequired, TypedDict

from captionqa.config.config import Task
from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.files import write_json


class SlurmRun(TypedDict):
    """How Slurm runs the jobs of a run: the arguments of SlurmLauncher."""

    #: The name of the client jobs, with which the names of the server jobs begin.
    name: str
    #: sbatch's options for a server job; missing where no server is to start.
    options: NotRequired[list[str]]
    #: GPUs of a server job; missing where no server is to start.
    gpus: NotRequired[int]


class RunRecord(TypedDict):
    """The file run.json."""

    #: Whether a chunk job has a request to send.
    server_needed: bool
    #: None where jobs run on this machine.
    slurm: SlurmRun | None
    #: {task: items that were in chunks without a result when the run began}; missing in the record of an older version.
    to_do: NotRequired[dict[Task, int]]


def write_run_record(folder: Path, record: RunRecord) -> None:
    write_json(ServerFiles(folder).run, record)


def read_run_record(folder: Path) -> RunRecord | None:
    record: RunRecord | None = read_own_json(ServerFiles(folder).run)
    return record
