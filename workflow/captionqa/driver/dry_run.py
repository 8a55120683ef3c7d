"""The last sentence of a dry run: what a run would ask for, and how many servers it would start."""

from collections.abc import Mapping

from captionqa.client.pending_requests import PendingRequests
from captionqa.config.config import Task


def dry_run_text(pending: Mapping[Task, PendingRequests], servers: int, url: str | None, other_jobs: int) -> str:
    """Such as `1 image to caption (3 requests), 1 server to start`.

    `servers` would be started if there is a request to send, unless the server at `url` is there; `other_jobs` send
    none.
    """
    parts = [text for task, counts in pending.items() if (text := _task_text(task, counts))]
    if not parts:
        jobs = "1 job makes" if other_jobs == 1 else f"{other_jobs:,} jobs make"
        return f"no request to send and no server to start; {jobs} files anew from what is answered"
    if url:
        return f"{', '.join(parts)}, by the server at {url}"
    return f"{', '.join(parts)}, {_counted(servers, 'server')} to start"


def _task_text(task: Task, counts: PendingRequests) -> str:
    if not counts.items:
        return ""
    most = "up to " if counts.at_most else ""
    if task == "qa":
        return f"{most}{_counted(counts.items, 'question')} to answer"
    requests = f" ({most}{_counted(counts.requests, 'request')})" if counts.requests != counts.items else ""
    return f"{most}{_counted(counts.items, 'image')} to caption{requests}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
