"""The view of a run that is going on: how far each task is, and what its servers do.

It is read from the run's files alone, so that `captionqa status` in another shell, or on another node, shows what the
driver shows.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from captionqa.config.layout import Layout
from captionqa.run.job_times import read_job_times
from captionqa.run.progress import Totals, duration, progress_line, progress_written, read_progress, totals
from captionqa.run.run_record import read_run_record, run_layouts, server_layouts
from captionqa.server import endpoint
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.load_log import LoadRecord, last_load

STATE_TEXTS = {
    State.STARTING: "starting",
    State.READY: "ready",
    State.REPLACING: "being restarted",
    State.QUEUED: "waiting in Slurm's queue",
    State.DEAD: "ended",
}
#: A load that was noted longer ago says nothing about now.
LOAD_HOLDS_S = 120.0


@dataclass(frozen=True)
class TaskView:
    """How far one task of a run is."""

    task: str
    #: Items that were in chunks without a result when the run began; of a judge those that its chunk jobs have so far.
    to_do: int
    counts: Totals
    #: Since the first chunk job of the task began; 0 before.
    seconds: float

    def text(self) -> str:
        return progress_line(self.counts, self.to_do, self.seconds)


@dataclass(frozen=True)
class ServerView:
    """What one server does."""

    endpoint: Endpoint
    #: Of a ready server whose load is known.
    load: LoadRecord | None = None
    #: Its model, where the run has several.
    model: str | None = None

    def line(self) -> str:
        return ("" if self.model is None else f"{self.model}, ") + server_line(self.endpoint, self.load)


@dataclass(frozen=True)
class RunView:
    """One look at a run."""

    #: The tasks that had items to do.
    tasks: list[TaskView]
    servers: list[ServerView]

    @property
    def done(self) -> int:
        return sum(task.counts["done"] for task in self.tasks)

    @property
    def to_do(self) -> int:
        return sum(task.to_do for task in self.tasks)

    def server_lines(self) -> list[str]:
        return [server.line() for server in self.servers]

    def line(self) -> str:
        """The view as one line, for a file."""
        return "; ".join([*(f"{task.task}: {task.text()}" for task in self.tasks), *self.server_lines()])


def read_view(layout: Layout) -> RunView:
    """What the files of the present run say; without tasks where no run was recorded.

    Of several models, those whose servers have ended because nothing needs them are left out.
    """
    now, record = time.time(), read_run_record(layout.server)
    to_do = {} if record is None else record.get("to_do", {})
    views = [_task_view(layout, task, items, now) for task, items in to_do.items() if items]
    tasks = [view for view in views if view.to_do]  # of a judge it is not known before its turn
    layouts, several = server_layouts(layout), len(run_layouts(layout)) > 1
    needed = [each for each in layouts if not (several and _is_over(each))]
    return RunView(tasks, server_views(needed, several))


def _is_over(layout: Layout) -> bool:
    """Whether the servers of the layout's model have ended, and no task needs them."""
    ended = all(server.state == State.DEAD for server in endpoint.read_all(layout.server))
    return ended and not layout.server_files.has_live_marker()


def server_views(layouts: Iterable[Layout], several: bool) -> list[ServerView]:
    """What the servers of these models do; `several` models are told apart by their names."""
    return [
        ServerView(server, _load(layout, server), layout.model if several else None)
        for layout in layouts
        for server in endpoint.read_all(layout.server)
    ]


def _load(layout: Layout, server: Endpoint) -> LoadRecord | None:
    """The load of a server now; None where it is not ready or its load is not known."""
    load = last_load(layout.server, server.replica) if server.state == State.READY else None
    return load if load is not None and time.time() - load["time"] < LOAD_HOLDS_S else None


def server_line(server: Endpoint, load: LoadRecord | None = None) -> str:
    """The state of a server in words, for how long it has been in it, and what it has to do."""
    text = f"server {server.replica}: {STATE_TEXTS[server.state]}"
    text += f" at {server.url}" if server.url else ""
    text += f" (Slurm job {server.job})" if server.job else ""
    text += f", for {duration(max(0.0, time.time() - server.changes[-1][1]))}" if server.changes else ""
    if load is not None:
        text += f", {load['requests'] - load['waiting']:.0f} requests running, {load['waiting']:.0f} waiting"
    text += f", restarts: {server.restarts[-1]['number']}" if server.restarts else ""
    return text + (f": {server.reason}" if server.reason else "")


def answered_text(layout: Layout, planned_items: int) -> str:
    """How many of all planned items have an answer after the present run, such as `160 of 685 answered and kept`.

    What a judge was asked does not count.
    """
    record = read_run_record(layout.server)
    to_do = {} if record is None else record.get("to_do", {})
    known = planned_items - sum(items for task, items in to_do.items() if task != "judge")
    counts, judged = totals(layout.progress), totals(layout.progress, "judge_")
    answered = known + counts["done"] - counts["failed"] - (judged["done"] - judged["failed"])
    return f"{answered:,} of {planned_items:,} answered and kept"


def _task_view(layout: Layout, task: str, to_do: int, now: float) -> TaskView:
    jobs = read_job_times(layout.job_times, now, progress_written(layout.progress))
    began = min(_starts(jobs.items(), task), default=now)
    if task == "judge":  # what it gets was not known when the run began
        to_do = sum(record["total"] for record in read_progress(layout.progress, "judge_"))
    return TaskView(task, to_do, totals(layout.progress, f"{task}_"), max(0.0, now - began))


def _starts(jobs: Iterable[tuple[str, list[tuple[float, float]]]], task: str) -> Iterable[float]:
    return (start for name, spans in jobs if name.startswith(f"{task}_") for start, _ in spans)
