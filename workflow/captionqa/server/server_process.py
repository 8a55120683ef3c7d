"""The server as an operating-system process: starting it, and ending it with everything that it started."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

#: Grace period between SIGTERM and SIGKILL for a server that may have requests to finish.
STOP_GRACE_S = 20.0
#: The same for a server without a supervisor, which has nothing to finish.
ORPHAN_GRACE_S = 3.0
#: How long a group may take to disappear after SIGKILL.
KILL_TIMEOUT_S = 20.0
#: The environment variable for the folder of temporary files.
TEMPORARY_VARIABLE = "TMPDIR"
#: Options of prctl (man 2 prctl).
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class ServerProcess(subprocess.Popen[bytes]):
    """A process group that ends when this process ends, even by SIGKILL. All its output is in `stdout`.

    The kernel sends the group's first process SIGTERM when its parent dies. That is not enough: vLLM ignores SIGTERM
    while it loads, and its engine is a process of its own. So a reaper, a helper process that waits for the death of
    this one, ends what is left of the group.

    Its folder for temporary files is its own, closed to others and removed at the end. vLLM makes sockets and files
    there, under names for all to see, through which its processes trust each other; a umask of 002 opens them to a
    group.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]):
        """Start the process; raises OSError where the command cannot be started."""
        libc = ctypes.CDLL(None)
        wanted = environment.get(TEMPORARY_VARIABLE, "")  # of another machine, perhaps
        place = wanted if os.access(wanted, os.W_OK | os.X_OK) else None
        # a short name: the path of a socket has at most 107 bytes
        #: Its folder for temporary files.
        self.temporary = tempfile.mkdtemp(prefix="cq", dir=place)

        def die_with_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        # the reaper starts first, so that there is no moment without it
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", __file__], bufsize=0, stdin=subprocess.PIPE, start_new_session=True
        )
        assert self._reaper.stdin is not None
        self._reaper_input = self._reaper.stdin
        try:
            super().__init__(
                argv,
                bufsize=0,
                env={**environment, TEMPORARY_VARIABLE: self.temporary},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            self._reaper_input.write(f"{self.pid} {self.temporary}\n".encode())
        except BaseException:
            self._clean_up()
            raise

    def end(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the whole process group: SIGTERM, then SIGKILL after the grace period."""
        end_group(self.pid, grace_s, self.poll)
        self._clean_up()

    def poll(self) -> int | None:
        """The exit code, or None while the process runs. Also reaps orphans of the group that this process adopted."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-self.pid, os.WNOHANG)) != (0, 0):
                if found[0] == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(found[1])
        return super().poll()

    def _clean_up(self) -> None:
        self._reaper.kill()
        self._reaper.wait()
        self._reaper_input.close()
        shutil.rmtree(self.temporary, ignore_errors=True)


def become_subreaper() -> None:
    """Make this process adopt the orphans among its descendants.

    The first process of some containers never reaps orphans, or reaps them late, and a group with a zombie looks alive.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_group(group: int, grace_s: float, reap: Callable[[], object] = lambda: None) -> None:
    """End a process group: SIGTERM, then SIGKILL after the grace period.

    `reap` is called while the group is waited for, to reap those of its processes that are this process's children.
    """
    for number, timeout_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_TIMEOUT_S)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            reap()
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def exit_text(code: int) -> str:
    """An exit code as subprocess gives it, in words: `exit code 3` or `signal SIGKILL`."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def main() -> None:
    """The reaper: wait until the process at the other end of standard input dies, then end the group it named there.

    It runs as a file and isolated (-I), so this module needs the standard library alone.
    """
    group, _, temporary = sys.stdin.readline().rstrip("\n").partition(" ")
    sys.stdin.read()
    if group:
        end_group(int(group), ORPHAN_GRACE_S)
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main()
