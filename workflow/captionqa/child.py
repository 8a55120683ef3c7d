"""The server as an operating-system process: its start, its end with all that it started."""

import ctypes
import os
import signal
import subprocess
import time

STOP_TIMEOUT_S = 20.0
PR_SET_PDEATHSIG = 1


def start_child(argv: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """Start a process in a group of its own that the kernel ends when this one dies; all it prints is in its stdout."""
    libc = ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(
        argv,
        bufsize=0,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def stop_group(child: subprocess.Popen, polite_s: float = STOP_TIMEOUT_S) -> None:
    """End a child's whole process group: politely for so many seconds, then not."""
    for number, patience_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, STOP_TIMEOUT_S)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            child.poll()
            try:
                os.killpg(child.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
