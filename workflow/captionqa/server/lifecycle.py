"""The server's life as the driver sees it: start or adopt, wait until healthy, stop."""

import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from captionqa.config import media_folder
from captionqa.config.config import served_name
from captionqa.config.layout import Layout
from captionqa.errors import ConfigError, ServerError, ServerStartError
from captionqa.files import read_json, write_json
from captionqa.run.lease import LeaseWatch, live_lease
from captionqa.server import endpoint, start_request, vllm_command
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import Launcher, LocalLauncher, Status, wait_until_gone
from captionqa.server.probe import Probe
from captionqa.server.slurm import SlurmLauncher

POLL_S = 0.25
STILL_WAITING_S = 30.0
#: The supervisor keeps the same deadline and knows more about why; it gets this long to say so.
LAST_WORD_S = 15.0
#: Settings of the driver's own waiting: changing one does not make a running server another.
DRIVER_ONLY = ("start_timeout_s",)

log = logging.getLogger(__name__)


class Server:
    """The servers of one model in one output folder; new ones are started by `launcher`."""

    def __init__(self, config: Mapping[str, Any], model: str, layout: Layout, launcher: Launcher | None = None):
        self._settings = config["models"][model]
        self._served_name = served_name(config, model)
        self._layout = layout
        self._folder = layout.server
        self._files = layout.server_files
        self._launcher = launcher or LocalLauncher()
        self._server = self._settings["server"] | media_folder.server_settings(config, model)
        self.replicas: int = self._server["replicas"]
        self._logs = [Path(layout.server_log(replica)) for replica in range(self.replicas)]

    def start(self) -> list[Endpoint]:
        """Make sure that a healthy server is there, and return the endpoints that are ready.

        Raises:
            ServerStartError: names the reason, the end of the server's log and where that log is.
            RunStoppedError: the driver gave up meanwhile.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._settings["url"]:
            self.stop()
            return [self._use_existing()]
        if adopted := self._adopt():
            log.info("a server of an earlier run is healthy and fits: it is taken over")
            return adopted
        self.stop()
        self._files.stopping.unlink(missing_ok=True)
        endpoint.remove_all(self._folder)
        vllm_command.resolve(self._server["command"])
        vllm_command.check_build(self._server, self._launcher.gpus)
        endpoint.write_key(self._folder, key := secrets.token_urlsafe(32))
        wanted = uuid.uuid4().hex
        write_json(
            self._files.request,
            {
                "request_id": wanted,
                "key_digest": start_request.key_digest(key),
                "settings": self._digest(),
                "server": self._server
                | {
                    "host": self._server["host"] or self._launcher.host,
                    "tensor_parallel_size": self._server["tensor_parallel_size"] or max(self._launcher.gpus, 1),
                },
                "slurm": isinstance(self._launcher, SlurmLauncher),
                "model_path": self._settings["path"],
                "served_name": self._served_name,
                "logs": [str(path) for path in self._logs],
            },
        )
        # before any of them has started: clients know by this that there is more to come when another one dies
        for replica in range(len(self._logs)):
            Endpoint(replica, wanted, self._digest(), self._served_name).publish(self._folder)
        handles: list[dict[str, Any]] = []
        try:
            for replica, path in enumerate(self._logs):
                if path.exists():
                    path.replace(self._layout.previous_server_log(replica))
                argv = ["-m", "captionqa.server.supervisor", str(self._folder), str(replica), wanted]
                handles.append(self._launcher.start(argv, replica, path))
                write_json(self._files.handles, handles)
            log.info(
                "the server is starting%s, which can take minutes; its log is %s", _jobs_text(handles), self._logs[0]
            )
            return self._wait(handles, wanted)
        except BaseException:
            try:
                self._end(handles)
            except ServerError as error:
                log.warning("%s", error)  # the reason for the end matters more
            raise

    def stop(self) -> None:
        """End the servers, wait until they are gone, and forget their key, which may be the user's own."""
        self._end(self._handles())
        endpoint.remove_key(self._folder)

    def request_stop(self) -> None:
        """Tell the servers to end, without waiting."""
        if handles := self._handles():
            self._files.stopping.touch()
            _launcher_of(handles).stop(handles)

    def look_after(self) -> str | None:
        """Publish what only the driver can know of servers that are up, and say why when none is left.

        A supervisor that was killed, or whose Slurm job ended, cannot say so itself; nor can one whose job is back in
        the queue.
        """
        handles = self._handles()
        if not handles or not any(self._files.live_folder.glob("*")):  # start_server has not finished
            return None
        launcher = _launcher_of(handles)
        launcher.hurry(handles)
        statuses = launcher.look(handles)
        if self._files.stopping.exists():  # looked for last: what is stopped on purpose is no news
            return None
        found = endpoint.read_all(self._folder)
        for entry in found:
            with suppress(OSError):  # on a full disk nobody else learns of it, but the driver does
                _publish_status(entry, statuses[entry.replica], self._folder)
        if len(found) == len(handles) and all(entry.state is State.DEAD for entry in found):
            return endpoint.reasons(found)
        return None

    def _handles(self) -> list[dict[str, Any]]:
        return read_json(self._files.handles) or []

    def _end(self, handles: list[dict[str, Any]]) -> None:
        """End just these servers: the file may meanwhile hold those of another run."""
        if not handles:
            return
        launcher = _launcher_of(handles)
        launcher.stop(handles)
        if not wait_until_gone(launcher, handles):
            how = "; ".join(status.words or "it still runs" for status in launcher.look(handles) if status.alive)
            raise ServerError(
                f"a server did not end when told to: {how}; see {self._logs[0]}. Once it is gone, delete "
                f"{self._files.handles}."
            )
        if self._handles() == handles:
            self._files.handles.unlink()
            self._files.stopping.unlink(missing_ok=True)

    def _use_existing(self) -> Endpoint:
        variable = self._settings["api_key_env"]
        key = os.environ.get(variable) if variable else None
        if variable and not key:
            raise ServerStartError(f"api_key_env names {variable}, which is not set; export it and start again.")
        url = self._settings["url"].rstrip("/").removesuffix("/v1")
        probe = Probe(url, key, trust_env=True)
        try:
            probe.serves(self._served_name)
        except ServerError as error:
            raise ServerStartError(f"the server of models.*.url cannot be used: {error}") from error
        endpoint.remove_all(self._folder)
        endpoint.write_key(self._folder, key)
        ready = Endpoint(
            replica=0,
            request_id=uuid.uuid4().hex,
            settings=self._digest(),
            model=self._served_name,
            state=State.READY,
            url=url,
            host=socket.gethostname(),
            versions={"vllm": probe.version() or "unknown", "model_root": probe.root(self._served_name) or "unknown"},
        )
        ready.publish(self._folder)
        return ready

    def _adopt(self) -> list[Endpoint]:
        """Endpoints of a running server that serves just what is wanted, or none."""
        handles = self._handles()
        found = endpoint.read_all(self._folder)
        if len(handles) != len(self._logs) or self._files.stopping.exists():
            return []
        if not all(status.alive for status in _launcher_of(handles).look(handles)):
            return []
        if not all(entry.state is State.READY and entry.settings == self._digest() for entry in found):
            return []
        key = endpoint.read_key(self._folder)
        try:
            for entry in found:
                Probe(entry.url, key).serves(self._served_name)
        except ServerError:
            return []
        return found

    def _wait(self, handles: list[dict[str, Any]], wanted: str) -> list[Endpoint]:
        """Wait until the first server is healthy; the others may follow while clients work.

        Each has a deadline of its own, and time in a queue does not count.
        """
        timeout_s = self._server["start_timeout_s"] + LAST_WORD_S
        deadlines = [time.monotonic() + timeout_s] * len(handles)
        lease = LeaseWatch(self._folder, self._server["lease_timeout_s"])
        told = started = time.monotonic()
        told_words = ""
        while time.monotonic() < max(deadlines):
            lease.check()
            statuses = self._launcher.look(handles)
            for replica, status in enumerate(statuses):
                if status.waiting or status.unknown:
                    deadlines[replica] = time.monotonic() + timeout_s
            found = [entry for entry in endpoint.read_all(self._folder) if entry.request_id == wanted]
            if ready := [entry for entry in found if entry.state is State.READY]:
                log.info("the server is healthy after %.0f s at %s", time.monotonic() - started, ready[0].url)
                return ready
            dead = [entry for entry in found if entry.state is State.DEAD]
            if len(dead) == len(handles):
                raise self._start_error(endpoint.reasons(dead))
            if not any(status.alive for status in statuses):
                raise self._start_error(statuses[0].words)
            words = "; ".join(dict.fromkeys(filter(None, (status.words for status in statuses))))
            if time.monotonic() - told >= (STILL_WAITING_S if words == told_words else 0):
                told, told_words = time.monotonic(), words
                where = words or f"its log is {self._logs[0]}"
                log.info("waiting for the server, %.0f s so far; %s", told - started, where)
            time.sleep(POLL_S)
        raise self._start_error(
            f"it was not healthy after {self._server['start_timeout_s']:.0f} s (server.start_timeout_s)"
        )

    def _start_error(self, reason: str) -> ServerStartError:
        end = vllm_command.tail(self._logs[0])
        hint = vllm_command.advice(end, self._settings["path"])
        return ServerStartError(
            f"the server did not start: {reason}. {hint}\n--- the end of {self._logs[0]}:\n{end}\n---".replace(
                ". \n", ".\n"
            )
        )

    def _digest(self) -> str:
        """Of all that makes a running server fit or not."""
        server = {key: value for key, value in self._server.items() if key not in DRIVER_ONLY}
        launcher = list(self._launcher.settings)
        described = json.dumps([self._settings["path"], self._served_name, server, launcher], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:12]


def check_model_path(config: Mapping[str, Any], model: str) -> None:
    """Raise ConfigError for a path that can only be a local folder and is none; `name/name` may be a hub id."""
    path = config["models"][model]["path"]
    local = path.count("/") > 1 or path.startswith((".", "/", "~"))
    if local and config["models"][model]["url"] is None and not Path(path).is_dir():
        raise ConfigError(f"models.{model}.path: there is no folder {path}; give a local folder or a hub id.")


def drop_stale_live_markers(layout: Layout) -> None:
    """Forget that a server is up when the driver that said so is gone, so that the next start is planned."""
    if live_lease(layout.server) is None:
        shutil.rmtree(layout.server_files.live_folder, ignore_errors=True)


def _launcher_of(handles: Sequence[Mapping[str, Any]]) -> Launcher:
    """Who looks after started servers: they may be of a run with another executor."""
    return SlurmLauncher() if "job" in handles[0] else LocalLauncher()


def _jobs_text(handles: Sequence[Mapping[str, Any]]) -> str:
    numbers = [handle["job"] for handle in handles if "job" in handle]
    return f" as Slurm job {', '.join(numbers)}" if numbers else ""


def _publish_status(entry: Endpoint, status: Status, folder: Path) -> None:
    if not status.alive and entry.state is not State.DEAD:
        entry.state = State.DEAD
    elif status.waiting and entry.state is not State.DEAD and entry.reason != status.words:
        entry.generation += entry.state is State.READY
        entry.state = State.QUEUED
    else:
        return
    entry.reason, entry.url = status.words, None
    entry.publish(folder)
    log.info("server %d: %s", entry.replica, status.words)
