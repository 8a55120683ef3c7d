"""The server as an operating-system process: its start, its end with all that it started."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

STOP_TIMEOUT_S = 20.0
#: What is left of a server without a supervisor has nothing to finish.
ORPHAN_STOP_TIMEOUT_S = 3.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Child(subprocess.Popen):
    """A process in a group of its own that ends with this process, be it by a SIGKILL; all it prints is in its stdout.

    The kernel tells the child of that end by SIGTERM. vLLM hears none while it loads, and its engine is told nothing; a
    warden, a process that waits for the end of this one, ends what is left of the group.
    """

    def __init__(self, argv: list[str], environment: dict[str, str]):
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        # started first: there is no moment at which the child has none
        self._warden = subprocess.Popen(
            [sys.executable, "-I", __file__], bufsize=0, stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            super().__init__(
                argv,
                bufsize=0,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            self._warden.stdin.write(f"{self.pid}\n".encode())
        except BaseException:
            self._dismiss_warden()
            raise

    def end(self, polite_s: float = STOP_TIMEOUT_S) -> None:
        """End the whole process group: politely for so many seconds, then not."""
        end_group(self.pid, polite_s, self.poll)
        self._dismiss_warden()

    def poll(self) -> int | None:
        """The exit code, None while it runs; buries the dead of its group too, which this process may have adopted."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-self.pid, os.WNOHANG)) != (0, 0):
                if found[0] == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(found[1])
        return super().poll()

    def _dismiss_warden(self) -> None:
        self._warden.kill()
        self._warden.wait()
        self._warden.stdin.close()


def adopt_orphans() -> None:
    """Become the parent of what this process's children leave behind.

    Some containers have a first process that never buries the dead, or late; a group that holds one looks alive.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_group(group: int, polite_s: float, look: Callable[[], object] = lambda: None) -> None:
    """End a process group; `look` is called while it is waited for, to bury those that are this process's own."""
    for number, patience_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, STOP_TIMEOUT_S)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            look()
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def main() -> None:
    """The warden: wait for the end of the one who holds the other end of the standard input, then end its child.

    Run as a file and isolated, so this module needs the standard library alone.
    """
    group = sys.stdin.readline()
    sys.stdin.read()
    if group:
        end_group(int(group), ORPHAN_STOP_TIMEOUT_S)


if __name__ == "__main__":
    main()
