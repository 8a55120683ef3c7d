"""The lease: a counter that moves while the driver lives, and what its readers conclude when it stops.

A counter inside a file, not a time stamp of one: network file systems cache those, and clocks differ. Readers measure
with their own clock how long the counter has stood still.
"""

import errno
import fcntl
import math
import os
import signal
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from captionqa.config.server_files import ServerFiles
from captionqa.errors import CaptionqaError, RunStoppedError
from captionqa.files import read_json, write_json
from captionqa.run.process_identity import process_start, same_process

#: The environment variable by which the driver's jobs know which run they belong to.
RUN_VARIABLE = "CAPTIONQA_RUN"
BEAT_S = 2.0
#: How often a job that needs no server looks whether its run goes on.
LOOK_S = 1.0
#: A dry run or a second driver cannot wait to see a counter move; a lease of another host counts as live this long,
#: and longer while its lock is seen to be held.
FOREIGN_LEASE_S = 600.0
#: What flock says on a file system that has no locks, such as Lustre mounted without its flock option.
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class LeaseTakenError(CaptionqaError):
    """Another driver works on the same output folder."""

    def __init__(self, lease: dict[str, Any] | None):
        who = f"process {lease['pid']} on {lease['host']}" if lease else "another process"
        super().__init__(
            f"another run works on this output folder ({who}); wait for it, stop it, or set another output_dir."
        )


class LeaseKeeper:
    """The driver's side: rewrites the counter from a thread until released."""

    def __init__(self, folder: Path):
        # absolute: Snakemake leaves its --directory before the process is at its end
        self._files = ServerFiles(folder.absolute())
        self.run_id = _run_id(time.time_ns() // 1_000_000)
        self._counter = 0
        self._held = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="lease")

    def start(self) -> None:
        """Take the lease; raises LeaseTakenError where another living driver has it."""
        self._files.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._files.lease_lock, os.O_RDWR | os.O_CREAT, 0o644)
        before = read_json(self._files.lease)
        if not _lock(self._lock, fcntl.LOCK_EX) or (before is not None and _lives(before)):
            raise LeaseTakenError(read_json(self._files.lease))
        if before is not None and before["run_id"] >= self.run_id:  # the clock was put back since
            self.run_id = _run_id(int(before["run_id"].partition("-")[0]) + 1)
        self._write("held")
        self._held = True
        self._thread.start()

    def release(self) -> None:
        """Say that the run is over: servers and clients end at once instead of after the lease time."""
        if self._held and not self._over.is_set():
            self._over.set()
            self._thread.join(timeout=BEAT_S)
            with suppress(OSError):  # on a full disk the counter stands still, which says the same a little later
                self._write("released")

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self._write("held")
            except OSError:
                continue  # a full or flickering disk: the next beat tries again, readers have patience

    def _write(self, state: str) -> None:
        self._counter += 1
        write_json(
            self._files.lease,
            {
                "run_id": self.run_id,
                "state": state,
                "counter": self._counter,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "process_started": process_start(os.getpid()),
                "written": time.time(),
            },
        )


class LeaseWatch:
    """The other side: knows when the driver released the lease or stopped renewing it.

    A server may pass from a lost driver to the next one (`any_run`). A job may not: when another driver takes the
    lease, the job's own run is over; which one is its own the driver tells in the environment.
    """

    def __init__(self, folder: Path, timeout_s: float, any_run: bool = False):
        self._path = ServerFiles(folder).lease
        self._timeout_s = timeout_s
        self._any_run = any_run
        self._own = self._run_id = os.environ.get(RUN_VARIABLE)
        self._seen: tuple | None = None
        self._since = time.monotonic()

    def over(self) -> str | None:
        """Why the run is over, or None while it goes on."""
        lease = None
        with suppress(OSError):  # of a flickering disk: as good as a counter that stands still
            lease = read_json(self._path)
        # an earlier run's lease is one that a network file system still shows on this machine
        if lease is not None and lease["run_id"] >= (self._own or ""):
            if lease["state"] == "released":
                return "the driver stopped the run"
            self._run_id = self._run_id or lease["run_id"]
            if lease["run_id"] != self._run_id and not self._any_run:
                return "another run has taken over"
            seen = (lease["run_id"], lease["counter"])
            if seen != self._seen:
                self._seen, self._since = seen, time.monotonic()
        if time.monotonic() - self._since > self._timeout_s:
            return f"the driver has given no sign of life for {self._timeout_s:.0f} s"
        return None

    def check(self) -> None:
        """Raise RunStoppedError when the run is over."""
        if reason := self.over():
            raise RunStoppedError(f"{reason}; finished answers are kept, run the same command again to go on.")


def end_with_run(folder: Path) -> None:
    """Raise RunStoppedError in this process's main thread once its run is over, wherever it waits or works.

    For jobs that need no server: none of a run before may still write when the next one does.
    """
    watch = LeaseWatch(folder, math.inf)

    def stop(number: int, frame: object) -> None:
        watch.check()
        raise RunStoppedError("the job was told to stop.")

    def look() -> None:
        while True:  # again and again: a library may pass over the first
            time.sleep(LOOK_S)
            if watch.over():
                os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=look, daemon=True, name="run").start()


def holder(folder: Path) -> dict[str, Any] | None:
    """The lease of a driver that lives, as far as can be told at once; None where there is none."""
    lease = read_json(ServerFiles(folder).lease)
    return lease if lease is not None and (_lives(lease) or _is_locked(folder, lease)) else None


def _run_id(number: int) -> str:
    """Ids sort by their numbers, milliseconds: a job can tell a run after its own from one before."""
    return f"{number}-{uuid.uuid4().hex[:8]}"


def _lives(lease: dict[str, Any]) -> bool:
    if lease["state"] == "released":
        return False
    if lease["host"] != socket.gethostname():
        return time.time() - lease["written"] < FOREIGN_LEASE_S
    return same_process(lease["pid"], lease["process_started"])


def _is_locked(folder: Path, lease: dict[str, Any]) -> bool:
    """Whether another host's driver holds the lock, however old its lease looks by this machine's clock."""
    if lease["state"] == "released" or lease["host"] == socket.gethostname():
        return False
    with suppress(FileNotFoundError), open(ServerFiles(folder).lease_lock, "rb") as lock:
        return not _lock(lock.fileno(), fcntl.LOCK_SH)
    return False


def _lock(descriptor: int, kind: int) -> bool:
    """Take a lock unless another has it; on a file system without locks the lease's age has to do."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
