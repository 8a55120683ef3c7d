"""What the driver does around the jobs: hold the lease, look after the server, stop at once when told to, show progress
and sum up at the end."""

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from captionqa.config.config import model_name
from captionqa.config.layout import Layout
from captionqa.dataset.plan import items_to_do, load_plan, planned_halves
from captionqa.driver.failure_report import restarts
from captionqa.files import read_json, write_json
from captionqa.results.regrading import flips_line, verdict
from captionqa.run.lease import RUN_VARIABLE, LeaseKeeper
from captionqa.run.progress import duration, progress_line, totals
from captionqa.server.lifecycle import Server, slurm

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
        config: Mapping[str, Any],
        layout: Layout,
        look_at_jobs: Callable[[], str | None] = lambda: None,
        interrupt: bool = False,
    ):
        self._config = config
        self._layout = layout
        self._look_at_jobs = look_at_jobs
        self._interrupt = interrupt
        self._lease = LeaseKeeper(layout.server)
        self._server = Server(config, model_name(config), layout)
        self._over = threading.Event()

    def begin(self, items_to_do: int, server_needed: bool, slurm_server: Mapping[str, Any] | None = None) -> None:
        """Take the lease, write down what the jobs need to know, and start showing progress over `items_to_do` items.

        `slurm_server` is how Slurm starts a server (SlurmLauncher's arguments), None where Slurm does not. Raises
        LeaseTakenError where another driver works on the same output folder.
        """
        _log_to_terminal()
        self._lease.start()
        atexit.register(self._lease.release)  # where not even onerror is run
        os.environ[RUN_VARIABLE] = self._lease.run_id
        self._cancel_jobs()  # of a run that was killed
        for folder in (self._layout.progress, self._layout.errors, self._layout.spans):
            for file in folder.glob("*.json"):
                file.unlink()
        write_json(self._layout.run, {"server_needed": server_needed, "slurm": slurm_server})
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
        run = read_json(self._layout.run)
        if run and run["slurm"]:
            name = run["slurm"]["name"]
            slurm.cancel_named(name, *(slurm.server_name(name, replica) for replica in range(servers)))

    def _watch(self) -> None:
        """Look after the servers and the jobs; stop the run when nothing more can come of it."""
        dead = 0
        while not self._over.wait(WATCH_INTERVAL_S):
            reason = None
            with suppress(OSError):  # a flickering disk: the next look tries again
                reason = self._server.look_after()
            dead = dead + 1 if reason else 0
            if dead >= DEAD_LOOKS:
                error = f"the server is gone for good: {reason}\n  server's log: {self._layout.server_log()}"
                with suppress(OSError):  # on a full disk it is said now and not again at the end
                    write_json(self._layout.errors / "server.json", {"error": error})
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


def _log_to_terminal() -> None:
    """Only captionqa's own records: Snakemake prints its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("captionqa: %(message)s"))
    logger = logging.getLogger("captionqa")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def say(text: str) -> None:
    with suppress(OSError, ValueError):  # the terminal may be gone, and nothing may depend on it
        print(f"captionqa: {text}", file=sys.stderr, flush=True)


def plan_line(config: Mapping[str, Any], layout: Layout) -> str:
    """What the plan found in the data, and how much of it is still to be asked."""
    found = []
    for half in planned_halves(config, layout):
        plan = load_plan(layout, half)
        text = f"{plan.items:,} {'images' if half == 'captions' else 'questions'} in {len(plan.chunks)} chunks"
        text += f" ({plan.skipped_files:,} other files skipped)" if plan.skipped_files else ""
        text += f" ({plan.invalid_rows:,} more are invalid)" if plan.invalid_rows else ""
        found.append(text)
    return f"{', '.join(found)}; {items_to_do(config, layout):,} items are in chunks without a result"


def summary(config: Mapping[str, Any], layout: Layout, seconds: float) -> str:
    """What a finished run has made, for a person."""
    rows = [f"done in {duration(seconds)}"]
    captions = config.get("captions")
    if captions is not None:
        for style in captions["prompt_styles"]:
            path = layout.captions(style.lower())
            counts = _counts(layout.captions(style.lower(), "_provenance"))
            if counts is None:  # only some of the final files were asked for
                continue
            rows.append(f"  {counts['answered']:>7,} captions {style:<8} {path}")
            rows += _failures(counts, layout.captions(style.lower(), "_failures"))
    metrics = read_json(layout.qa("metrics")) if config.get("qa") is not None else None
    if metrics is not None:
        low, high = metrics["overall_accuracy_interval_95"]
        rows.append(f"  {metrics['answered_questions']:>7,} answers           {layout.qa('results')}")
        rows.append(
            f"          accuracy {metrics['overall_accuracy']:.1%} ({metrics['correct_answers']} of "
            f"{metrics['total_questions']}; 95 % interval {low:.1%} to {high:.1%})  {layout.qa('metrics')}"
        )
        if flips := read_json(layout.qa("flips")):
            line = flips_line(Counter(map(verdict, flips.values())), metrics["answered_questions"])
            rows.append(f"          {line}  {layout.qa('flips')}")
        rows += _failures(_counts(layout.qa("provenance")), layout.qa("failures"))
    return "\n".join([*rows, *(f"  {row}" for row in restarts(layout))])


def _counts(path: str) -> dict[str, Any] | None:
    stored = read_json(path)
    return stored and stored["counts"]


def _failures(counts: Mapping[str, Any], path: str) -> Sequence[str]:
    if not counts["failed"]:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["failures_by_reason"].items())
    return [f"  {counts['failed']:>7,} failed: {reasons}  {path}"]
