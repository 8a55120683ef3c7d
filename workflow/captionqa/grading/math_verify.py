"""math-verify in a process of its own, so that no comparison can take more than its share of CPU time or memory.

math-verify's own time limits are signals: they fail outside the main thread and do not reach a power of a power that
the interpreter computes in one step. Hence a helper process (math_verify_worker.py) imports math-verify and forks a
worker. The kernel ends a worker that has used up its CPU time, and the next one is forked in milliseconds. CPU time,
unlike wall-clock time, does not depend on what else the machine does: the same answers are graded alike.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from pathlib import Path

from captionqa.errors import DependencyError

#: CPU time for one comparison; nearly all take less than a tenth of it.
TIME_LIMIT_S = 2.0
#: CPU time that the comparisons which are given up may cost in all.
LOST_LIMIT_S = 60.0
#: CPU time for one comparison once LOST_LIMIT_S is spent.
SHORT_LIMIT_S = 0.25
#: Wall-clock time for the helper's start, and for one reply on a machine that is busy with other things.
PATIENCE_S = 120.0

_WORKER = Path(__file__).with_name("math_verify_worker.py")


class Verifier:
    """Asks a helper process whether two expressions are the same; starts it at the first question."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, lost_limit_s: float = LOST_LIMIT_S) -> None:
        self._time_limit_s = time_limit_s
        self._lost_limit_s = lost_limit_s
        self._lost_s = 0.0
        self._helper: _Helper | None = None
        self._lock = threading.Lock()

    def same(self, wanted: str, given: str) -> bool:
        """Whether math-verify calls two expressions the same; False where it cannot tell within its CPU time.

        Raises DependencyError where math-verify does not start.
        """
        with self._lock:
            limit_s = self._time_limit_s
            if self._lost_s >= self._lost_limit_s:
                limit_s = min(limit_s, SHORT_LIMIT_S)
            request = json.dumps([wanted, given, limit_s]).encode() + b"\n"
            reply = self._ask(request) or self._ask(request)  # a helper that was ended from outside is replaced once
            if reply == b"gave up\n":
                self._lost_s += limit_s
            return reply == b"1\n"

    def stop(self) -> None:
        """End the helper process and its worker; the next question starts new ones."""
        if self._helper is not None:
            self._helper.kill()
            self._helper = None

    def _ask(self, request: bytes) -> bytes:
        """The helper's reply; where it ended or is stuck, an empty one, and the helper is killed."""
        if self._helper is None:
            self._helper = _Helper()
        reply = self._helper.ask(request)
        if not reply:
            self.stop()
        return reply


class _Helper:
    """The helper process, which is the leader of a process group with its worker, and the pipes to both."""

    def __init__(self) -> None:
        """Start the helper and wait until it has imported math-verify; raises DependencyError where it cannot."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],  # -P: beside the worker lies a math_verify.py that is not the package
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        if self._read() != b"ready\n":
            self.kill()
            raise DependencyError(
                "math-verify, which compares free-form answers, does not start; `make setup` installs it."
            )

    def ask(self, request: bytes) -> bytes:
        """The reply to a request; empty where the helper ended or is stuck."""
        try:
            self._requests.write(request)
            return self._read()
        except OSError:
            return b""

    def kill(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._requests.close()
        self._replies.close()

    def _read(self) -> bytes:
        """The helper's next line; empty where it ended or is stuck."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            return self._replies.readline() if selector.select(PATIENCE_S) else b""


VERIFIER = Verifier()
atexit.register(VERIFIER.stop)
