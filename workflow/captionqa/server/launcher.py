"""Launchers: how the driver starts supervisors, asks for their status and stops them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypedDict

from captionqa import WORKFLOW
from captionqa.files import not_through_link
from captionqa.run.process_identity import process_start, same_process

#: How long supervisors may take to stop, with their servers.
STOP_TIMEOUT_S = 60.0


class Handle(TypedDict, total=False):
    """What the driver needs to find a supervisor again: either a process of this machine or a Slurm job."""

    pid: int
    #: The process's `process_start`.
    process_started: int
    #: Slurm's job id.
    job: str


@dataclass(frozen=True)
class SupervisorStatus:
    """What a launcher knows of a supervisor."""

    #: Whether it runs or may still run.
    alive: bool
    #: Its state in words, for the user; empty where there is nothing to say.
    text: str = ""
    #: Whether it waits in a queue.
    waiting: bool = False
    #: Whether it is being stopped.
    ending: bool = False
    #: Whether nobody can tell at present.
    unknown: bool = False


class Launcher(Protocol):
    """Starts one supervisor for each replica and finds it again by its handle."""

    @property
    def host(self) -> str:
        """What servers listen on where the configuration names nothing, as `ports.listen_address` takes it."""

    @property
    def gpus(self) -> int:
        """GPUs of each server; 0 where nobody assigns them."""

    @property
    def settings(self) -> Sequence[str]:
        """What makes this launcher's servers different from those of another launcher."""

    def start(self, argv: Sequence[str], replica: int, log: Path) -> Handle:
        """Start a supervisor with these arguments for Python.

        Raises:
            ServerStartError: it cannot be started.
        """

    def status(self, handles: Sequence[Handle]) -> list[SupervisorStatus]:
        """The status of each supervisor, in the order of the handles."""

    def stop(self, handles: Sequence[Handle]) -> None:
        """Tell the supervisors to stop, without waiting until they have."""

    def skip_requeue_delay(self, handles: Sequence[Handle]) -> None:
        """Let supervisors that were requeued start as soon as there is room for them."""


class LocalLauncher:
    """Supervisors as processes of this machine, detached from the driver's terminal."""

    host: ClassVar[str] = "127.0.0.1"
    gpus: ClassVar[int] = 0
    settings: ClassVar[Sequence[str]] = ()

    def start(self, argv: Sequence[str], replica: int, log: Path) -> Handle:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab", opener=not_through_link) as output:
            process = subprocess.Popen(
                [sys.executable, *argv],
                env=supervisor_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return {"pid": process.pid, "process_started": process_start(process.pid)}

    def status(self, handles: Sequence[Handle]) -> list[SupervisorStatus]:
        alive = [same_process(handle["pid"], handle["process_started"]) for handle in handles]
        return [SupervisorStatus(lives, "" if lives else "its supervisor ended without a word") for lives in alive]

    def stop(self, handles: Sequence[Handle]) -> None:
        for handle, status in zip(handles, self.status(handles), strict=True):
            if status.alive:
                with suppress(ProcessLookupError):  # it ends by itself once the lease is released
                    os.kill(handle["pid"], signal.SIGTERM)
                    os.kill(handle["pid"], signal.SIGCONT)  # a suspended process does not handle SIGTERM

    def skip_requeue_delay(self, handles: Sequence[Handle]) -> None:
        pass


def supervisor_environment() -> dict[str, str]:
    """The environment variables of a supervisor, which imports this package."""
    return {**os.environ, "PYTHONPATH": str(WORKFLOW)}


def wait_until_gone(launcher: Launcher, handles: Sequence[Handle], timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Wait for stopped supervisors to end; False where one is alive after the timeout and is not even ending."""
    deadline = time.monotonic() + timeout_s
    while alive := [status for status in launcher.status(handles) if status.alive]:
        if time.monotonic() > deadline:
            return all(status.ending for status in alive)
        time.sleep(0.1)
    return True
