"""What ends a server from outside: a signal, the end of its run, or another start request."""

import signal
from pathlib import Path

from captionqa.run.lease import LeaseWatch
from captionqa.server import start_request
from captionqa.server.generation_end import GenerationEnd, NextStep
from captionqa.server.start_request import StartRequest

ANOTHER_REQUEST = "another server is asked for meanwhile"


class StopConditions:
    """Watches for the stop conditions of one server; in a Slurm `job` also for Slurm's warning of the time limit."""

    def __init__(self, folder: Path, request: StartRequest, job: str | None):
        self._folder = folder
        self._request_id = request["request_id"]
        self._lease = LeaseWatch(folder, request["server"]["lease_timeout_s"], any_run=True)
        self.job = job
        #: What the last signal asks for.
        self.signalled: GenerationEnd | None = None
        #: Whether the server was ready at any time.
        self.ever_ready = False

    def listen(self) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if self.job else [])):
            signal.signal(number, self._on_signal)

    def check(self) -> GenerationEnd | None:
        """Why the present generation has to end; None while it may go on."""
        if self.signalled:
            return self.signalled
        if reason := self._lease.end_reason():
            return GenerationEnd(reason, NextStep.NOTHING)
        if self.superseded():
            return GenerationEnd(ANOTHER_REQUEST, NextStep.NOTHING)
        return None

    def superseded(self) -> bool:
        """Whether another start request has replaced this server's."""
        return start_request.superseded(self._folder, self._request_id)

    def _on_signal(self, number: int, frame: object) -> None:
        if number != signal.SIGUSR1:
            following = NextStep.SLURM if self.job else NextStep.NOTHING
            self.signalled = GenerationEnd(f"it was stopped by {signal.Signals(number).name}", following)
        elif self.ever_ready:
            self.signalled = GenerationEnd("its job's time limit is near", NextStep.REQUEUE)
        else:  # a server that did not become ready in one job's time would not in another's
            reason = "its job's time limit is near, and it is not healthy yet; raise runtime"
            self.signalled = GenerationEnd(reason, NextStep.NOTHING)
