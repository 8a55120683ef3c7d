"""The last sentence of a dry run: what a run would ask for, and how many servers it would start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captionqa.client.pending_requests import PendingRequests
from captionqa.config.config import Servers, Task


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
        parts = _task_texts(self.pending)
        for name, pending in self.named.items():
            if texts := _task_texts(pending):
                parts.append(f"{name}: {' and '.join(texts)}")
        if not parts:
            return ""
        by = f" by {self.model}" if several else ""
        if self.url:
            return f"{', '.join(parts)}{by}, by the server at {self.url}"
        return f"{', '.join(parts)}{by}, {_counted(self.servers, 'server')} to start"


def dry_run_text(models: Sequence[PlannedWork], other_jobs: int, servers: Servers = "one_at_a_time") -> str:
    """Such as `1 image to caption (3 requests), 1 server to start`.

    Several models are in the order in which their `servers` start. `other_jobs` send no request.
    """
    parts = [text for work in models if (text := work.text(len(models) > 1))]
    if not parts:
        jobs = "1 job makes" if other_jobs == 1 else f"{other_jobs:,} jobs make"
        return f"no request to send and no server to start; {jobs} files anew from what is answered"
    return ("; then " if servers == "one_at_a_time" else "; beside it ").join(parts)


def _task_texts(pending: Mapping[Task, PendingRequests]) -> list[str]:
    return [text for task, counts in pending.items() if (text := _task_text(task, counts))]


def _task_text(task: Task, counts: PendingRequests) -> str:
    if not counts.items:
        return ""
    most = "up to " if counts.at_most else ""
    item, verb = ("question", "answer") if task == "qa" else ("image", "caption")
    requests = f" ({most}{_counted(counts.requests, 'request')})" if counts.requests != counts.items else ""
    return f"{most}{_counted(counts.items, item)} to {verb}{requests}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
