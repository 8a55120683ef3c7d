"""The end of a run: always the same block. How it ended, what there is now, where to look, and what to type next."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, Signals

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import planned_items
from captionqa.driver.failure_report import failure_messages, only_too_many_failures, restarts
from captionqa.driver.run_view import answered_text
from captionqa.driver.summary import failed_reasons, result_rows
from captionqa.driver.terminal import print_message
from captionqa.errors import NOT_RETRIED
from captionqa.run.progress import duration

DONE, STOPPED, FAILED = "bold green", "bold yellow", "bold red"
GOES_ON = "the same command goes on"


@dataclass(frozen=True)
class RunEnd:
    """How a run ended, as the driver knows it."""

    #: How long it was.
    seconds: float
    #: The configuration, as a command names it.
    config_path: str
    #: The log of the program that ran the jobs.
    log: str | None = None
    #: The signal by which somebody stopped it.
    stopped_by: Signals | None = None
    #: What else is to be said, such as where the time went.
    notes: Sequence[str] = ()
    #: Where the page is, or why there is none.
    page: Sequence[str] = ()


@dataclass(frozen=True)
class Block:
    """What the terminal shows at the end."""

    heading: str
    #: Of the heading, in the words of rich.
    style: str
    rows: Sequence[str]

    def text(self) -> str:
        return "\n".join([self.heading, *("\n".join(f"  {line}" for line in row.splitlines()) for row in self.rows)])

    def show(self) -> None:
        print_message(self.text(), self.style)


def shown_path(path: str) -> str:
    """A path relative to the working folder where that is shorter, for a person to read."""
    near = os.path.relpath(path)
    return near if os.path.isabs(path) and len(near) < len(path) else path


def done(config: Config, end: RunEnd) -> Block:
    """The block of a run whose files are all there."""
    layout = Layout(shown_path(config.output_dir), config.model_name)
    rows = [*_results(config, layout), *restarts(layout), *end.notes, *_next(config, layout, end)]
    return Block(f"done in {duration(end.seconds)}", DONE, rows)


def nothing_to_do(config: Config, end: RunEnd) -> Block:
    """The block of a call that found all files there."""
    layout = Layout(shown_path(config.output_dir), config.model_name)
    pages = [layout.page] if Path(layout.page).exists() else [each.page for _, each in config.by_data_set(layout)]
    page = [f"look at the results in a browser: {path}" for path in pages if Path(path).exists()]
    rows = [*_results(config, layout), *page, *_next(config, layout, end)]
    return Block("nothing to do: all results are there and up to date", DONE, rows)


def not_done(config: Config, end: RunEnd) -> Block:
    """The block of a run that was stopped, or failed."""
    layout = Layout(shown_path(config.output_dir), config.model_name)
    answered = answered_text(layout, planned_items(config, layout))
    if end.stopped_by is not None:
        by = "you" if end.stopped_by == SIGINT else end.stopped_by.name
        return Block(f"stopped by {by}: {answered}; {GOES_ON}", STOPPED, [*restarts(layout), *end.notes, *end.page])
    messages = failure_messages(layout)
    if only_too_many_failures(layout):
        rows = [*_results(config, layout), *messages, *end.notes, *_next(config, layout, end)]
        return Block(f"done in {duration(end.seconds)}, but too many items failed", FAILED, rows)
    log = [f"log of all jobs: {shown_path(end.log)}"] if end.log else []
    last = [*end.page, f"next: put right what is named here; then {GOES_ON}"]
    return Block(f"failed after {duration(end.seconds)}: {answered}", FAILED, [*messages, *end.notes, *log, *last])


def _results(config: Config, layout: Layout) -> list[str]:
    return [row.removeprefix("  ") for row in result_rows(config, layout)]


def _next(config: Config, layout: Layout, end: RunEnd) -> list[str]:
    """The page, and what can be typed next."""
    rows = [row.replace(config.output_dir, layout.output_dir) for row in end.page]
    failed = failed_reasons(config, layout)
    if failed - NOT_RETRIED:
        rows.append(f"next: captionqa retry-failed {end.config_path} lets the next run ask again for what failed")
    elif failed:
        rows.append("next: correct the data; then the same command asks for what failed")
    return rows
