"""What the driver does around the jobs: hold the lease, look after the server, stop at once when told to, show progress
and sum up at the end."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.driver.terminal import log_to_terminal, say
from captionqa.files import write_json
from captionqa.run.lease import RUN_VARIABLE, LeaseKeeper
from captionqa.run.progress import progress_line, totals
from captionqa.run.run_record import SlurmRun, read_run_record, write_run_record
from captionqa.server import slurm
from captionqa.server.lifecycle import Server
from captionqa.server.slurm_launcher import server_name

PROGRESS_INTERVAL_S = 10.0
WATCH_INTERVAL_S = 5.0
#: How often in a row all servers have to be found dead: the chunks that they failed get to say so first.
DEAD_LOOKS = 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Driver:
    """One run of the workflow: `begin` before its jobs, `end` after them.

    `look_at_jobs` is called every few seconds and says why the run has to stop, if it has to. With `interrupt` a stop
    signal interrupts the main thread instead of taking its usual way.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        look_at_jobs: Callable[[], str | None] = lambda: None,
        interrupt: bool = False,
    ):
        self._config = config
        self._layout = layout
        self._look_at_jobs = look_at_jobs
        self._interrupt = interrupt
        self._lease = LeaseKeeper(layout.server)
        self._server = Server(config, config.model_name, layout)
        self._over = threading.Event()

    def begin(self, items_to_do: int, server_needed: bool, slurm_server: SlurmRun | None = None) -> None:
        """Take the lease, write down what the jobs need to know, and start showing progress over `items_to_do` items.

        `slurm_server` is how Slurm starts a server (SlurmLauncher's arguments), None where Slurm does not. Raises
        LeaseTakenError where another driver works on the same output folder.
        """
        log_to_terminal()
        self._lease.start()
        atexit.register(self._lease.release)  # where not even onerror is run
        os.environ[RUN_VARIABLE] = self._lease.run_id
        self._cancel_jobs()  # of a run that was killed
        for folder in (self._layout.progress, self._layout.errors, self._layout.job_times):
            for file in folder.glob("*.json"):
                file.unlink()
        write_run_record(self._layout.server, {"server_needed": server_needed, "slurm": slurm_server})
        for number in STOP_SIGNALS:
            self._chain(number)
        threading.Thread(target=self._show_progress, args=(items_to_do,), daemon=True, name="progress").start()
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def end(self) -> None:
        """Release the lease and stop the server, so that nothing outlives the run."""
        self._over.set()
        self._lease.release()
        self._server.stop()

    def cancel(self) -> None:
        """End a run that failed: also jobs that were being submitted, or whose state was asked for, when it stopped."""
        self._over.set()
        self._lease.release()
        self._cancel_jobs(servers=self._server.replicas)
        self.end()

    def _cancel_jobs(self, servers: int = 0) -> None:
        """Cancel the jobs of the run that is written down, and so many of its servers."""
        run = read_run_record(self._layout.server)
        if run and run["slurm"]:
            name = run["slurm"]["name"]
            slurm.cancel_named(name, *(server_name(name, replica) for replica in range(servers)))

    def _watch(self) -> None:
        """Look after the servers and the jobs; stop the run when nothing more can come of it."""
        dead = 0
        while not self._over.wait(WATCH_INTERVAL_S):
            reason = None
            with suppress(OSError):  # a flickering disk: the next look tries again
                reason = self._server.check_liveness()
            dead = dead + 1 if reason else 0
            if dead >= DEAD_LOOKS:
                error = f"the server is gone for good: {reason}\n  server's log: {self._layout.server_log()}"
                with suppress(OSError):  # on a full disk it is said now and not again at the end
                    write_json(self._layout.job_error("server"), {"error": error})
                return self._stop(error)
            if reason := self._look_at_jobs():
                return self._stop(reason)

    def _stop(self, reason: str) -> None:
        say(reason)
        os.kill(os.getpid(), signal.SIGTERM)

    def _chain(self, number: int) -> None:
        """On a stop signal release the lease first: jobs see it and end, instead of being waited for."""
        before = signal.getsignal(number)

        def handle(received: int, frame: object) -> None:
            self._lease.release()
            if not self._over.is_set():
                say("stopping the jobs and the server; what is answered is kept")
            if self._interrupt and not self._over.is_set():
                self._over.set()
                raise KeyboardInterrupt
            if number == signal.SIGHUP:
                os.kill(os.getpid(), signal.SIGTERM)
            elif number == signal.SIGTERM and callable(before):
                # Snakemake's handler takes a lock that this very thread may hold
                threading.Thread(target=before, args=(received, None), daemon=True).start()
            elif callable(before):
                before(received, frame)

        if not (number == signal.SIGHUP and before == signal.SIG_IGN):  # nohup
            signal.signal(number, handle)

    def _show_progress(self, total: int) -> None:
        first: float | None = None
        while not self._over.wait(PROGRESS_INTERVAL_S):
            sums = totals(self._layout.progress)
            if sums["done"]:
                first = first or time.monotonic() - PROGRESS_INTERVAL_S
                seconds = time.monotonic() - first
                line = progress_line(
                    sums["done"], total, sums["reused"], sums["failed"], seconds, shared=sums["shared"]
                )
                if sums["done"] < total:
                    say(line)
