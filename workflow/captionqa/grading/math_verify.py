"""The verifier: math-verify in a process of its own, so that no comparison can take more than its share.

math-verify's own time limits are signals: they fail outside the main thread and do not reach a power of a power that
the interpreter computes in one step. The helper has imported math-verify and forks a worker; the kernel ends a worker
that has used up its processor time, and the next fork is there in milliseconds. Processor time, unlike time, does not
depend on what else the machine does: the same answers are graded alike.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading

from captionqa import WORKFLOW
from captionqa.errors import ResultError

#: Processor time for one comparison. Nearly all take less than a tenth of it.
TIME_LIMIT_S = 2.0
#: After so much time in all was lost to comparisons without an end, the next ones get less.
LOST_LIMIT_S = 60.0
SHORT_LIMIT_S = 0.25
#: For the helper's start, and for an answer on a machine that is busy with other things.
PATIENCE_S = 120.0
MEMORY_BYTES = 4 * 1024**3
#: A worker keeps what it has parsed; after so many answers a fresh one takes its place.
ANSWERS_PER_WORKER = 10_000


class Verifier:
    """Asks a helper process whether two expressions are the same; starts it when it is first needed."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, lost_limit_s: float = LOST_LIMIT_S) -> None:
        self._time_limit_s = time_limit_s
        self._lost_limit_s = lost_limit_s
        self._lost_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def same(self, wanted: str, given: str) -> bool:
        """Whether math-verify calls two expressions the same; False where it cannot tell in its processor time."""
        with self._lock:
            limit_s = self._time_limit_s
            if self._lost_s >= self._lost_limit_s:
                limit_s = min(limit_s, SHORT_LIMIT_S)
            request = json.dumps([wanted, given, limit_s]).encode() + b"\n"
            answer = self._ask(request) or self._ask(request)  # a helper that was ended from outside is replaced once
            if answer == b"gave up\n":
                self._lost_s += limit_s
            return answer == b"1\n"

    def stop(self) -> None:
        """End the helper process and its worker; the next question starts others."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    def _ask(self, request: bytes) -> bytes:
        """The helper's answer; nothing, and the helper is gone, where it ended or is stuck."""
        if self._process is None:
            self._start()
        try:
            self._process.stdin.write(request)
            answer = self._read()
        except OSError:
            answer = b""
        if not answer:
            self.stop()
        return answer

    def _start(self) -> None:
        path = [str(WORKFLOW), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "captionqa.grading.math_verify"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
        )
        if self._read() != b"ready\n":
            self.stop()
            raise ResultError(
                "math-verify, which compares free-form answers, does not start; `make setup` installs it."
            )

    def _read(self) -> bytes:
        """The helper's next line; nothing where it ended or is stuck."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline() if selector.select(PATIENCE_S) else b""


VERIFIER = Verifier()
atexit.register(VERIFIER.stop)


def _serve() -> None:
    """Fork workers, one after the other, until one has answered all questions from stdin."""
    import logging
    import resource

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    verify(parse("$x+1$", parsing_timeout=None), parse("$1+x$", parsing_timeout=None), timeout_seconds=None)
    print("ready", file=answers, flush=True)
    while worker := os.fork():
        status = os.waitpid(worker, 0)[1]
        if not status:
            return
        if status != os.EX_TEMPFAIL << 8:
            print("gave up", file=answers, flush=True)
    for _ in range(ANSWERS_PER_WORKER):
        if not (line := sys.stdin.readline()):
            return
        wanted, given, limit_s = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, limit_s)  # its signal, unhandled, ends the worker wherever it is
        try:
            same = verify(
                parse(f"${wanted}$", parsing_timeout=None),
                parse(f"${given}$", parsing_timeout=None),
                timeout_seconds=None,
            )
        except MemoryError:
            os._exit(os.EX_SOFTWARE)
        except Exception:  # whatever SymPy stumbles over is not shown to be the same
            same = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(int(bool(same)), file=answers, flush=True)
    os._exit(os.EX_TEMPFAIL)


if __name__ == "__main__":
    _serve()
