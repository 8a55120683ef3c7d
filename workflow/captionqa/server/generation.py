"""One generation of a server: its port, its process, and the checks until it is ready."""

import os
import threading
import time
from collections.abc import Callable, Set
from pathlib import Path

from captionqa.config.model_config import ServerConfig
from captionqa.config.vllm_options import engines_and_gpus
from captionqa.errors import ForeignServerError, WrongModelError
from captionqa.server import chosen_options, generation_key, heartbeat, vllm_command, vllm_log
from captionqa.server.chosen_options import ServerJob
from captionqa.server.generation_end import GenerationEnd, NextStep
from captionqa.server.hardware import hardware
from captionqa.server.ports import ReservedPort, listen_address, url_host
from captionqa.server.probe import Probe
from captionqa.server.server_log import ServerLog
from captionqa.server.server_process import STOP_GRACE_S, ServerProcess, exit_text
from captionqa.server.start_request import StartRequest
from captionqa.server.stop_conditions import StopConditions

POLL_S = 0.5
HIGHEST_PORT = 65_535
#: Grace period between SIGTERM and SIGKILL while the server loads: it has nothing to finish, and vLLM ignores SIGTERM.
LOADING_GRACE_S = 3.0
#: How long to go on reading the output of a process that has ended: its children may keep the pipe open.
OUTPUT_TIMEOUT_S = 2.0
#: How long to wait for this process's own signal after the server ended: Slurm may have sent it to the whole job.
JOB_SIGNAL_GRACE_S = 1.0
_NEVER = threading.Event()


class Generation:
    """One process of the server, from its start to its end."""

    def __init__(
        self,
        request: StartRequest,
        replica: int,
        log: ServerLog,
        stop: StopConditions,
        unknown: Set[str] = frozenset(),
    ):
        """Make a key, reserve a port and make the command line, without options that are `unknown` to this vLLM.

        Raises:
            ServerStartError: no vLLM is installed.
            ServerError: no port can be bound.
        """
        self._settings = ServerConfig(**request["server"])
        self._model = request["served_name"]
        #: Of this generation alone.
        self.key = generation_key.make()
        self._log = log
        self._stop = stop
        self._process: ServerProcess | None = None
        command = vllm_command.resolve(self._settings.command)
        job = ServerJob(
            chosen_options.job_cores(), not request["slurm"], vllm_command.is_cpu_build(self._settings.command)
        )
        self.cores = job.cores
        #: The options that captionqa chose.
        self.chosen = chosen_options.choose(self._settings, command, job, request["work"], unknown)
        assert self._settings.host is not None  # the start request fills it in
        host, port = listen_address(self._settings.host), self._settings.port
        self._port = ReservedPort(host, port and min(port + replica, HIGHEST_PORT))
        self.argv = command + vllm_command.arguments(
            self._settings,
            request["model_path"],
            self._model,
            host,
            self._port.number,
            [word for choice in self.chosen for word in choice.words],
        )
        visible = self._settings.env.get("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))
        engines, gpus = engines_and_gpus(self.argv)
        self.hardware = hardware(job.cores, job.is_cpu_build, engines * gpus, visible)
        self.url = f"http://{url_host(host)}:{self._port.number}"
        self.probe = Probe(self.url, self.key, own=True)
        #: Of the chosen options, those that this vLLM turned out not to know.
        self.unknown: Set[str] = frozenset()
        #: Whether it has passed the checks of `wait_until_ready`.
        self.ready = False

    def start(self) -> GenerationEnd | None:
        """Start the process; returns why it could not be started, or None."""
        try:
            self._process = ServerProcess(self.argv, vllm_command.environment(self._settings, self.key))
        except OSError as error:
            return GenerationEnd(f"the command {self.argv[0]} cannot be started: {error.strerror}", NextStep.NOTHING)
        assert self._process.stdout is not None
        self._output = self._log.follow(self._process.stdout)
        return None

    def wait_until_ready(self) -> GenerationEnd | None:
        """Wait until the server is healthy and generates; returns why the generation has to end instead, or None."""
        timeout_s, complaint = self._settings.start_timeout_s, "its first answer has not come"
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if end := self.wait(POLL_S):
                return self._mended(end)
            check = _BackgroundCall(lambda: self.probe.check_ready(self._model))
            if end := self.wait(deadline - time.monotonic(), check.finished):
                return self._mended(end)
            if check.finished.is_set() and check.error is None:
                self.ready = True
                return None
            if isinstance(check.error, ForeignServerError):
                return GenerationEnd(str(check.error), NextStep.OTHER_PORT)
            if isinstance(check.error, WrongModelError):
                return GenerationEnd(str(check.error), NextStep.NOTHING)
            if check.finished.is_set():
                complaint = str(check.error)
        return GenerationEnd(
            f"it was not healthy after {timeout_s:.0f} s (server.start_timeout_s): {complaint}", NextStep.NOTHING
        )

    def wait(self, seconds: float, event: threading.Event = _NEVER) -> GenerationEnd | None:
        """Wait for a time or until the event is set; returns why the generation has to end, or None."""
        assert self._process is not None
        until = time.monotonic() + seconds
        while True:
            if end := self._stop.check():
                return end
            if (code := self._process.poll()) is not None:
                self._output.join(OUTPUT_TIMEOUT_S)
                if self._stop.job:
                    time.sleep(JOB_SIGNAL_GRACE_S)
                return self._stop.signalled or GenerationEnd(
                    f"its process ended with {exit_text(code)}", NextStep.RESTART
                )
            if event.is_set() or time.monotonic() >= until:
                return None
            event.wait(min(POLL_S, seconds))

    def heartbeats(self) -> dict[int, int]:
        """The `heartbeat.last_beats` of its API servers; empty where they have none."""
        assert self._process is not None
        return heartbeat.last_beats(Path(self._process.temporary))

    def end(self) -> None:
        """End the process and all that it started, and release the port."""
        if self._process is not None:
            self._process.end(STOP_GRACE_S if self.ready else LOADING_GRACE_S)
        self._port.release()

    def _mended(self, end: GenerationEnd) -> GenerationEnd:
        """The end of a server that was loading, with the next step that helps where its log says what was wrong."""
        if end.next is not NextStep.RESTART:
            return end
        log_end = vllm_log.tail(self._log.path)
        if vllm_log.port_was_taken(log_end):
            return GenerationEnd(end.reason, NextStep.OTHER_PORT)
        chosen = {word for choice in self.chosen for word in choice.words}
        self.unknown = vllm_log.unknown_options(log_end) & chosen
        if not self.unknown:
            return end
        options = ", ".join(sorted(self.unknown))
        return GenerationEnd(f"this vLLM does not know {options}, so it goes on without", NextStep.FEWER_OPTIONS)


class _BackgroundCall:
    """A call in a thread of its own, so that a server that does not answer cannot block its supervisor."""

    def __init__(self, call: Callable[[], object]):
        self.finished = threading.Event()
        self.error: Exception | None = None
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error
        self.finished.set()
