"""Starting what is measured, each in its own process and environment, and reading the figures that it prints."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import psutil

from bench.meter import parse
from bench.ours import ROOT

OURS = str(ROOT / ".venv" / "bin" / "python")
PEERS = str(ROOT / ".venv-bench" / "bin" / "python")
VLLM = str(ROOT / ".venv-vllm" / "bin" / "python")
#: Even on a busy machine, the work of each client takes less than a quarter of this.
CLIENT_TIMEOUT_S = 600
END_TIMEOUT_S = 30
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "workflow")])
#: A client's command line and its figures.
Outcome = tuple[list[str], dict[str, Any]]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": PATHS, "PYTHONUNBUFFERED": "1", "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}


def start(argv: Sequence[str], output: Any = subprocess.PIPE, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment() | changes, stdout=output, stderr=subprocess.STDOUT, text=True
    )


def figures_of(process: subprocess.Popen[str], timeout_s: float = CLIENT_TIMEOUT_S) -> dict[str, Any]:
    """Wait for a client and return its figures.

    Raises:
        RuntimeError: the client failed or hung.
        ValueError: the client printed no figures.
    """
    command = shlex.join(cast(list[str], process.args))  # as `start` passes them
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command} was ended since it took more than {timeout_s:.0f} s") from None
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(f"{command} failed: {output[-2000:]}")
    return parse(output)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started, unless the process has ended by itself."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
