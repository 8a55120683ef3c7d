"""Slurm's commands, as far as captionqa uses them, and the states of Slurm's jobs."""

import logging
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captionqa.server.launcher import supervisor_environment

COMMAND_TIMEOUT_S = 60.0
#: How long a cluster may take to say that it is there. A controller that is busy answers within seconds.
ANSWER_TIMEOUT_S = 15.0
#: States that a job does not leave, and what they mean for it and its rule (`man squeue`, JOB STATE CODES).
ENDED = {
    "BOOT_FAIL": "did not start: its node failed to boot",
    "CANCELLED": "was cancelled",
    "COMPLETED": "ended",
    "DEADLINE": "passed its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "was lost with its node",
    "OUT_OF_MEMORY": "ran out of memory; raise {rule}'s mem_mb",
    "PREEMPTED": "was preempted and is not to be requeued",
    "REVOKED": "was revoked",
    "TIMEOUT": "reached its time limit; raise {rule}'s runtime",
}
ENDED_BADLY = ENDED.keys() - {"COMPLETED"}
#: States of a job that does not run now.
WAITING = (
    *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"),
    *("SUSPENDED", "STOPPED"),
)
ENDING = ("COMPLETING", "STAGE_OUT")
#: What sbatch says of a job that could not be submitted, and where that passes by itself.
REFUSED = "allocation failure"
BUSY = re.compile(r"busy|not available \((inactive|down)|unable to contact|timed out", re.IGNORECASE)
#: Slurm's reason for a requeued job to wait: Slurm delays its start by two minutes.
REQUEUE_DELAY = "BeginTime"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job's state and, while it waits, the reason, both in Slurm's words."""

    state: str
    reason: str


def ended(state: str, rule: str) -> str:
    """What a state of ENDED means for a job of this rule."""
    return ENDED[state].format(rule=rule)


def sbatch_fault(message: str) -> str:
    """What the executor says of a job that sbatch refused, in one line and without the call, which has pages."""
    return " ".join(message.partition("sbatch call:")[0].split())


def jobs(numbers: Iterable[str]) -> dict[str, Job] | None:
    """{job id: job} of those that Slurm still knows; None while Slurm does not answer."""
    return _jobs("--states=all", f"--jobs={','.join(numbers)}")


def jobs_named(name: str) -> dict[str, Job] | None:
    """{job id: job} of this user's jobs of this name in the queue; None while Slurm does not answer."""
    return _jobs(f"--user={os.getuid()}", f"--name={name}")


def names_in_queue() -> set[str] | None:
    """The names of this user's jobs in the queue; None where Slurm does not answer."""
    done = run(["squeue", "--noheader", f"--user={os.getuid()}", "--format=%j"])
    return None if done is None or done.returncode else {line.strip() for line in done.stdout.splitlines()}


def running_names() -> set[str] | None:
    """The names of this user's jobs that run, without the one this process is in; None where Slurm does not answer."""
    states = "--states=RUNNING,COMPLETING,SUSPENDED"
    done = run(["squeue", "--noheader", f"--user={os.getuid()}", states, "--format=%i|%j"])
    if done is None or done.returncode:
        return None
    rows = [line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line]
    return {name for number, name in rows if number != os.environ.get("SLURM_JOB_ID")}


def named(name: str) -> set[str]:
    """The ids of this user's jobs of this name in the queue; none where Slurm does not answer."""
    done = run(["squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}", "--format=%i"])
    lines = [] if done is None else done.stdout.splitlines()
    # of an array 12_3 its own id; a site's wrapper may print other lines
    return {number for line in lines if (number := line.strip().partition("_")[0]).isdigit()}


def no_answer() -> str | None:
    """Why no cluster can be used from this machine, in sinfo's words; None where one answers."""
    try:
        done = subprocess.run(
            ["sinfo", "--noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"sinfo says nothing for {ANSWER_TIMEOUT_S:.0f} s"
    except OSError as error:
        return f"sinfo: {error.strerror}"
    if not done.returncode:
        return None
    said = done.stderr.splitlines()  # the last line is what it ended with
    return said[-1] if said else f"sinfo ends with exit code {done.returncode}"


def cancel(numbers: Sequence[str]) -> None:
    """Cancel jobs. Where Slurm does not answer, what runs in them still ends with the lease."""
    if numbers:
        _warn_unless_done(run(["scancel", *numbers]), f"jobs {', '.join(numbers)} could not be cancelled")


def cancel_named(*names: str) -> None:
    """Cancel this user's jobs of exactly these names."""
    for name in names:  # one by one: scancel takes no list, as squeue does
        done = run(["scancel", f"--user={os.getuid()}", f"--name={name}"])
        _warn_unless_done(done, f"jobs named {name} could not be cancelled")


def requeue(number: str) -> str | None:
    """Send a job, even the one this process runs in, back to the queue; returns why Slurm refused, or None.

    None too where Slurm does not answer, since it may have obeyed.
    """
    done = run(["scontrol", "requeue", number])
    return error_text(done) if done is not None and done.returncode else None


def start_requeued_now(number: str) -> None:
    """Remove the delay from the start of a job if it was requeued; another one is to begin later by its options."""
    done = run(["scontrol", "show", "job", number])
    if done is not None and re.search(r"\bRestarts=[1-9]", done.stdout):
        run(["scontrol", "update", f"JobId={number}", "StartTime=now"])


def refusal(options: Sequence[str]) -> str | None:
    """Why Slurm would never run a job with these options of sbatch; None where it would, or does not say.

    Nothing is submitted.
    """
    done = run(["sbatch", "--test-only", *options], script="#!/bin/sh\n")
    text = error_text(done) if done is not None and done.returncode else ""
    return text if REFUSED in text and not BUSY.search(text) else None


def run(argv: Sequence[str], script: str | None = None, **environment: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of Slurm's commands, with a script as its input; None where it is missing or does not return."""
    try:
        return subprocess.run(
            argv,
            input=script,
            stdin=subprocess.DEVNULL if script is None else None,
            env=supervisor_environment() | environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # names of jobs and folders may be in any encoding
            timeout=COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s: %s", argv[0], error)
        return None


def error_text(done: subprocess.CompletedProcess[str] | None) -> str:
    """What a command that failed said, on one line."""
    return "it does not answer" if done is None else " ".join(done.stderr.split()) or f"exit code {done.returncode}"


def _jobs(*options: str) -> dict[str, Job] | None:
    done = run(["squeue", "--noheader", "--format=%i|%T|%r", *options])
    if done is None or (done.returncode and "Invalid job id" not in done.stderr):
        return None
    rows = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {number.strip(): Job(state.strip(), reason.strip()) for number, state, reason in rows}


def _warn_unless_done(done: subprocess.CompletedProcess[str] | None, what: str) -> None:
    if done is None or done.returncode:
        log.warning("%s: %s", what, error_text(done))
