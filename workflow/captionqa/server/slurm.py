"""Slurm: server jobs, how they fare, and their end."""

import getpass
import logging
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from captionqa.config.layout import Layout
from captionqa.errors import ConfigError, ServerStartError
from captionqa.files import read_json
from captionqa.run.lease import live_lease
from captionqa.run.run_record import read_run_record
from captionqa.server.launcher import Status, supervisor_environment

COMMAND_TIMEOUT_S = 60.0
#: How often Slurm's controller is asked at most; it serves the whole cluster.
LOOK_INTERVAL_S = 2.0
LOST_INTERVAL_S = 60.0
#: Slurm kills a cancelled job that does not end by itself after its KillWait, usually 30 s.
END_TIMEOUT_S, END_POLL_S = 60.0, 0.5
#: Seconds before the time limit at which Slurm warns a server's job, for a server to end in order.
WARNING_S = 120
WARNING_SIGNAL = "USR1"
#: States that a job does not come back from, and what they mean here (squeue's manual, JOB STATE CODES).
ENDED = {
    "BOOT_FAIL": "did not start: its node failed to boot",
    "CANCELLED": "was cancelled",
    "COMPLETED": "ended",
    "DEADLINE": "passed its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "was lost with its node",
    "OUT_OF_MEMORY": "ran out of memory; raise start_server's mem_mb",
    "PREEMPTED": "was preempted and is not to be requeued",
    "REVOKED": "was revoked",
    "TIMEOUT": "reached its time limit; raise start_server's runtime",
}
ENDED_BADLY = ENDED.keys() - {"COMPLETED"}
WAITING = (
    *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"),
    *("SUSPENDED", "STOPPED"),
)
ENDING = ("COMPLETING", "STAGE_OUT")
#: Begin times that Slurm sets for requeued jobs: two minutes, in which the clients of a server would wait.
REQUEUE_DELAY = "BeginTime"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job's state and, while it waits, the reason, both in Slurm's words."""

    state: str
    reason: str


def jobs(numbers: Iterable[str]) -> dict[str, Job] | None:
    """The jobs of these numbers that Slurm still knows; None while Slurm cannot be asked."""
    asked = ",".join(numbers)
    done = _run(["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--jobs={asked}"])
    if done is None or (done.returncode and "Invalid job id" not in done.stderr):
        return None
    rows = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {number.strip(): Job(state.strip(), reason.strip()) for number, state, reason in rows}


def cancel(numbers: Sequence[str]) -> None:
    """Cancel jobs; where Slurm cannot be asked the lease still ends what runs in them."""
    if numbers:
        _warn_unless_done(_run(["scancel", *numbers]), f"jobs {', '.join(numbers)} could not be cancelled")


def cancel_named(*names: str) -> None:
    """Cancel the user's own jobs of exactly these names."""
    done = _run(["scancel", f"--user={getpass.getuser()}", f"--name={','.join(names)}"])
    _warn_unless_done(done, f"jobs named {', '.join(names)} could not be cancelled")


def end_killed_run(layout: Layout) -> None:
    """End the client jobs of a run whose driver was killed, and wait until they are gone.

    To be done before the next run is planned: a job that is cancelled deletes the result that it has just written.
    """
    lease, run = read_json(layout.server_files.lease), read_run_record(layout.server)
    if not run or not run["slurm"] or not lease or lease["state"] == "released" or live_lease(layout.server):
        return
    name = run["slurm"]["name"]
    cancel_named(name)
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        done = _run(["squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={name}", "--format=%i"])
        if done is None or not done.stdout.strip():
            return
        time.sleep(END_POLL_S)


def server_name(run: str, replica: int) -> str:
    """The name of a server's job in the run whose other jobs have the name `run`."""
    return f"{run}-server-{replica}"


def requeue(number: str) -> str | None:
    """Send a job back to the queue, one's own included; says why where that is refused. No answer is no refusal."""
    done = _run(["scontrol", "requeue", number])
    return _complaint(done) if done is not None and done.returncode else None


class LostJobs:
    """Jobs that somebody waits for though Slurm no longer knows them, or knows that they ended otherwise than well.

    Snakemake's Slurm executor never hears of those that ended while it could not ask for longer than Slurm remembers
    (MinJobAge), nor in sacct's words of those that another hand cancelled.
    """

    def __init__(self, interval_s: float = LOST_INTERVAL_S):
        self._interval_s = interval_s
        self._looked = float("-inf")
        self._suspects: set[str] = set()

    def find(self, numbers: Iterable[str]) -> set[str]:
        """Those of the jobs that were found lost at two looks in a row."""
        numbers = set(numbers)
        if not numbers or time.monotonic() - self._looked < self._interval_s:
            return set()
        self._looked = time.monotonic()
        known = jobs(numbers)
        if known is None:
            return set()
        lost = {number for number in numbers if number not in known or known[number].state in ENDED_BADLY}
        found, self._suspects = lost & self._suspects, lost - self._suspects
        return found


def gpus_asked(resources: Mapping[str, Any]) -> int:
    """The GPUs in a rule's resources: `gpu` (or `gpu_model` alone, which means one), else a `gres` for GPUs."""
    if resources.get("gpu") or resources.get("gpu_model"):
        return int(resources.get("gpu") or 1)
    for part in str(resources.get("gres") or "").split(","):
        name, *details = part.split(":")
        if name == "gpu":
            return int(details[-1]) if details and details[-1].isdigit() else 1
    return 0


@dataclass
class SlurmLauncher:
    """Supervisors as Slurm jobs, submitted with sbatch.

    `options` are sbatch's, from the resources of the rule, which ask for `gpus`; they come after this class's own, so
    that slurm_extra can override those. `name` begins the jobs' names.
    """

    name: str = "captionqa"
    options: Sequence[str] = ()
    gpus: int = 0
    host: ClassVar[str] = "0.0.0.0"
    _looked: float = field(default=float("-inf"), init=False)
    _seen: list[Status] = field(default_factory=list, init=False)

    @property
    def settings(self) -> Sequence[str]:
        return ("slurm", *self.options)

    def start(self, argv: list[str], replica: int, log: Path) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        done = _run(
            [
                "sbatch",
                "--parsable",
                "--export=ALL",
                "--requeue",
                "--open-mode=append",
                f"--signal=B:{WARNING_SIGNAL}@{WARNING_S}",
                *self.options,
                f"--job-name={server_name(self.name, replica)}",
                f"--output={str(log.resolve()).replace('%', '%%')}",
            ],
            # exec: signals that Slurm sends to the batch shell reach the supervisor
            script=f"#!/bin/sh\nexec {shlex.join([sys.executable, *argv])}\n",
        )
        if done is None:  # it may have been submitted all the same
            cancel_named(server_name(self.name, replica))
        if done is None or done.returncode:
            raise ServerStartError(
                f"Slurm refused the server's job: {_complaint(done)}. Set partition, account and sizes of start_server "
                "with set-resources in the profile; sinfo shows what there is."
            )
        return {"job": done.stdout.split()[-1].partition(";")[0]}

    def look(self, handles: Sequence[dict[str, Any]]) -> list[Status]:
        if time.monotonic() - self._looked >= LOOK_INTERVAL_S or len(self._seen) != len(handles):
            self._looked = time.monotonic()
            known = jobs(handle["job"] for handle in handles)
            if known is None:
                self._seen = [Status(True, "Slurm does not answer", unknown=True)] * len(handles)
            else:
                self._seen = [_status(handle["job"], known.get(handle["job"])) for handle in handles]
        return self._seen

    def stop(self, handles: Sequence[dict[str, Any]]) -> None:
        self._looked = float("-inf")
        cancel([handle["job"] for handle in handles])

    def hurry(self, handles: Sequence[dict[str, Any]]) -> None:
        for handle, status in zip(handles, self.look(handles), strict=True):
            if status.waiting and REQUEUE_DELAY in status.words:
                _run(["scontrol", "update", f"JobId={handle['job']}", "StartTime=now"])


def check_resources(tensor_parallel_size: int | None, resources: Mapping[str, Any]) -> int:
    """The GPUs of a server's job with these resources.

    Raises ConfigError where the resources cannot be meant, or the configuration asks for another number of GPUs.
    """
    if any(resources.get(name) for name in ("cluster", "clusters", "slurm_cluster")):
        raise ConfigError("start_server cannot be sent to another Slurm cluster; start snakemake on that cluster.")
    if "gpu" in str(resources.get("gres") or "") and (resources.get("gpu") or resources.get("gpu_model")):
        raise ConfigError(
            f"start_server asks for GPUs twice, as gres {resources.get('gres')!r} and as gpu; set-resources "
            "start_server:gpu=0 beside the gres."
        )
    asked = gpus_asked(resources)
    if tensor_parallel_size not in (None, max(asked, 1)):
        raise ConfigError(
            f"server.tensor_parallel_size is {tensor_parallel_size}, but each server's job asks Slurm for {asked} "
            f"GPUs; leave it out, or set-resources start_server:gpu={tensor_parallel_size} in the profile."
        )
    return asked


def _status(number: str, job: Job | None) -> Status:
    if job is None:
        return Status(False, f"its Slurm job {number} is no longer known to Slurm")
    if job.state in ENDED:
        return Status(False, f"its Slurm job {number} {ENDED[job.state]}")
    waiting = job.state in WAITING
    words = f"its Slurm job {number} is {job.state}" + (f" ({job.reason})" if waiting else "")
    return Status(True, words, waiting=waiting, ending=job.state in ENDING)


def _run(argv: list[str], script: str | None = None) -> subprocess.CompletedProcess[str] | None:
    """Run one of Slurm's commands; None where it is not there or does not return."""
    try:
        return subprocess.run(
            argv,
            input=script,
            stdin=subprocess.DEVNULL if script is None else None,
            env=supervisor_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s: %s", argv[0], error)
        return None


def _complaint(done: subprocess.CompletedProcess[str] | None) -> str:
    return "it does not answer" if done is None else " ".join(done.stderr.split()) or f"exit code {done.returncode}"


def _warn_unless_done(done: subprocess.CompletedProcess[str] | None, what: str) -> None:
    if done is None or done.returncode:
        log.warning("%s: %s", what, _complaint(done))
