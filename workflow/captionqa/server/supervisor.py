"""The supervisor: runs beside vLLM, inside the GPU job, for as long as the driver's lease moves.

    python -m captionqa.server.supervisor SERVER_FOLDER REPLICA REQUEST_ID

Picks the port, starts vLLM, checks its health (HTTP, and that tokens advance while requests run), publishes the
endpoint file, restarts vLLM when it crashes or hangs as often as its budget allows, and takes the endpoint down before
it goes. What to serve stands in the folder's request file; one of another id is another server's.

In a Slurm job it also heeds the warning before the time limit: it ends the server in order, sends its job back to the
queue, and goes on there as the next generation. Why Slurm ends a job (scancel, preemption, a lost node) is not for the
job to know; it says that the server is being replaced, and the driver, which asks Slurm, says whether it is dead.
"""

import argparse
import os
import shlex
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from captionqa.errors import CaptionqaError, ForeignServerError, ServerError, WrongModelError
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint, load_log, slurm, start_request, vllm_command
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.model_revision import model_revision
from captionqa.server.outcome import Next, Outcome
from captionqa.server.ports import HeldPort, listen_address, url_host
from captionqa.server.probe import Probe
from captionqa.server.process import STOP_TIMEOUT_S, Child, adopt_orphans, exit_text
from captionqa.server.restart_budget import RestartBudget
from captionqa.server.server_log import ServerLog
from captionqa.server.watch import Aside, Patience, TokenWatch

POLL_S = 0.5
LOADING_STOP_TIMEOUT_S, JOB_SIGNAL_S = 3.0, 1.0
ANOTHER_REQUEST = "another server is asked for meanwhile"
NO_NEWS = threading.Event()
PORT_TRIES = 3
#: Processes that a server leaves behind may keep its output open.
LAST_WORDS_S = 2.0
#: Slurm ends a job that it takes back to the queue, usually within seconds.
REQUEUE_TIMEOUT_S = 120.0


class Supervisor:
    """One server from start to end; `run` returns when it is over."""

    def __init__(self, folder: Path, replica: int, wanted: dict[str, Any]):
        self._folder = folder
        self._wanted = wanted
        self._settings = wanted["server"]
        self._model = wanted["served_name"]
        self._log = ServerLog(Path(wanted["logs"][replica]), f"captionqa supervisor {replica}")
        self._budget = RestartBudget(self._settings["max_restarts"], self._settings["restart_forgiven_s"])
        self._key = endpoint.read_key(folder)
        self._lease = LeaseWatch(folder, self._settings["lease_timeout_s"], any_run=True)
        self._child: Child | None = None
        self._port: HeldPort | None = None
        self._loads = load_log.LoadLog(folder, replica, wanted["request_id"])
        self._told: Outcome | None = None
        self._published = self._answered = self._ever_answered = False
        self._job = os.environ.get("SLURM_JOB_ID") if wanted["slurm"] else None
        self._host = listen_address(self._settings["host"])
        self._endpoint = Endpoint(
            replica=replica,
            request_id=wanted["request_id"],
            settings=wanted["settings"],
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
        self._publish()
        port_tries = 0
        try:
            while True:
                outcome = self._serve()
                port_tries = 0 if self._answered else port_tries + 1
                if outcome.next is Next.OTHER_PORT and not self._answered:
                    if port_tries >= PORT_TRIES:
                        outcome = Outcome(f"{outcome.reason}; {port_tries} ports were tried", Next.NOTHING)
                elif outcome.next is Next.RESTART and self._endpoint.state is State.STARTING:
                    outcome.next = Next.NOTHING
                elif outcome.next in (Next.RESTART, Next.OTHER_PORT):
                    self._endpoint.crashes += self._answered and outcome.next is Next.RESTART
                    if not self._budget.spend():
                        times = "once" if self._budget.spent == 1 else f"{self._budget.spent} times"
                        reason = f"{outcome.reason}; it was restarted {times} before"
                        outcome = Outcome(reason, Next.NOTHING)
                self._take_down(outcome)
                if outcome.next is Next.REQUEUE:
                    self._requeue()
                if outcome.next not in (Next.RESTART, Next.OTHER_PORT):
                    return
        except BaseException as error:
            self._take_down(Outcome(f"the supervisor failed: {type(error).__name__}: {error}", Next.NOTHING))
            raise

    def _take_up(self) -> None:
        """Go on with the endpoint of this job's start before, if there was one."""
        before = endpoint.read(self._folder, self._endpoint.replica)
        if before is not None and before.request_id == self._endpoint.request_id:
            ever_ready = bool(before.versions)
            self._endpoint.crashes, self._endpoint.restarts = before.crashes, before.restarts
            self._endpoint.changes = before.changes
            ended = self._endpoint.generation = before.generation - (ever_ready and before.state is not State.READY)
            if ever_ready and not any(restart["generation"] >= ended for restart in before.restarts):
                self._endpoint.note_restart("Slurm ended its job and started it again")
            self._endpoint.generation += ever_ready
            if before.state is State.DEAD or ever_ready:
                self._endpoint.state = State.DEAD if before.state is State.DEAD else State.REPLACING

    def _requeue(self) -> None:
        """Send this job back to the queue and wait for Slurm to end it."""
        self._log.say("its job goes back to the queue")
        warned = self._told
        refused = slurm.requeue(self._job)
        until = time.monotonic() + (JOB_SIGNAL_S if refused else REQUEUE_TIMEOUT_S)
        while self._told is warned and time.monotonic() < until:
            time.sleep(POLL_S)
        if refused and self._told is warned:
            self._take_down(Outcome(f"{warned.reason} and its job cannot be requeued: {refused}", Next.NOTHING))

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            # one that was never healthy would not become so in another such time either
            self._told = (
                Outcome("its job's time limit is near", Next.REQUEUE)
                if self._ever_answered
                else Outcome("its job's time limit is near, and it is not healthy yet; raise runtime", Next.NOTHING)
            )
        else:
            following = Next.SLURM if self._job else Next.NOTHING
            self._told = Outcome(f"it was stopped by {signal.Signals(number).name}", following)

    def _serve(self) -> Outcome:
        """Start one generation and watch it to its end."""
        self._answered = False
        port = self._settings["port"]
        self._port = HeldPort(self._host, port and min(port + self._endpoint.replica, 65_535))
        argv = [
            *vllm_command.resolve(self._settings["command"]),
            *vllm_command.arguments(
                self._settings, self._wanted["model_path"], self._model, self._host, self._port.number
            ),
        ]
        self._endpoint.argv = argv
        self._log.say(f"{vllm_command.GENERATION_START} {self._endpoint.generation}: {shlex.join(argv)}")
        try:
            self._child = Child(argv, vllm_command.environment(self._settings, self._key))
        except OSError as error:
            return Outcome(f"the command {argv[0]} cannot be started: {error.strerror}", Next.NOTHING)
        self._last_words = self._log.follow(self._child.stdout)
        self._endpoint.url = f"http://{url_host(self._host)}:{self._port.number}"
        probe = Probe(self._endpoint.url, self._key)
        if (outcome := self._wait_until_healthy(probe)) is None:
            self._answered = self._ever_answered = True
            self._endpoint.state, self._endpoint.reason = State.READY, None
            revision = model_revision(self._wanted["model_path"], self._settings) or "unknown"
            self._endpoint.versions = {"vllm": probe.version() or "unknown", "model_revision": revision}
            self._publish()
            self._log.say(f"healthy at {self._endpoint.url}")
            outcome = self._watch(probe)
        return outcome

    def _wait_until_healthy(self, probe: Probe) -> Outcome | None:
        timeout_s, complaint = self._settings["start_timeout_s"], "its first answer has not come"
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if outcome := self._pause(POLL_S):
                return self._unless_port_was_taken(outcome)
            asked = Aside(lambda: probe.all_is_well(self._model))
            if outcome := self._pause(deadline - time.monotonic(), asked.over):
                return self._unless_port_was_taken(outcome)
            if asked.over.is_set() and asked.error is None:
                return None
            if isinstance(asked.error, ForeignServerError | WrongModelError):
                foreign = isinstance(asked.error, ForeignServerError)
                return Outcome(str(asked.error), Next.OTHER_PORT if foreign else Next.NOTHING)
            if asked.over.is_set():
                complaint = str(asked.error)
        return Outcome(
            f"it was not healthy after {timeout_s:.0f} s (server.start_timeout_s): {complaint}", Next.NOTHING
        )

    def _unless_port_was_taken(self, outcome: Outcome) -> Outcome:
        """What follows when a server that was loading ended: another port helps where its own was taken."""
        if outcome.next is Next.RESTART and vllm_command.port_was_taken(vllm_command.tail(self._log.path)):
            outcome.next = Next.OTHER_PORT
        return outcome

    def _watch(self, probe: Probe) -> Outcome:
        health, tokens = Patience(self._settings["hang_timeout_s"]), TokenWatch(self._settings["hang_timeout_s"])
        looked = time.monotonic()
        while True:
            if outcome := self._pause(self._settings["health_interval_s"]):
                return outcome
            passed_s, looked = time.monotonic() - looked, time.monotonic()
            if not self._published:
                self._publish()
            try:
                probe.is_own()
                probe.health()
                health.good()
            except ForeignServerError as error:
                return Outcome(str(error), Next.OTHER_PORT)
            except ServerError as error:
                if health.lost():
                    return Outcome(f"its health check failed for {health.limit_s:.0f} s: {error}", Next.RESTART)
                continue
            try:
                if tokens.advance(self._loads.note(probe.load())):
                    self._budget.generated(passed_s)
            except ServerError as error:
                return Outcome(str(error), Next.RESTART)
            with suppress(OSError):
                published = endpoint.read(self._folder, self._endpoint.replica)
                if published is not None and published.state is State.QUEUED:  # the driver's news came late
                    self._publish()

    def _pause(self, seconds: float, news: threading.Event = NO_NEWS) -> Outcome | None:
        """Wait for so long, or until there is news, and say why the watch has to end if it has to."""
        until = time.monotonic() + seconds
        while True:
            if self._told:
                return self._told
            if reason := self._lease.end_reason():
                return Outcome(reason, Next.NOTHING)
            if start_request.superseded(self._folder, self._endpoint.request_id):
                return Outcome(ANOTHER_REQUEST, Next.NOTHING)
            if (code := self._child.poll()) is not None:
                self._last_words.join(LAST_WORDS_S)
                if self._job:
                    time.sleep(JOB_SIGNAL_S)  # what ended it may have been a signal to the whole job
                return self._told or Outcome(f"its process ended with {exit_text(code)}", Next.RESTART)
            if news.is_set() or time.monotonic() >= until:
                return None
            news.wait(min(POLL_S, seconds))

    def _take_down(self, outcome: Outcome) -> None:
        """Tell the clients first, then end the server's processes."""
        self._endpoint.reason = outcome.reason
        self._endpoint.url = None
        if outcome.next is Next.NOTHING:
            self._endpoint.state = State.DEAD
        else:
            if outcome.next is not Next.SLURM:  # the job's next start, if there is one, notes that
                self._endpoint.note_restart(outcome.reason)
            if self._endpoint.state is State.READY:
                self._endpoint.state = State.REPLACING
                self._endpoint.generation += 1
        self._log.say(f"stopping: {outcome.reason}")
        try:
            # else the file is another server's
            if not start_request.superseded(self._folder, self._endpoint.request_id):
                self._publish()
        finally:
            if self._child is not None:
                # one that has never answered has nothing to finish, and vLLM hears no SIGTERM while it loads
                self._child.end(STOP_TIMEOUT_S if self._answered else LOADING_STOP_TIMEOUT_S)
            if self._port is not None:
                self._port.release()

    def _publish(self) -> None:
        """Publish the endpoint; where a full or flickering disk forbids it the watch tries again."""
        try:
            self._endpoint.publish(self._folder)
            self._published = True
        except OSError as error:
            self._published = False
            self._log.say(f"the endpoint cannot be published: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("replica", type=int)
    parser.add_argument("request_id")
    args = parser.parse_args()
    found = start_request.wait_for(args.folder, args.request_id)
    if found is None:
        sys.exit(f"captionqa supervisor: {ANOTHER_REQUEST}, or this machine does not see {args.folder}")
    adopt_orphans()
    try:
        Supervisor(args.folder, args.replica, found).run()
    except CaptionqaError as error:
        sys.exit(f"captionqa supervisor: {error}")


if __name__ == "__main__":
    main()
