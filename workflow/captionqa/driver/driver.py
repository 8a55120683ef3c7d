"""The driver: holds the lease, watches the servers and jobs, handles stop signals, and prints progress."""

import atexit
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import FrameType

from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.driver.failure_report import failure_messages
from captionqa.driver.run_display import RunDisplay
from captionqa.driver.terminal import log_to_terminal, print_message
from captionqa.errors import ServerError
from captionqa.files import remove_json_files, write_json
from captionqa.run.job_log import JobError
from captionqa.run.lease import RUN_VARIABLE, LeaseKeeper
from captionqa.run.run_record import RunRecord, SlurmRun, read_run_record, write_run_record
from captionqa.server import slurm
from captionqa.server.lifecycle import Server
from captionqa.server.slurm_launcher import server_name

WATCH_INTERVAL_S = 5.0
#: How many checks in a row have to find all servers dead before the run is stopped. In between, the chunk
#: jobs, which fail for the same reason, can store their own errors.
DEAD_CHECKS = 2
#: A further Ctrl-C in this time is part of the first: it would break off the stopping, and how the run ended would not
#: be said. A later one gets through.
SAME_STOP_S = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Driver:
    """One run of the workflow: `begin` before its jobs, `end` or `cancel` after them.

    `check_jobs` is called every few seconds and returns why the run has to stop, or None. With `interrupt` a stop
    signal interrupts the main thread instead of going to the handler that was there before. With `in_place` progress
    on a terminal replaces what it showed before.
    """

    #: The signal by which somebody stopped the run.
    stopped_by: signal.Signals | None = None

    def __init__(
        self,
        config: Config,
        layout: Layout,
        check_jobs: Callable[[], str | None] = lambda: None,
        interrupt: bool = False,
        in_place: bool = True,
    ):
        self._config = config
        self._layout = layout
        self._check_jobs = check_jobs
        self._interrupt = interrupt
        self._layouts = layout.of_models(config.model_names)
        self._lease = LeaseKeeper(*(each.server for each in self._layouts))
        self._servers = [Server(config, each.model, each) for each in self._layouts]
        self._display = RunDisplay(self._layouts, in_place)
        #: Set when `end` or `cancel` begins, or a stop signal interrupts the main thread.
        self._ended = threading.Event()
        #: Whether no Slurm job is left to cancel.
        self._is_cleaned_up = False
        #: The name of this run's Slurm jobs; None before `begin` and where jobs run on this machine.
        self._slurm_name: str | None = None
        #: The names of its servers' jobs, if there are any.
        self._server_jobs: list[str] = []
        self._was_suspended = self._gave_up = False
        #: Guards `_was_suspended`.
        self._suspension_lock = threading.Lock()
        #: When the last Ctrl-C came that got through, by the monotonic clock.
        self._interrupted_s = -math.inf

    def begin(
        self,
        to_do: Mapping[Task, int],
        server_needed: Mapping[str, bool],
        slurm_runs: Mapping[str, SlurmRun] | None = None,
    ) -> None:
        """Take the lease, store what the jobs need to know, and start to show progress.

        `to_do` counts the items of each task that are in chunks without a result. `server_needed` and `slurm_runs` are
        by model; the second says how Slurm runs the jobs, and is None where they run on this machine.

        Raises:
            LeaseTakenError: another driver works on the same output folder.
        """
        log_to_terminal()
        self._lease.start()
        # by absolute paths, since Snakemake leaves its --directory before the process ends
        absolute = replace(self._layout, output_dir=os.path.abspath(self._layout.output_dir))
        atexit.register(self._exit_early, absolute)
        os.environ[RUN_VARIABLE] = self._lease.run_id
        for each in self._layouts:
            if (earlier := read_run_record(each.server)) and earlier["slurm"]:  # it was killed
                slurm.cancel_named(earlier["slurm"]["name"])
            for _, of_data in self._config.by_data_set(each):
                remove_json_files(of_data.positions)
        for folder in (self._layout.progress, self._layout.errors, self._layout.job_times):
            remove_json_files(folder)
        for each, server in zip(self._layouts, self._servers, strict=True):
            run = slurm_runs[each.model] if slurm_runs else None
            record: RunRecord = {"server_needed": server_needed[each.model], "slurm": run}
            if each.model == self._layout.model:
                record["to_do"] = dict(to_do)
                if len(self._layouts) > 1:
                    record["models"] = [layout.model for layout in self._layouts]
            if run is not None:
                self._slurm_name = run["name"]
                names = (server_name(run["name"], replica, run.get("model")) for replica in range(server.replicas))
                self._server_jobs += names
            write_run_record(each.server, record)
        for number in STOP_SIGNALS:
            self._chain_handler(number)
        self._display.start()
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def end(self) -> None:
        """Release the lease and stop the server, so that nothing outlives the run."""
        self._ended.set()
        self._display.close()
        self._is_cleaned_up = True
        self._lease.release()
        faults = []
        for server in self._servers:
            try:
                server.stop()
            except ServerError as error:
                faults.append(error)
        if faults:
            raise faults[0]

    def _exit_early(self, layout: Layout) -> None:
        """For an exit that runs neither `end` nor all of `cancel`.

        Snakemake itself may fail on a full disk or where it cannot cancel its jobs, and signals come at any time.
        """
        if not self._is_cleaned_up:
            self._lease.release()
            self._display.close()
            self._cancel_jobs()
            with suppress(OSError):
                for error in failure_messages(layout):
                    print_message(error)

    def cancel(self) -> None:
        """End a run that failed, with the Slurm jobs that Snakemake was submitting or checking when it stopped."""
        self._tell_suspension()  # after a suspension Snakemake may come here before `_watch` gets its turn
        self._ended.set()
        self._lease.release()
        self._cancel_jobs()
        self.end()

    def _cancel_jobs(self) -> None:
        """Cancel this run's Slurm jobs, and its servers."""
        if self._slurm_name:
            slurm.cancel_named(self._slurm_name, *self._server_jobs)

    def _watch(self) -> None:
        """Check the servers and the jobs until the run ends; stop the run when it can get no further."""
        dead = [0] * len(self._servers)
        while not self._ended.wait(WATCH_INTERVAL_S):
            self._tell_suspension()
            for number, layout in enumerate(self._layouts):
                reason = None
                with suppress(OSError):  # a flickering disk: the next check tries again
                    reason = self._servers[number].check_liveness()
                dead[number] = dead[number] + 1 if reason else 0
                if dead[number] >= DEAD_CHECKS:
                    error = f"the server is gone for good: {reason}\n  server's log: {layout.server_log()}"
                    with suppress(OSError):  # on a full disk the message is printed now and missing at the end
                        write_json(self._layout.job_error("server"), JobError(error=error))
                    return self._stop(error)
            if reason := self._check_jobs():
                return self._stop(reason)

    def _tell_suspension(self) -> None:
        """Say once that the driver slept for longer than its lease holds; the run goes on with what is left of it."""
        stood_still_s = self._lease.stood_still_s()
        lease_timeout_s = min(model.server.lease_timeout_s for model in self._config.models.values())
        with self._suspension_lock:
            if self._was_suspended or stood_still_s <= lease_timeout_s:
                return
            self._was_suspended = True
        error = (
            f"the driver stood still for {stood_still_s:.0f} s (was it suspended?), longer than server.lease_timeout_s "
            f"({lease_timeout_s:g} s), so its server and jobs end by themselves; what is answered is kept, run the "
            "same command again to go on."
        )
        print_message(error)
        with suppress(OSError):  # as above
            write_json(self._layout.job_error("driver"), JobError(error=error))

    def _stop(self, reason: str) -> None:
        self._gave_up = True
        print_message(reason)
        os.kill(os.getpid(), signal.SIGTERM)

    def _chain_handler(self, number: int) -> None:
        """Release the lease on a stop signal before the earlier handler runs.

        The jobs see that the lease is released and end, so that Snakemake does not wait for their work.
        """
        before = signal.getsignal(number)

        def handle(received: int, frame: FrameType | None) -> None:
            if received == signal.SIGINT:
                if time.monotonic() - self._interrupted_s < SAME_STOP_S:
                    return
                self._interrupted_s = time.monotonic()
            self._lease.release()
            if not self._ended.is_set() and not self._gave_up:
                self.stopped_by = self.stopped_by or signal.Signals(received)
                print_message("stopping the jobs and the server; what is answered is kept")
            if self._interrupt and not self._ended.is_set():
                self._ended.set()
                raise KeyboardInterrupt
            if number == signal.SIGHUP:
                os.kill(os.getpid(), signal.SIGTERM)
            elif number == signal.SIGTERM and callable(before):
                # Snakemake's handler takes a lock that this very thread may hold
                threading.Thread(target=before, args=(received, None), daemon=True).start()
            elif callable(before):
                before(received, frame)

        if not (number == signal.SIGHUP and before == signal.SIG_IGN):  # started by nohup
            signal.signal(number, handle)
