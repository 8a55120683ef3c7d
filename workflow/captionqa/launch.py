"""Launchers: how a supervisor is started, looked after and ended from the driver."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from captionqa.command import WORKFLOW
from captionqa.lease import same_process

STOP_TIMEOUT_S = 60.0


class Launcher(Protocol):
    """Starts one supervisor for each replica; a handle is what JSON can hold of a started one."""

    def start(self, folder: Path, replica: int, log: Path) -> dict[str, Any]:
        """Start a supervisor and return its handle."""

    def alive(self, handle: dict[str, Any]) -> bool:
        """Whether the supervisor may still come up or is up."""

    def stop(self, handle: dict[str, Any]) -> None:
        """Ask the supervisor to end; returns without waiting for it."""


@dataclass
class LocalLauncher:
    """Supervisors as processes of this machine, detached from the driver's terminal."""

    def start(self, folder: Path, replica: int, log: Path) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "captionqa.supervisor", str(folder), str(replica)],
                env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return {"pid": process.pid, "process_started": psutil.Process(process.pid).create_time()}

    def alive(self, handle: dict[str, Any]) -> bool:
        return same_process(handle["pid"], handle["process_started"])

    def stop(self, handle: dict[str, Any]) -> None:
        if self.alive(handle):
            os.kill(handle["pid"], signal.SIGTERM)


def wait_until_gone(launcher: Launcher, handles: list[dict[str, Any]], timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Wait for stopped supervisors to end; False where one still lives after the timeout."""
    deadline = time.monotonic() + timeout_s
    while any(launcher.alive(handle) for handle in handles):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
