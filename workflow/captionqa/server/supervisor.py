"""The supervisor: runs beside vLLM, inside the GPU job, as long as the driver renews its lease.

    python -m captionqa.server.supervisor SERVER_FOLDER REPLICA REQUEST_ID

It starts vLLM, checks its health (HTTP, and that tokens advance while there are requests), publishes the endpoint file,
restarts vLLM when it crashes or hangs as long as its budget allows, and publishes that the server is gone before it
ends. The folder's start request says what to serve. A request of another id is for another server.

In a Slurm job the supervisor also handles the warning before the time limit: it stops the server, requeues its job, and
continues there as the next generation. A job cannot know why Slurm ends it (scancel, preemption, a lost node). So the
supervisor publishes that the server is being replaced, and the driver, which asks Slurm, publishes if it is dead.
"""

import argparse
import os
import shlex
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from captionqa.config.model_config import ServerConfig
from captionqa.config.model_versions import ModelVersion, completed, differences, other_model, with_revision
from captionqa.errors import CaptionqaError, ForeignServerError, ServerError
from captionqa.server import endpoint, generation_key, slurm, start_request, vllm_log
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.generation import JOB_SIGNAL_GRACE_S, Generation
from captionqa.server.generation_end import GenerationEnd, NextStep
from captionqa.server.liveness import GracePeriod, HeartbeatWatch, TokenWatch
from captionqa.server.load_log import LoadLog
from captionqa.server.model_revision import started_version
from captionqa.server.restart_budget import RestartBudget
from captionqa.server.server_log import ServerLog
from captionqa.server.server_process import become_subreaper
from captionqa.server.start_request import StartRequest
from captionqa.server.stop_conditions import ANOTHER_REQUEST, StopConditions

POLL_S = 0.5
#: Ports to try for one start before the server is given up.
PORT_TRIES = 3
#: How long Slurm may take to end a job that it was told to requeue; usually it takes seconds.
REQUEUE_TIMEOUT_S = 120.0


class Supervisor:
    """One server from its start to its end."""

    def __init__(self, folder: Path, replica: int, request: StartRequest):
        self._folder = folder
        self._request = request
        self._settings = ServerConfig(**request["server"])
        self._log = ServerLog(Path(request["logs"][replica]), f"captionqa supervisor {replica}")
        self._load_log = LoadLog(folder, replica, request["request_id"])
        self._budget = RestartBudget(self._settings.max_restarts, self._settings.restart_forgiven_s)
        self._job = os.environ.get("SLURM_JOB_ID") if request["slurm"] else None
        self._stop = StopConditions(folder, request, self._job)
        self._generation: Generation | None = None
        self._planned = request["model_version"]
        self._port_tries = 0
        #: Options that this vLLM does not know.
        self._unknown: set[str] = set()
        self._published = False
        self._endpoint = Endpoint(
            replica=replica,
            request_id=request["request_id"],
            settings=request["settings"],
            model=request["served_name"],
            host=socket.gethostname(),
            pid=os.getpid(),
            job=self._job,
        )

    def run(self) -> None:
        """Run generations of the server until none follows."""
        self._stop.listen()
        if self._job:
            self._resume()
        if self._endpoint.state is State.DEAD:
            return
        self._publish()
        try:
            while True:
                end = self._within_limits(self._serve())
                self._take_down(end)
                if end.next is NextStep.REQUEUE:
                    self._requeue()
                if end.next not in (NextStep.RESTART, NextStep.OTHER_PORT, NextStep.FEWER_OPTIONS):
                    return
        except BaseException as error:
            self._take_down(GenerationEnd(f"the supervisor failed: {type(error).__name__}: {error}", NextStep.NOTHING))
            raise

    def _resume(self) -> None:
        """Continue with the endpoint of this job's earlier start, if there was one."""
        before = endpoint.read(self._folder, self._endpoint.replica)
        if before is None or before.request_id != self._endpoint.request_id:
            return
        ever_ready = bool(before.versions)
        self._endpoint.crashes, self._endpoint.restarts = before.crashes, before.restarts
        self._endpoint.changes = before.changes
        if self._planned is not None:
            self._planned = with_revision(self._planned, before.versions.get("model_revision"))
        # a server that was taken down in order has the next generation's number in its endpoint already
        ended = self._endpoint.generation = before.generation - (ever_ready and before.state is not State.READY)
        if ever_ready and not any(restart["generation"] >= ended for restart in before.restarts):
            self._endpoint.record_restart("Slurm ended its job and started it again")
        self._endpoint.generation += ever_ready
        if before.state is State.DEAD:
            self._endpoint.state = State.DEAD
        elif ever_ready:
            self._endpoint.state = State.REPLACING

    def _serve(self) -> GenerationEnd:
        """Start one generation and watch it to its end."""
        self._generation = None
        generation = self._generation = Generation(
            self._request, self._endpoint.replica, self._log, self._stop, self._unknown
        )
        self._endpoint.argv, self._endpoint.cores = generation.argv, generation.cores
        self._endpoint.hardware = generation.hardware
        self._endpoint.chosen = [choice.text for choice in generation.chosen]
        self._log.say(f"{vllm_log.GENERATION_START} {self._endpoint.generation}: {shlex.join(generation.argv)}")
        for text in self._endpoint.chosen:
            self._log.say(text)
        if end := generation.start():
            return end
        self._endpoint.url = generation.url
        if end := generation.wait_until_ready():
            self._unknown |= generation.unknown
            return end
        self._stop.ever_ready = True
        loaded = started_version(self._request["model_path"], self._settings)
        self._endpoint.versions = {
            "vllm": generation.probe.version() or "unknown",
            "model_revision": loaded["revision"] or "unknown",
        }
        if changes := self._changes_of_model(loaded):
            return GenerationEnd(other_model(changes), NextStep.NOTHING)
        self._endpoint.state, self._endpoint.reason = State.READY, None
        self._publish()
        self._log.say(f"healthy at {generation.url}")
        return self._watch(generation)

    def _changes_of_model(self, loaded: ModelVersion) -> list[str]:
        """What tells the loaded model from the one that the run was planned with, or that was loaded before."""
        changes = differences(self._planned, loaded) if self._planned else []
        if not changes:
            self._planned = completed(loaded, self._planned or loaded)
        return changes

    def _watch(self, generation: Generation) -> GenerationEnd:
        """Check a server that is ready at intervals until it has to end; returns why."""
        limit_s = self._settings.hang_timeout_s
        health, tokens, heartbeats = GracePeriod(limit_s), TokenWatch(limit_s), HeartbeatWatch(limit_s)
        checked_s = time.monotonic()
        while True:
            if end := generation.wait(self._settings.health_interval_s):
                return end
            passed_s, checked_s = time.monotonic() - checked_s, time.monotonic()
            if not self._published:
                self._publish()
            try:
                generation.probe.check_identity()
                generation.probe.check_health()
                health.renew()
            except ForeignServerError as error:
                return GenerationEnd(str(error), NextStep.OTHER_PORT)
            except ServerError as error:
                if health.expired():
                    reason = f"its health check failed for {health.limit_s:.0f} s: {error}"
                    return GenerationEnd(reason, NextStep.RESTART)
                continue
            try:
                heartbeats.check(generation.heartbeats())
                if tokens.advanced(self._load_log.add(generation.probe.load())):
                    self._budget.add_generating(passed_s)
            except ServerError as error:
                return GenerationEnd(str(error), NextStep.RESTART)
            with suppress(OSError):
                published = endpoint.read(self._folder, self._endpoint.replica)
                if published is not None and published.state is State.QUEUED:  # the driver's state is out of date
                    self._publish()

    def _within_limits(self, end: GenerationEnd) -> GenerationEnd:
        """The end as it is, or one that nothing follows, where the limits allow no further generation."""
        ready = self._generation is not None and self._generation.ready
        self._port_tries = 0 if ready else self._port_tries + 1
        if end.next is NextStep.OTHER_PORT and not ready:
            if self._port_tries >= PORT_TRIES:
                return GenerationEnd(f"{end.reason}; {self._port_tries} ports were tried", NextStep.NOTHING)
        elif end.next is NextStep.RESTART and self._endpoint.state is State.STARTING:
            return replace(end, next=NextStep.NOTHING)
        elif end.next in (NextStep.RESTART, NextStep.OTHER_PORT):
            self._endpoint.crashes += ready and end.next is NextStep.RESTART
            if not self._budget.spend():
                times = "once" if self._budget.spent == 1 else f"{self._budget.spent} times"
                return GenerationEnd(f"{end.reason}; it was restarted {times} before", NextStep.NOTHING)
        return end

    def _take_down(self, end: GenerationEnd) -> None:
        """Publish that the server is gone, then end its processes."""
        self._endpoint.reason = end.reason
        self._endpoint.url = None
        if end.next is NextStep.NOTHING:
            self._endpoint.state = State.DEAD
        else:
            if end.next is not NextStep.SLURM:  # the job's next start records that restart, if there is one
                self._endpoint.record_restart(end.reason)
            if self._endpoint.state is State.READY:
                self._endpoint.state = State.REPLACING
                self._endpoint.generation += 1
        self._log.say(f"stopping: {end.reason}")
        try:
            if not self._stop.superseded():  # else the endpoint file belongs to another server
                self._publish()
                with suppress(OSError):
                    generation_key.remove(self._folder, self._endpoint.replica)
        finally:
            if self._generation is not None:
                self._generation.end()

    def _requeue(self) -> None:
        """Send this job back to the queue and wait for Slurm to end it; where Slurm refuses, the server is dead."""
        self._log.say("its job goes back to the queue")
        warning = self._stop.signalled
        assert warning is not None
        assert self._job is not None
        refusal = slurm.requeue(self._job)
        until = time.monotonic() + (JOB_SIGNAL_GRACE_S if refusal else REQUEUE_TIMEOUT_S)
        while self._stop.signalled is warning and time.monotonic() < until:
            time.sleep(POLL_S)
        if refusal and self._stop.signalled is warning:
            reason = f"{warning.reason} and its job cannot be requeued: {refusal}"
            self._take_down(GenerationEnd(reason, NextStep.NOTHING))

    def _publish(self) -> None:
        """Publish the endpoint, and its key where it is ready. Where the disk forbids it, `_watch` tries again."""
        try:
            if self._endpoint.state is State.READY and self._generation is not None:
                generation_key.write(self._folder, self._endpoint, self._generation.key)
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
    become_subreaper()
    try:
        Supervisor(args.folder, args.replica, found).run()
    except CaptionqaError as error:
        sys.exit(f"captionqa supervisor: {error}")


if __name__ == "__main__":
    main()
