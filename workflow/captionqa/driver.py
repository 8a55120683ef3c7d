"""What the driver does around the jobs: hold the lease, stop at once when told to, show progress, sum up at the end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from captionqa.chunks import items_to_do, load_plan, planned_halves
from captionqa.config import model_name
from captionqa.files import read_json, write_json
from captionqa.layout import Layout
from captionqa.lease import LeaseKeeper
from captionqa.progress import duration, progress_line, totals
from captionqa.server import Server

PROGRESS_INTERVAL_S = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Driver:
    """One run of the workflow: `begin` before its jobs, `end` after them."""

    def __init__(self, config: Mapping[str, Any], layout: Layout):
        self._config = config
        self._layout = layout
        self._lease = LeaseKeeper(layout.server)
        self._server = Server(config, model_name(config), layout)
        self._over = threading.Event()

    def begin(self, items_to_do: int, server_needed: bool) -> None:
        """Take the lease, say whether a server will be needed, and start showing progress over `items_to_do` items.

        Raises LeaseTakenError where another driver works on the same output folder.
        """
        self._lease.start()
        for folder in (self._layout.progress, self._layout.errors):
            for file in folder.glob("*.json"):
                file.unlink()
        write_json(self._layout.server_needed, {"needed": server_needed})
        for number in STOP_SIGNALS:
            self._chain(number)
        threading.Thread(target=self._show_progress, args=(items_to_do,), daemon=True, name="progress").start()

    def end(self) -> None:
        """Stop the server, and release the lease so that nothing outlives the run."""
        self._over.set()
        self._lease.release()
        self._server.stop()

    def _chain(self, number: int) -> None:
        """On a stop signal release the lease first: jobs see it and end, instead of being waited for."""
        before = signal.getsignal(number)

        def handle(received: int, frame: object) -> None:
            if not self._over.is_set():
                say("stopping the jobs and the server; what is answered is kept")
            self._lease.release()
            if number == signal.SIGHUP:
                os.kill(os.getpid(), signal.SIGTERM)
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
                line = progress_line(sums["done"], total, sums["reused"], sums["failed"], time.monotonic() - first)
                if sums["done"] < total:
                    say(line)


def say(text: str) -> None:
    print(f"captionqa: {text}", file=sys.stderr, flush=True)


def plan_line(config: Mapping[str, Any], layout: Layout) -> str:
    """What the plan found in the data, and how much of it is still to be asked."""
    found = []
    for half in planned_halves(config, layout):
        plan = load_plan(layout, half)
        text = f"{plan.items:,} {'images' if half == 'captions' else 'questions'} in {len(plan.chunks)} chunks"
        found.append(text + (f" ({plan.skipped_files:,} other files skipped)" if plan.skipped_files else ""))
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
        rows += _failures(_counts(layout.qa("provenance")), layout.qa("failures"))
    return "\n".join(rows)


def errors(layout: Layout) -> list[str]:
    """What the failed jobs of this run had to say."""
    return [stored["error"] for file in sorted(layout.errors.glob("*.json")) if (stored := read_json(file))]


def _counts(path: str) -> dict[str, Any] | None:
    stored = read_json(path)
    return stored and stored["counts"]


def _failures(counts: Mapping[str, Any], path: str) -> Sequence[str]:
    if not counts["failed"]:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["failures_by_reason"].items())
    return [f"  {counts['failed']:>7,} failed: {reasons}  {path}"]
