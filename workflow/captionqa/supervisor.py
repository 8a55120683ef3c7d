"""The supervisor: runs beside vLLM, inside the GPU job, for as long as the driver's lease moves.

    python -m captionqa.supervisor SERVER_FOLDER REPLICA

Picks the port, starts vLLM, checks its health (HTTP, and that tokens advance while requests run), publishes the
endpoint file, restarts vLLM a bounded number of times when it crashes or hangs, and takes the endpoint down before it
goes. What to serve stands in the folder's request file.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionqa import command, endpoint
from captionqa.child import STOP_TIMEOUT_S, exit_text, free_port, start_child, stop_group, url_host
from captionqa.endpoint import Endpoint, State
from captionqa.errors import CaptionqaError, ServerError
from captionqa.files import read_json
from captionqa.lease import LeaseWatch
from captionqa.probe import Load, Probe

REQUEST_FILE = "request.json"
POLL_S = 0.5
LOADING_STOP_TIMEOUT_S = 3.0
PORT_TRIES = 5


@dataclass
class Outcome:
    """Why a server's watch ended; `final` when no restart may follow."""

    reason: str
    final: bool


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
        self._stop_reason: str | None = None
        self._answered = False
        self._endpoint = Endpoint(
            replica=replica,
            request_id=request["request_id"],
            settings=request["settings"],
            model=self._model,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=os.environ.get("SLURM_JOB_ID"),
        )

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._endpoint.publish(self._folder)
        restarts, port_tries = 0, 0
        try:
            while True:
                outcome = self._serve()
                if self._endpoint.state is State.STARTING and not outcome.final:
                    port_tries += 1
                    outcome.final = port_tries >= PORT_TRIES or not command.port_was_taken(command.tail(self._log))
                elif not outcome.final:
                    restarts += 1
                    if restarts > self._settings["max_restarts"]:
                        outcome = Outcome(f"{outcome.reason}; it was restarted {restarts - 1} times before", final=True)
                self._take_down(outcome)
                if outcome.final:
                    return
        except BaseException as error:
            self._take_down(Outcome(f"the supervisor failed: {type(error).__name__}: {error}", final=True))
            raise

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop_reason = f"it was stopped by {signal.Signals(number).name}"

    def _serve(self) -> Outcome:
        """Start one generation and watch it to its end."""
        port = free_port(self._settings["host"], self._settings["port"])
        argv = [
            *command.resolve(self._settings["command"]),
            *command.arguments(self._settings, self._request["model_path"], self._model, self._settings["host"], port),
        ]
        self._endpoint.argv = argv
        self._say(f"starting generation {self._endpoint.generation}: {shlex.join(argv)}")
        try:
            self._child = start_child(argv, command.environment(self._settings, self._key), self._log)
        except OSError as error:
            return Outcome(f"the command {argv[0]} cannot be started: {error.strerror}", final=True)
        self._endpoint.url = f"http://{url_host(self._settings['host'])}:{port}"
        probe = Probe(self._endpoint.url, self._key)
        outcome = self._wait_until_healthy(probe)
        self._answered = outcome is None
        if outcome is None:
            self._endpoint.state, self._endpoint.reason = State.READY, None
            self._endpoint.versions = {"vllm": probe.version() or "unknown"}
            self._endpoint.publish(self._folder)
            self._say(f"healthy at {self._endpoint.url}")
            outcome = self._watch(probe)
        return outcome

    def _wait_until_healthy(self, probe: Probe) -> Outcome | None:
        deadline = time.monotonic() + self._settings["start_timeout_s"]
        complaint = "its first answer has not come"
        while time.monotonic() < deadline:
            if outcome := self._pause(POLL_S):
                return outcome
            asked = _Aside(lambda: (probe.health(), probe.serves(self._model), probe.answers(self._model)))
            while not asked.over and time.monotonic() < deadline:
                if outcome := self._pause(POLL_S):
                    return outcome
            if asked.over and asked.error is None:
                return None
            if asked.over:
                complaint = str(asked.error)
        return Outcome(
            f"it was not healthy after {self._settings['start_timeout_s']:.0f} s (server.start_timeout_s): {complaint}",
            final=True,
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
                    return Outcome(f"its health check failed for {health.limit_s:.0f} s: {error}", final=False)
                continue
            load = probe.load()
            if load is None or last is None or load.running == 0 or load.tokens != last.tokens:
                tokens.good()
            elif tokens.lost():
                return Outcome(
                    f"{load.running:.0f} requests ran for {tokens.limit_s:.0f} s without a token", final=False
                )
            last = load

    def _pause(self, seconds: float) -> Outcome | None:
        """Wait, and say why the watch has to end if it has to."""
        until = time.monotonic() + seconds
        while True:
            if self._stop_reason:
                return Outcome(self._stop_reason, final=True)
            if reason := self._lease.over():
                return Outcome(reason, final=True)
            code = self._child.poll()
            if code is not None:
                return Outcome(f"its process ended with {exit_text(code)}", final=False)
            if time.monotonic() >= until:
                return None
            time.sleep(min(POLL_S, seconds))

    def _take_down(self, outcome: Outcome) -> None:
        """Tell the clients first, then end the server's processes."""
        self._endpoint.reason = outcome.reason
        self._endpoint.url = None
        if outcome.final:
            self._endpoint.state = State.DEAD
        elif self._endpoint.state is State.READY:
            self._endpoint.state = State.REPLACING
            self._endpoint.generation += 1
        try:
            self._say(f"stopping: {outcome.reason}")
            self._endpoint.publish(self._folder)
        finally:  # a full disk must not keep the server alive
            if self._child is not None:
                # one that has never answered has nothing to finish, and vLLM hears no SIGTERM while it loads
                stop_group(self._child, STOP_TIMEOUT_S if self._answered else LOADING_STOP_TIMEOUT_S)

    def _say(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(f"{stamp} captionqa supervisor {self._endpoint.replica}: {text}\n")


class _Aside:
    """A call in a thread of its own, so that a server that does not answer cannot hold up the watch."""

    def __init__(self, call: Callable[[], object]):
        self.over = False
        self.error: Exception | None = None
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error
        self.over = True


class Patience:
    """How long something has been bad without a break."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic):
        self.limit_s = limit_s
        self._clock = clock
        self._since = clock()

    def good(self) -> None:
        self._since = self._clock()

    def lost(self) -> bool:
        return self._clock() - self._since > self.limit_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("replica", type=int)
    args = parser.parse_args()
    request = read_json(args.folder / REQUEST_FILE)
    try:
        Supervisor(args.folder, args.replica, request).run()
    except CaptionqaError as error:
        sys.exit(f"captionqa supervisor: {error}")


if __name__ == "__main__":
    main()
