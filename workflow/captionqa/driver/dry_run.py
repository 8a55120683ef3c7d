"""The last sentence of a dry run: what a run would ask for, and how many servers it would start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from captionqa.client.pending_requests import PendingRequests
from captionqa.config.config import Servers, Task
from captionqa.run.progress import counted

#: {task: what an item is, and what the model does with it}.
WORK: Mapping[Task, tuple[str, str]] = {
    "captions": ("image", "caption"),
    "qa": ("question", "answer"),
    "judge": ("answer", "judge"),
}
#: Up to this many pairs of a model and a data set to ask stand in one sentence; more have a line each.
IN_A_SENTENCE = 2


@dataclass(frozen=True)
class PlannedWork:
    """What a run would ask one model."""

    model: str
    pending: Mapping[Task, PendingRequests]
    #: The servers that it would start if there is a request to send.
    servers: int
    #: The address of the model's existing server, which is used in their place.
    url: str | None = None
    #: {data set: what is asked about it} of named ones; then `pending` is empty.
    named: Mapping[str, Mapping[Task, PendingRequests]] = field(default_factory=dict)

    def text(self, several: bool) -> str:
        """Empty where nothing would be asked; with `several` models the text names this one."""
        parts = [*_task_texts(self.pending), *self.data_sets()]
        if not parts:
            return ""
        return f"{', '.join(parts)}{f' by {self.model}' if several else ''}, {self.server()}"

    def data_sets(self) -> list[str]:
        """What is asked about each named data set, of those about which something is."""
        found = {name: _task_texts(pending) for name, pending in self.named.items()}
        return [f"{name}: {' and '.join(texts)}" for name, texts in found.items() if texts]

    def server(self) -> str:
        return f"by the server at {self.url}" if self.url else f"{counted(self.servers, 'server')} to start"


def dry_run_text(models: Sequence[PlannedWork], other_jobs: int, servers: Servers = "one_at_a_time") -> str:
    """Such as `1 image to caption (3 requests), 1 server to start`.

    Several models are in the order in which their `servers` start. `other_jobs` send no request. With many models and
    data sets each has a line of its own.
    """
    if sum(len(work.data_sets()) for work in models) > IN_A_SENTENCE:
        return _lines(models, servers)
    parts = [text for work in models if (text := work.text(len(models) > 1))]
    if not parts:
        jobs = "1 job makes" if other_jobs == 1 else f"{other_jobs:,} jobs make"
        return f"no request to send and no server to start; {jobs} files anew from what is answered"
    return ("; then " if servers == "one_at_a_time" else "; beside it ").join(parts)


def _lines(models: Sequence[PlannedWork], servers: Servers) -> str:
    """A line for each model and one for each of its data sets; models that are asked the same share theirs."""
    asked = [work for work in models if work.data_sets()]
    several = {"one_at_a_time": "one after another", "side_by_side": "side by side"}[servers]
    lines = [f"would ask {counted(len(asked), 'model')}{f', {several}' if len(asked) > 1 else ''}:"]
    for data_sets, alike in groupby(asked, key=PlannedWork.data_sets):
        lines += [f"  {work.model}, {work.server()}" for work in alike]
        lines[-1] += ":"
        lines += [f"    {text}" for text in data_sets]
    counts = [count for work in asked for pending in work.named.values() for count in pending.values()]
    most = "up to " if any(count.at_most and count.items for count in counts) else ""
    return "\n".join([*lines, f"  together {most}{counted(sum(count.requests for count in counts), 'request')}"])


def _task_texts(pending: Mapping[Task, PendingRequests]) -> list[str]:
    return [text for task, counts in pending.items() if (text := _task_text(task, counts))]


def _task_text(task: Task, counts: PendingRequests) -> str:
    if not counts.items:
        return ""
    most = "up to " if counts.at_most else ""
    item, verb = WORK[task]
    requests = f" ({most}{counted(counts.requests, 'request')})" if counts.requests != counts.items else ""
    return f"{most}{counted(counts.items, item)} to {verb}{requests}"
