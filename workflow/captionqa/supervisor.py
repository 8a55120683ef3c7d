"""The supervisor: runs beside vLLM, inside the GPU job, for as long as the driver's lease moves.

    python -m captionqa.supervisor SERVER_FOLDER REPLICA REQUEST_ID

Picks the port, starts vLLM, checks its health (HTTP, and that tokens advance while requests run), publishes the
endpoint file, restarts vLLM a bounded number of times when it crashes or hangs, and takes the endpoint down before it
goes. What to serve stands in the folder's request file; one of another id is another server's.

In a Slurm job it also heeds the warning before the time limit: it ends the server in order, sends its job back to the
queue, and goes on there as the next generation. Why Slurm ends a job (scancel, preemption, a lost node) is not for the
job to know; it says that the server is being replaced, and the driver, which asks Slurm, says whether it is dead.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from captionqa import command, endpoint, slurm
from captionqa.child import STOP_TIMEOUT_S, exit_text, free_port, listen_address, start_child, stop_group, url_host
from captionqa.endpoint import Endpoint, State
from captionqa.errors import CaptionqaError, ServerError
from captionqa.files import read_json
from captionqa.lease import LeaseWatch
from captionqa.probe import Aside, Load, Patience, Probe
from captionqa.revision import model_revision

REQUEST_FILE = "request.json"
POLL_S = 0.5
LOADING_STOP_TIMEOUT_S = 3.0
JOB_SIGNAL_S = 1.0
ANOTHER_REQUEST = "another server is asked for meanwhile"
PORT_TRIES = 5
#: A request written on another machine may take as long to be seen as a network file system caches folders.
REQUEST_TIMEOUT_S = 90.0
#: Slurm ends a job that it takes back to the queue, usually within seconds.
REQUEUE_TIMEOUT_S = 120.0


class Next(Enum):
    """What follows the end of a generation."""

    RESTART = "another generation in this process"
    REQUEUE = "another generation when the job, sent back to the queue from here, starts again"
    SLURM = "what Slurm decides: another generation when the job starts again, or the end"
    NOTHING = "the end"


@dataclass
class Outcome:
    """Why a generation ended, and what follows."""

    reason: str
    next: Next


class Supervisor:
    """One server from start to end; `run` returns when it is over."""

    def __init__(self, folder: Path, replica: int, request: dict[str, Any]):
        self._folder = folder
        self._request = request
        self._settings = request["server"]
        self._model = request["served_name"]
        self._log = Path(request["logs"][replica])
        self._key = endpoint.read_key(folder)
        self._lease = LeaseWatch(folder, self._settings["lease_timeout_s"], any_run=True)
        self._child: subprocess.Popen | None = None
        self._told: Outcome | None = None
        self._answered = self._ever_answered = False
        self._job = os.environ.get("SLURM_JOB_ID") if request["slurm"] else None
        self._host = listen_address(self._settings["host"])
        self._endpoint = Endpoint(
            replica=replica,
            request_id=request["request_id"],
            settings=request["settings"],
            model=self._model,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=self._job,
        )

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if self._job else [])):
            signal.signal(number, self._on_signal)
        if self._job:
            self._take_up()
        if self._endpoint.state is State.DEAD:
            return
        self._endpoint.publish(self._folder)
        restarts, port_tries = 0, 0
        try:
            while True:
                outcome = self._serve()
                if outcome.next is Next.RESTART and self._endpoint.state is State.STARTING:
                    port_tries += 1
                    if port_tries >= PORT_TRIES or not command.port_was_taken(command.tail(self._log)):
                        outcome.next = Next.NOTHING
                elif outcome.next is Next.RESTART:
                    restarts += 1
                    self._endpoint.crashes += self._endpoint.state is State.READY
                    if restarts > self._settings["max_restarts"]:
                        reason = f"{outcome.reason}; it was restarted {restarts - 1} times before"
                        outcome = Outcome(reason, Next.NOTHING)
                self._take_down(outcome)
                if outcome.next is Next.REQUEUE:
                    self._requeue()
                if outcome.next is not Next.RESTART:
                    return
        except BaseException as error:
            self._take_down(Outcome(f"the supervisor failed: {type(error).__name__}: {error}", Next.NOTHING))
            raise

    def _take_up(self) -> None:
        """Go on with the endpoint of this job's start before, if there was one."""
        before = endpoint.read(self._folder, self._endpoint.replica)
        if before is not None and before.request_id == self._endpoint.request_id:
            self._endpoint.generation = before.generation + (before.state is State.READY)
            self._endpoint.crashes = before.crashes
            ever_ready = bool(before.versions)
            if before.state is State.DEAD or ever_ready:
                self._endpoint.state = State.DEAD if before.state is State.DEAD else State.REPLACING

    def _requeue(self) -> None:
        """Send this job back to the queue and wait for Slurm to end it."""
        self._say("its job goes back to the queue")
        warned = self._told
        refused = slurm.requeue(self._job)
        until = time.monotonic() + (JOB_SIGNAL_S if refused else REQUEUE_TIMEOUT_S)
        while self._told is warned and time.monotonic() < until:
            time.sleep(POLL_S)
        if refused and self._told is warned:
            self._take_down(Outcome(f"{warned.reason} and its job cannot be requeued: {refused}", Next.NOTHING))

    def _on_signal(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            # one that was never healthy would not become so in another such time either
            self._told = (
                Outcome("its job's time limit is near", Next.REQUEUE)
                if self._ever_answered
                else Outcome("its job's time limit is near, and it is not healthy yet; raise runtime", Next.NOTHING)
            )
        else:
            self._told = Outcome(f"it was stopped by {name}", Next.SLURM if self._job else Next.NOTHING)

    def _serve(self) -> Outcome:
        """Start one generation and watch it to its end."""
        wanted = self._settings["port"]
        # replicas that start together on one node must not choose the same
        port = free_port(self._host, wanted and min(wanted + self._endpoint.replica, 65_535))
        argv = [
            *command.resolve(self._settings["command"]),
            *command.arguments(self._settings, self._request["model_path"], self._model, self._host, port),
        ]
        self._endpoint.argv = argv
        self._say(f"starting generation {self._endpoint.generation}: {shlex.join(argv)}")
        try:
            self._child = start_child(argv, command.environment(self._settings, self._key), self._log)
        except OSError as error:
            return Outcome(f"the command {argv[0]} cannot be started: {error.strerror}", Next.NOTHING)
        self._endpoint.url = f"http://{url_host(self._host)}:{port}"
        probe = Probe(self._endpoint.url, self._key)
        outcome = self._wait_until_healthy(probe)
        self._answered = outcome is None
        self._ever_answered |= self._answered
        if outcome is None:
            self._endpoint.state, self._endpoint.reason = State.READY, None
            self._endpoint.versions = {"vllm": probe.version() or "unknown"} | self._revision()
            self._endpoint.publish(self._folder)
            self._say(f"healthy at {self._endpoint.url}")
            outcome = self._watch(probe)
        return outcome

    def _revision(self) -> dict[str, str]:
        environment = {**os.environ, **self._settings["env"]}
        found = model_revision(self._request["model_path"], self._settings["extra_args"], environment)
        return {"model_revision": found} if found else {}

    def _wait_until_healthy(self, probe: Probe) -> Outcome | None:
        deadline = time.monotonic() + self._settings["start_timeout_s"]
        complaint = "its first answer has not come"
        while time.monotonic() < deadline:
            if outcome := self._pause(POLL_S):
                return outcome
            asked = Aside(lambda: (probe.health(), probe.serves(self._model), probe.answers(self._model)))
            while not asked.over and time.monotonic() < deadline:
                if outcome := self._pause(POLL_S):
                    return outcome
            if asked.over and asked.error is None:
                return None
            if asked.over:
                complaint = str(asked.error)
        return Outcome(
            f"it was not healthy after {self._settings['start_timeout_s']:.0f} s (server.start_timeout_s): {complaint}",
            Next.NOTHING,
        )

    def _watch(self, probe: Probe) -> Outcome:
        health, tokens = Patience(self._settings["hang_timeout_s"]), Patience(self._settings["hang_timeout_s"])
        last: Load | None = None
        while True:
            if outcome := self._pause(self._settings["health_interval_s"]):
                return outcome
            try:
                probe.health()
                health.good()
            except ServerError as error:
                if health.lost():
                    reason = f"its health check failed for {health.limit_s:.0f} s: {error}"
                    return Outcome(reason, Next.RESTART)
                continue
            load = probe.load()
            if load is None or last is None or load.running == 0 or load.tokens != last.tokens:
                tokens.good()
            elif tokens.lost():
                reason = f"{load.running:.0f} requests ran for {tokens.limit_s:.0f} s without a token"
                return Outcome(reason, Next.RESTART)
            last = load
            published = endpoint.read(self._folder, self._endpoint.replica)
            if published is not None and published.state is State.QUEUED:  # the driver's news came late
                self._endpoint.publish(self._folder)

    def _pause(self, seconds: float) -> Outcome | None:
        """Wait, and say why the watch has to end if it has to."""
        until = time.monotonic() + seconds
        while True:
            if self._told:
                return self._told
            if reason := self._lease.over():
                return Outcome(reason, Next.NOTHING)
            if request_id(self._folder) != self._endpoint.request_id:
                return Outcome(ANOTHER_REQUEST, Next.NOTHING)
            code = self._child.poll()
            if code is not None:
                if self._job:
                    time.sleep(JOB_SIGNAL_S)  # what ended it may have been a signal to the whole job
                return self._told or Outcome(f"its process ended with {exit_text(code)}", Next.RESTART)
            if time.monotonic() >= until:
                return None
            time.sleep(min(POLL_S, seconds))

    def _take_down(self, outcome: Outcome) -> None:
        """Tell the clients first, then end the server's processes."""
        self._endpoint.reason = outcome.reason
        self._endpoint.url = None
        if outcome.next is Next.NOTHING:
            self._endpoint.state = State.DEAD
        elif self._endpoint.state is State.READY:
            self._endpoint.state = State.REPLACING
            self._endpoint.generation += 1
        try:
            self._say(f"stopping: {outcome.reason}")
            if request_id(self._folder) == self._endpoint.request_id:  # else the file is another server's
                self._endpoint.publish(self._folder)
        finally:  # a full disk must not keep the server alive
            if self._child is not None:
                # one that has never answered has nothing to finish, and vLLM hears no SIGTERM while it loads
                stop_group(self._child, STOP_TIMEOUT_S if self._answered else LOADING_STOP_TIMEOUT_S)

    def _say(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(f"{stamp} captionqa supervisor {self._endpoint.replica}: {text}\n")


def request_id(folder: Path) -> str | None:
    """The id of the server that is asked for now."""
    request = read_json(folder / REQUEST_FILE)
    return request and request["request_id"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("replica", type=int)
    parser.add_argument("request_id")
    args = parser.parse_args()
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while request_id(args.folder) != args.request_id and time.monotonic() < deadline:
        time.sleep(POLL_S)
    request = read_json(args.folder / REQUEST_FILE)
    if request is None or request["request_id"] != args.request_id:
        sys.exit(f"captionqa supervisor: {ANOTHER_REQUEST}, or this machine does not see {args.folder}")
    try:
        Supervisor(args.folder, args.replica, request).run()
    except CaptionqaError as error:
        sys.exit(f"captionqa supervisor: {error}")


if __name__ == "__main__":
    main()
