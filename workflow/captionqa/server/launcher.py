"""Launchers: how a supervisor is started, looked after and ended from the driver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from captionqa import WORKFLOW
from captionqa.run.process_identity import process_start, same_process

STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Status:
    """How a supervisor fares, also in words.

    `alive` while it may still come up or is up; `waiting` while it is not its turn to run, `ending` while it is being
    cleared away; `unknown` where nobody can say.
    """

    alive: bool
    words: str = ""
    waiting: bool = False
    ending: bool = False
    unknown: bool = False


class Launcher(Protocol):
    """Starts one supervisor for each replica; a handle is what JSON can hold of a started one."""

    #: The address that servers listen on where the configuration names none.
    host: str
    #: GPUs that each server is given; 0 where nobody hands them out.
    gpus: int
    #: What makes servers of this launcher different from those of another.
    settings: Sequence[str]

    def start(self, argv: list[str], replica: int, log: Path) -> dict[str, Any]:
        """Start a supervisor with these arguments of Python and return its handle."""

    def look(self, handles: Sequence[dict[str, Any]]) -> list[Status]:
        """How the supervisors fare, in the order of their handles."""

    def stop(self, handles: Sequence[dict[str, Any]]) -> None:
        """Ask the supervisors to end; returns without waiting for them."""

    def hurry(self, handles: Sequence[dict[str, Any]]) -> None:
        """Let supervisors that are to be started again not wait longer than they have to."""


@dataclass
class LocalLauncher:
    """Supervisors as processes of this machine, detached from the driver's terminal."""

    host: ClassVar[str] = "127.0.0.1"
    gpus: ClassVar[int] = 0
    settings: ClassVar[Sequence[str]] = ()

    def start(self, argv: list[str], replica: int, log: Path) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, *argv],
                env=supervisor_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return {"pid": process.pid, "process_started": process_start(process.pid)}

    def look(self, handles: Sequence[dict[str, Any]]) -> list[Status]:
        alive = [same_process(handle["pid"], handle["process_started"]) for handle in handles]
        return [Status(lives, "" if lives else "its supervisor ended without a word") for lives in alive]

    def stop(self, handles: Sequence[dict[str, Any]]) -> None:
        for handle, status in zip(handles, self.look(handles), strict=True):
            if status.alive:
                os.kill(handle["pid"], signal.SIGTERM)
                os.kill(handle["pid"], signal.SIGCONT)  # one that is suspended would not hear it

    def hurry(self, handles: Sequence[dict[str, Any]]) -> None:
        pass


def supervisor_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(WORKFLOW)}


def wait_until_gone(launcher: Launcher, handles: Sequence[dict[str, Any]], timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Wait for stopped supervisors to end; False where one is not even ending after the timeout."""
    deadline = time.monotonic() + timeout_s
    while alive := [status for status in launcher.look(handles) if status.alive]:
        if time.monotonic() > deadline:
            return all(status.ending for status in alive)
        time.sleep(0.1)
    return True
