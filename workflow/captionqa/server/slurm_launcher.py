"""Supervisors as Slurm jobs: submitting them, asking for their status and cancelling them."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from captionqa.errors import ServerStartError
from captionqa.server import slurm
from captionqa.server.launcher import Handle, SupervisorStatus
from captionqa.server.submitted_job import submitted_job

#: Seconds between two questions to Slurm's controller, which serves the whole cluster.
STATUS_INTERVAL_S = 2.0
#: How long before its time limit Slurm warns a server's job, so that the server can stop in order.
WARNING_S = 120
WARNING_SIGNAL = "USR1"


@dataclass
class SlurmLauncher:
    """Submits supervisors with sbatch.

    `name` begins the names of the jobs, which also have that of a `model` that is not the run's first. `options` are
    sbatch's, from the rule's resources, which ask for `gpus`. They follow the options of this class, so that
    slurm_extra can override these.
    """

    name: str = "captionqa"
    options: Sequence[str] = ()
    gpus: int = 0
    model: str | None = None
    host: ClassVar[str] = "0.0.0.0"
    _asked_at: float = field(default=float("-inf"), init=False)
    _statuses: list[SupervisorStatus] = field(default_factory=list, init=False)

    @property
    def settings(self) -> Sequence[str]:
        return ("slurm", *self.options)

    def start(self, argv: Sequence[str], replica: int, log: Path) -> Handle:
        log.parent.mkdir(parents=True, exist_ok=True)
        name = server_name(self.name, replica, self.model)
        done = slurm.run(
            [
                "sbatch",
                "--parsable",
                "--export=ALL",
                "--requeue",
                "--open-mode=append",
                f"--signal=B:{WARNING_SIGNAL}@{WARNING_S}",
                *self.options,
                f"--job-name={name}",
                f"--output={str(log.resolve()).replace('%', '%%')}",
            ],
            # exec: the signals that Slurm sends to the batch shell reach the supervisor
            script=f"#!/bin/sh\nexec {shlex.join([sys.executable, *argv])}\n",
        )
        number = submitted_job(done.stdout, name) if done is not None and not done.returncode else None
        if number is not None:
            return {"job": number}
        if done is None or not done.returncode:  # a job may have been submitted all the same
            slurm.cancel_named(name)
        if done is None or done.returncode:
            raise ServerStartError(
                f"Slurm refused the server's job: {slurm.error_text(done)}. Set partition, account and sizes of "
                "start_server with set-resources in the profile; sinfo shows what there is."
            )
        raise ServerStartError(
            f"sbatch --parsable said {done.stdout.strip()!r}, in which no job id can be told, and the server's job is "
            "cancelled; have the site's sbatch print the id on a line of its own."
        )

    def status(self, handles: Sequence[Handle]) -> list[SupervisorStatus]:
        if time.monotonic() - self._asked_at >= STATUS_INTERVAL_S or len(self._statuses) != len(handles):
            self._asked_at = time.monotonic()
            known = slurm.jobs(handle["job"] for handle in handles)
            if known is None:
                self._statuses = [SupervisorStatus(True, "Slurm does not answer", unknown=True)] * len(handles)
            else:
                self._statuses = [_status(handle["job"], known.get(handle["job"])) for handle in handles]
        return self._statuses

    def stop(self, handles: Sequence[Handle]) -> None:
        self._asked_at = float("-inf")
        slurm.cancel([handle["job"] for handle in handles])

    def skip_requeue_delay(self, handles: Sequence[Handle]) -> None:
        for handle, status in zip(handles, self.status(handles), strict=True):
            if status.waiting and slurm.REQUEUE_DELAY in status.text:
                slurm.start_requeued_now(handle["job"])


def server_name(run: str, replica: int, model: str | None = None) -> str:
    """The name of a server's job in the run whose client jobs have the name `run`; `model` is as in `SlurmRun`."""
    return f"{run}-server-{replica}" if model is None else f"{run}-{model}-server-{replica}"


def _status(number: str, job: slurm.Job | None) -> SupervisorStatus:
    if job is None:
        return SupervisorStatus(False, f"its Slurm job {number} is no longer known to Slurm")
    if job.state in slurm.ENDED:
        return SupervisorStatus(False, f"its Slurm job {number} {slurm.ended(job.state, 'start_server')}")
    waiting = job.state in slurm.WAITING
    text = f"its Slurm job {number} is {job.state}" + (f" ({job.reason})" if waiting else "")
    return SupervisorStatus(True, text, waiting=waiting, ending=job.state in slurm.ENDING)
