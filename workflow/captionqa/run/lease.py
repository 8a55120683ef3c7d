"""The lease: a counter in a file, which the driver keeps incrementing. When it stops, servers and jobs end.

File times would not do in place of the counter: network file systems cache them, and the clocks of machines differ.
Each reader measures with its own clock how long the counter has stood still.
"""

import fcntl
import math
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, TypedDict

from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.errors import CaptionqaError, RunStoppedError, RunTakenOverError
from captionqa.files import write_json
from captionqa.run.file_lock import Lock, try_lock
from captionqa.run.process_identity import process_start, same_process

#: The environment variable that tells the driver's jobs the id of their run.
RUN_VARIABLE = "CAPTIONQA_RUN"
#: Seconds between two renewals of the lease.
RENEW_INTERVAL_S = 2.0
#: Seconds between two checks of a job that needs no server: is its run over?
POLL_S = 1.0
#: Age in seconds at which a lease of another host expires unless its lock is held. A dry run or a second driver cannot
#: wait to see whether the counter moves.
FOREIGN_LEASE_TIMEOUT_S = 600.0
TAKEN_OVER = "another run has taken over"

LeaseState = Literal["held", "released"]


class LeaseRecord(TypedDict):
    """The lease file."""

    #: Sorts by the time at which the run began.
    run_id: str
    state: LeaseState
    #: Incremented by each renewal.
    counter: int
    #: Where the driver runs.
    host: str
    pid: int
    #: The driver's `process_start`.
    process_started: int
    #: Time of the last renewal in seconds since the epoch, by the clock of `host`.
    written: float


class LeaseTakenError(CaptionqaError):
    """Another driver works on the same output folder."""

    def __init__(self, lease: LeaseRecord | None):
        who = f"process {lease['pid']} on {lease['host']}" if lease else "another process"
        super().__init__(
            f"another run works on this output folder ({who}); wait for it, stop it, or set another output_dir."
        )


class LeaseKeeper:
    """The driver's side: a thread renews the lease until it is released.

    A run of several models has the same lease in the server folder of each.
    """

    def __init__(self, *folders: Path):
        # absolute: Snakemake leaves its --directory before the process ends
        self._files = [ServerFiles(folder.absolute()) for folder in folders]
        self._locks: list[int] = []
        self.run_id = _run_id(time.time_ns() // 1_000_000)
        self._counter = 0
        self._held = False
        self._renewed_s = math.inf
        self._longest_stop_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def start(self) -> None:
        """Take the lease.

        Raises:
            LeaseTakenError: another living driver holds it.
            ConfigError: the folder belongs to another user.
        """
        with ExitStack() as undo:
            for files in self._files:
                self._take(files, undo)
            undo.pop_all()
        self._write("held")
        self._renewed_s = time.monotonic()
        self._held = True
        self._thread.start()

    def _take(self, files: ServerFiles, undo: ExitStack) -> None:
        """Lock one folder for the rest of the process, unless another folder then cannot be locked; raises as above."""
        files.make_folder()
        lock = os.open(files.lease_lock, os.O_RDWR | os.O_CREAT, 0o644)
        undo.callback(os.close, lock)
        self._locks.append(lock)
        before: LeaseRecord | None = read_own_json(files.lease)
        # without locks only the lease's age keeps drivers apart
        if try_lock(lock, fcntl.LOCK_EX) is Lock.BUSY or (before is not None and _is_live(before)):
            raise LeaseTakenError(read_own_json(files.lease))
        if before is not None and before["run_id"] >= self.run_id:  # the clock was put back since
            self.run_id = _run_id(int(before["run_id"].partition("-")[0]) + 1)

    def release(self) -> None:
        """End the run: servers and clients stop at once instead of when the lease expires."""
        if self._held and not self._over.is_set():
            self._over.set()
            self._thread.join(timeout=RENEW_INTERVAL_S)
            with suppress(OSError):  # on a full disk the counter stands still, so the lease expires instead
                self._write("released")

    def stood_still_s(self) -> float:
        """The longest time so far for which this process did not come to renew the lease, as while it is suspended."""
        return max(self._longest_stop_s, time.monotonic() - self._renewed_s)

    def _renew(self) -> None:
        while not self._over.wait(RENEW_INTERVAL_S):
            # in this order, so that another thread sees a stop in one of the two
            self._longest_stop_s, self._renewed_s = self.stood_still_s(), time.monotonic()
            with suppress(OSError):  # a full disk or an unreliable network: the next renewal tries again
                self._write("held")

    def _write(self, state: LeaseState) -> None:
        self._counter += 1
        record: LeaseRecord = {
            "run_id": self.run_id,
            "state": state,
            "counter": self._counter,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": process_start(os.getpid()),
            "written": time.time(),
        }
        errors = []
        for files in self._files:  # the servers of a model go on where the folder of another is lost
            try:
                write_json(files.lease, record)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class LeaseWatch:
    """The readers' side: finds out when the driver released the lease or stopped renewing it.

    A server may pass from a lost driver to the next one (`any_run`). A job may not: its run is over when another driver
    takes the lease. The driver names a job's run in the environment.
    """

    def __init__(self, folder: Path, timeout_s: float, any_run: bool = False):
        self._path = ServerFiles(folder).lease
        self._timeout_s = timeout_s
        self._any_run = any_run
        self._own_run_id = self._run_id = os.environ.get(RUN_VARIABLE)
        self._seen: tuple[str, int] | None = None
        self._moved_s = time.monotonic()

    def end_reason(self) -> str | None:
        """Why the run is over, or None while it goes on."""
        lease: LeaseRecord | None = None
        with suppress(OSError):  # a lease that cannot be read counts as one that does not move
            lease = read_own_json(self._path)
        # a network file system may still show the lease of an earlier run on this machine
        if lease is not None and lease["run_id"] >= (self._own_run_id or ""):
            if lease["state"] == "released":
                return "the driver stopped the run"
            self._run_id = self._run_id or lease["run_id"]
            if lease["run_id"] != self._run_id and not self._any_run:
                return TAKEN_OVER
            seen = (lease["run_id"], lease["counter"])
            if seen != self._seen:
                self._seen, self._moved_s = seen, time.monotonic()
        if time.monotonic() - self._moved_s > self._timeout_s:
            return f"the driver has given no sign of life for {self._timeout_s:.0f} s"
        return None

    def check(self) -> None:
        """Raise RunStoppedError when the run is over, and RunTakenOverError when another one has taken over."""
        if reason := self.end_reason():
            kind = RunTakenOverError if reason == TAKEN_OVER else RunStoppedError
            raise kind(f"{reason}; finished answers are kept, run the same command again to go on.")


def end_with_run(folder: Path) -> None:
    """From now on raise RunStoppedError in the main thread once the run is over, whatever that thread does.

    For jobs that need no server: no job of an earlier run may still write when the next run does.
    """
    watch = LeaseWatch(folder, math.inf)

    def stop(number: int, frame: object) -> None:
        watch.check()
        raise RunStoppedError("the job was told to stop.")

    def poll() -> None:
        while True:  # again and again: a library may swallow the first error
            time.sleep(POLL_S)
            if watch.end_reason():
                os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=poll, daemon=True, name="run").start()


def live_lease(folder: Path) -> LeaseRecord | None:
    """The lease of a driver that is probably alive (its counter is not watched); None where there is none."""
    lease: LeaseRecord | None = read_own_json(ServerFiles(folder).lease)
    return lease if lease is not None and (_is_live(lease) or _is_locked(folder, lease)) else None


def _run_id(milliseconds: int) -> str:
    """An id that sorts by its time, so that a job can tell a later run from an earlier one."""
    return f"{milliseconds}-{os.urandom(4).hex()}"


def _is_live(lease: LeaseRecord) -> bool:
    if lease["state"] == "released":
        return False
    if lease["host"] != socket.gethostname():
        return time.time() - lease["written"] < FOREIGN_LEASE_TIMEOUT_S
    return same_process(lease["pid"], lease["process_started"])


def _is_locked(folder: Path, lease: LeaseRecord) -> bool:
    """Whether a driver on another host holds the lock, however old its lease looks by this machine's clock."""
    if lease["state"] == "released" or lease["host"] == socket.gethostname():
        return False
    with suppress(FileNotFoundError), open(ServerFiles(folder).lease_lock, "rb") as lock:
        return try_lock(lock.fileno(), fcntl.LOCK_SH) is Lock.BUSY
    return False
