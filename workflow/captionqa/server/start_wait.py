"""Waiting for a server that was just started until it is ready, and the error where it will not be."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from captionqa.errors import ServerStartError
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint, vllm_log
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import Handle, Launcher, SupervisorStatus
from captionqa.server.start_request import StartRequest

POLL_S = 0.25
#: Seconds after which the same progress message is logged again.
REPEAT_MESSAGE_S = 30.0
#: How much longer than the supervisor the driver waits. The supervisor has the same deadline and knows a better reason.
REPORT_GRACE_S = 15.0

log = logging.getLogger(__name__)


def wait_until_ready(
    folder: Path, launcher: Launcher, handles: Sequence[Handle], request: StartRequest
) -> list[Endpoint]:
    """Wait for the first ready replica and return the endpoints that are ready; others may follow while clients work.

    Each replica has its own deadline, and the time that it spends in a queue does not count.

    Raises:
        ServerStartError: no replica can become ready any more, or none was in time.
        RunStoppedError: the driver stopped the run.
    """
    timeout_s = request["server"]["start_timeout_s"] + REPORT_GRACE_S
    deadlines = [time.monotonic() + timeout_s] * len(handles)
    lease = LeaseWatch(folder, request["server"]["lease_timeout_s"])
    progress = _ProgressMessages(request["logs"][0])
    while time.monotonic() < max(deadlines):
        lease.check()
        statuses = launcher.status(handles)
        for replica, status in enumerate(statuses):
            if status.waiting or status.unknown:
                deadlines[replica] = time.monotonic() + timeout_s
        found = [entry for entry in endpoint.read_all(folder) if entry.request_id == request["request_id"]]
        if ready := [entry for entry in found if entry.state is State.READY]:
            log.info("the server is healthy after %.0f s at %s", progress.waited_s(), ready[0].url)
            for text in ready[0].chosen:
                log.info("server: %s", text)
            return ready
        dead = [entry for entry in found if entry.state is State.DEAD]
        if len(dead) == len(handles):
            raise _start_error(endpoint.reasons(dead), request)
        if not any(status.alive for status in statuses):
            raise _start_error(statuses[0].text, request)
        progress.show(statuses)
        time.sleep(POLL_S)
    timeout_s = request["server"]["start_timeout_s"]
    raise _start_error(f"it was not healthy after {timeout_s:.0f} s (server.start_timeout_s)", request)


class _ProgressMessages:
    """Logs what the supervisors wait for when that changes, and again after some time."""

    def __init__(self, server_log: str):
        self._server_log = server_log
        self._started_at = self._shown_at = time.monotonic()
        self._shown = ""

    def waited_s(self) -> float:
        return time.monotonic() - self._started_at

    def show(self, statuses: Sequence[SupervisorStatus]) -> None:
        text = "; ".join(dict.fromkeys(filter(None, (status.text for status in statuses))))
        if text != self._shown or time.monotonic() - self._shown_at >= REPEAT_MESSAGE_S:
            self._shown_at, self._shown = time.monotonic(), text
            where = text or f"its log is {self._server_log}"
            log.info("waiting for the server, %.0f s so far; %s", self.waited_s(), where)


def _start_error(reason: str, request: StartRequest) -> ServerStartError:
    """The error with its reason, advice, and the end of the first server's log."""
    log_path = request["logs"][0]
    end = vllm_log.tail(Path(log_path))
    server = request["server"]
    hint = vllm_log.advice(end, request["model_path"], [*(server["command"] or ()), *server["extra_args"]])
    text = f"the server did not start: {reason}. {hint}\n--- the end of {log_path}:\n{end}\n---"
    return ServerStartError(text.replace(". \n", ".\n"))
