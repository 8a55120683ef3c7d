"""The life of a model's servers as the driver sees it: start or adopt, check, stop.

Driver, supervisors and clients may run on different machines. They talk to each other only through files in the server
folder (output_dir/work/MODEL/server; N is the number of a replica), which is open to their user alone. What is read
there counts only if it belongs to that user:

| file | written by | read by | meaning |
| --- | --- | --- | --- |
| lease.json | driver | supervisors, jobs, next driver | the run goes on as long as its counter moves |
| lease.lock | driver (locks it) | other drivers | one driver at a time works on an output folder |
| run.json | driver | start_server, verdict, next driver | whether a server is needed, and the Slurm run |
| request.json | start_server | supervisors | which server to run; a request of another id ends a server |
| key-N.json | supervisor | clients, next start_server | key of one generation of server N, while it is ready |
| api_key | start_server | clients | the user's key of an existing server (`url`); removed at the end of the run |
| handles.json | start_server | driver, release, next start_server | how to find supervisors until they have ended |
| stopping | release | driver, next start_server | the servers were told to stop: no fault, not to be adopted |
| endpoint-N.json | start_server, supervisor, driver | clients, driver, jobs | where server N is, and its state |
| load-N.jsonl | supervisor | verdict | load of server N at each health check |
| ready.json | start_server | Snakemake, release | sentinel: the endpoints that were ready first |
| live/TASK | start_server | Snakemake, driver | a server runs for the task, which is not released yet |
| released/TASK.json | release | release, Snakemake | the task needs no server any more; the last one stops it |

start_server and release are the jobs of these rules. The driver writes an endpoint only where the supervisor cannot: it
was killed, or its job is in the queue again.
"""

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from captionqa.config import media_folder
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.model_versions import planned_version
from captionqa.config.server_files import read_own_json
from captionqa.errors import ConfigError, RunTakenOverError, ServerError
from captionqa.files import write_json
from captionqa.run.lease import live_lease
from captionqa.server import chosen_options, endpoint, generation_key, start_request, vllm_command
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import Handle, Launcher, LocalLauncher, SupervisorStatus, wait_until_gone
from captionqa.server.running_server import adopt, use_existing
from captionqa.server.slurm_launcher import SlurmLauncher
from captionqa.server.start_request import StartRequest
from captionqa.server.start_wait import wait_until_ready

#: Settings that matter only while a server starts: a running server fits whatever their values.
ONLY_WHILE_STARTING = ("start_timeout_s",)

log = logging.getLogger(__name__)


class Server:
    """The servers of one model in one output folder; `launcher` starts new ones."""

    def __init__(self, config: Config, model: str, layout: Layout, launcher: Launcher | None = None):
        self._model = config.models[model]
        self._layout = layout
        self._folder = layout.server
        self._files = layout.server_files
        self._launcher = launcher or LocalLauncher()
        self._work = chosen_options.work_of(config, model)
        self._server = replace(self._model.server, allowed_local_media_path=media_folder.allowed_folder(config, model))
        self.replicas = self._server.replicas

    def start(self, needed: bool = True) -> list[Endpoint]:
        """Make sure that a server is ready, and return the endpoints that are.

        Where none is `needed`, those of a run that was killed are stopped: they would hold their GPUs, and the driver
        would take their end for that of this run's server.

        Raises:
            ServerStartError: with the reason, advice, and the path and the end of the server's log.
            RunStoppedError: the driver stopped the run meanwhile.
            RunTakenOverError: another run has begun; the servers are left to it.
        """
        self._files.make_folder()
        if not needed:
            self.stop()
            return []
        if self._model.url:
            self.stop()
            name, planned = self._layout.model, planned_version(self._layout)
            return [use_existing(self._folder, name, self._model, self._model.url, self._digest(), planned)]
        handles = self._handles()
        if len(handles) == self.replicas and (
            adopted := adopt(self._folder, handles, _launcher_of(handles), self._model.served_name, self._digest())
        ):
            log.info("a server of an earlier run is healthy and fits: it is taken over")
            return adopted
        self.stop()
        return self._start_new()

    def stop(self) -> None:
        """Stop the servers, wait until they have ended, and remove the keys, one of which may be the user's own.

        Raises:
            ServerError: a server does not end.
        """
        self._end(self._handles())
        endpoint.remove_key(self._folder)
        generation_key.remove_all(self._folder)

    def request_stop(self) -> None:
        """Tell the servers to stop, without waiting until they have."""
        if handles := self._handles():
            self._files.stopping.touch()
            _launcher_of(handles).stop(handles)

    def check_liveness(self) -> str | None:
        """Publish what only the driver can know of the servers; returns why none is left, or None.

        A supervisor that was killed or whose Slurm job ended cannot publish that itself. Nor can one whose job is in
        the queue again.
        """
        handles = self._handles()
        if not handles or not self._files.has_live_marker():  # start_server has not finished
            return None
        launcher = _launcher_of(handles)
        launcher.skip_requeue_delay(handles)
        statuses = launcher.status(handles)
        if self._files.stopping.exists():  # checked after the status: servers that were told to stop may have ended
            return None
        found = endpoint.read_all(self._folder)
        for entry in found:
            with suppress(OSError):  # on a full disk the clients do not learn of it, but the driver does
                _publish_status(entry, statuses[entry.replica], self._folder)
        if len(found) == len(handles) and all(entry.state is State.DEAD for entry in found):
            return endpoint.reasons(found)
        return None

    def _start_new(self) -> list[Endpoint]:
        self._files.stopping.unlink(missing_ok=True)
        endpoint.remove_all(self._folder)
        vllm_command.resolve(self._server.command)
        vllm_command.check_build(self._server, self._launcher.gpus)
        request = self._request()
        start_request.write(self._folder, request)
        # all before the first supervisor starts: clients then know that others follow when one server dies
        for replica in range(self.replicas):
            Endpoint(replica, request["request_id"], request["settings"], self._model.served_name).publish(self._folder)
        handles: list[Handle] = []
        try:
            for replica, path in enumerate(map(Path, request["logs"])):
                if path.exists():
                    path.replace(self._layout.previous_server_log(replica))
                argv = ["-m", "captionqa.server.supervisor", str(self._folder), str(replica), request["request_id"]]
                handles.append(self._launcher.start(argv, replica, path))
                write_json(self._files.handles, handles)
            jobs = ", ".join(handle["job"] for handle in handles if "job" in handle)
            where = f" as Slurm job {jobs}" if jobs else ""
            log.info("the server is starting%s, which can take minutes; its log is %s", where, request["logs"][0])
            return wait_until_ready(self._folder, self._launcher, handles, request)
        except BaseException as error:
            # the start of the next run takes over or stops the servers that the file of handles names
            if not (isinstance(error, RunTakenOverError) and self._handles() == handles):
                try:
                    self._end(handles)
                except ServerError as fault:
                    log.warning("%s", fault)  # the error that is being raised matters more
            raise

    def _request(self) -> StartRequest:
        server = replace(
            self._server,
            host=self._server.host or self._launcher.host,
            tensor_parallel_size=self._server.tensor_parallel_size or max(self._launcher.gpus, 1),
        )
        return {
            "request_id": uuid.uuid4().hex,
            "settings": self._digest(),
            "server": asdict(server),
            "work": self._work,
            "slurm": isinstance(self._launcher, SlurmLauncher),
            "model_path": self._model.path,
            "served_name": self._model.served_name,
            "model_version": planned_version(self._layout),
            "logs": [self._layout.server_log(replica) for replica in range(self.replicas)],
        }

    def _handles(self) -> list[Handle]:
        return read_own_json(self._files.handles) or []

    def _end(self, handles: Sequence[Handle]) -> None:
        """Stop these servers alone: the file of handles may meanwhile hold those of another run."""
        if not handles:
            return
        launcher = _launcher_of(handles)
        launcher.stop(handles)
        if not wait_until_gone(launcher, handles):
            how = "; ".join(status.text or "it still runs" for status in launcher.status(handles) if status.alive)
            raise ServerError(
                f"a server did not end when told to: {how}; see {self._layout.server_log()}. Once it is gone, delete "
                f"{self._files.handles}."
            )
        if self._handles() == handles:
            self._files.handles.unlink(missing_ok=True)  # the driver and start_server may stop it at the same time
            self._files.stopping.unlink(missing_ok=True)

    def _digest(self) -> str:
        """Digest of all that makes a running server fit the configuration or not."""
        server = {key: value for key, value in asdict(self._server).items() if key not in ONLY_WHILE_STARTING}
        if self._server.allowed_local_media_path is None:
            del server["allowed_local_media_path"]
        model = [self._model.path, self._model.served_name]
        model += [self._model.version_key] if self._model.version_key is not None else []
        described = json.dumps([*model, server, self._work, list(self._launcher.settings)], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:12]


def check_model_path(config: Config, model: str) -> None:
    """Check that a path that can only be a local folder is one; `name/name` may also be a hub id.

    Raises:
        ConfigError: there is no such folder.
    """
    path = config.models[model].path
    local = path.count("/") > 1 or path.startswith((".", "/", "~"))
    if local and config.models[model].url is None and not Path(path).is_dir():
        raise ConfigError(f"models.{model}.path: there is no folder {path}; give a local folder or a hub id.")


def drop_stale_live_markers(layout: Layout) -> None:
    """Remove the live markers of a driver that is gone, so that Snakemake plans a start of the server."""
    if live_lease(layout.server) is None:
        shutil.rmtree(layout.server_files.live_folder, ignore_errors=True)


def _launcher_of(handles: Sequence[Handle]) -> Launcher:
    """The launcher that started these servers, which may be of an earlier run with another executor."""
    return SlurmLauncher() if "job" in handles[0] else LocalLauncher()


def _publish_status(entry: Endpoint, status: SupervisorStatus, folder: Path) -> None:
    """Publish that a server is dead or queued where its supervisor's status says so and its endpoint does not."""
    if not status.alive and entry.state is not State.DEAD:
        entry.state = State.DEAD
    elif status.waiting and entry.state is not State.DEAD and entry.reason != status.text:
        entry.generation += entry.state is State.READY
        entry.state = State.QUEUED
    else:
        return
    entry.reason, entry.url = status.text, None
    entry.publish(folder)
    log.info("server %d: %s", entry.replica, status.text)
