"""The logs of the jobs that Snakemake's Slurm executor submits: a folder for each run, named like its jobs.

The folder of a pending job's log is empty, and Slurm fails a job at its start where that folder is gone. So only a run
whose jobs are not in the queue loses its folders.
"""

import time
from contextlib import suppress
from pathlib import Path

from captionqa.server import slurm

DAY_S = 86_400


def remove_old_logs(run: Path, days: float) -> None:
    """Remove the empty folders of this run, whose jobs have ended, and the logs of runs that are older than this.

    A run's age is that of its newest log or folder. `days` of 0 or less keeps the logs of other runs.
    """
    _remove_empty(run)
    in_queue = slurm.names_in_queue() if days > 0 and run.parent.is_dir() else None
    if in_queue is None:  # or Slurm does not answer
        return
    oldest = time.time() - days * DAY_S
    for other in run.parent.iterdir():
        if other.is_dir() and other != run and not any(name.startswith(other.name) for name in in_queue):
            _remove_older(other, oldest)


def _remove_older(run: Path, oldest: float) -> None:
    with suppress(FileNotFoundError):  # another run may remove the same
        paths = [run, *run.rglob("*")]
        if all(path.stat().st_mtime < oldest for path in paths):
            for path in paths:
                if path.suffix == ".log" and path.is_file():
                    path.unlink()
            _remove_empty(run)


def _remove_empty(folder: Path) -> None:
    folders = [path for path in folder.rglob("*") if path.is_dir()]
    for path in (*sorted(folders, reverse=True), folder):  # what is in a folder comes before it
        with suppress(OSError):  # it is not empty, or gone
            path.rmdir()
