"""The run record: what the driver tells its jobs, and the next driver, about the present run."""

from pathlib import Path
from typing import NotRequired, TypedDict

from captionqa.config.config import Task
from captionqa.config.layout import Layout
from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.files import write_json


class SlurmRun(TypedDict):
    """How Slurm runs the jobs of a run: the arguments of SlurmLauncher."""

    #: The name of the client jobs, with which the names of the server jobs begin.
    name: str
    #: The model whose servers these are; missing for the run's first one.
    model: NotRequired[str]
    #: sbatch's options for a server job; missing where no server is to start.
    options: NotRequired[list[str]]
    #: GPUs of a server job; missing where no server is to start.
    gpus: NotRequired[int]


class RunRecord(TypedDict):
    """The file run.json, of which a run of several models has one in the server folder of each."""

    #: Whether a chunk job has a request to send to the model.
    server_needed: bool
    #: None where jobs run on this machine.
    slurm: SlurmRun | None
    #: {task: items that were in chunks without a result when the run began}; missing in the record of an older version,
    #: and of a model that is not the run's first.
    to_do: NotRequired[dict[Task, int]]
    #: All models of the run, in their order; only in the record of the first of several.
    models: NotRequired[list[str]]


def write_run_record(folder: Path, record: RunRecord) -> None:
    write_json(ServerFiles(folder).run, record)


def read_run_record(folder: Path) -> RunRecord | None:
    record: RunRecord | None = read_own_json(ServerFiles(folder).run)
    return record


def run_layouts(layout: Layout) -> list[Layout]:
    """The paths of each model of the present run, by those of its first; none where no run was recorded."""
    record = read_run_record(layout.server)
    return [] if record is None else layout.of_models(record.get("models", [layout.model]))


def server_layouts(layout: Layout) -> list[Layout]:
    """Those of the models whose servers the present run needs."""
    found = run_layouts(layout)
    return [each for each in found if (record := read_run_record(each.server)) and record["server_needed"]]
