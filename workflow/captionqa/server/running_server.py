"""Servers that run already: an existing one that the configuration names, and one that an earlier run has left."""

import os
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from captionqa.config.model_config import ModelConfig, base_url
from captionqa.config.model_versions import ModelVersion, differences, other_model
from captionqa.config.server_files import ServerFiles
from captionqa.errors import ServerError, ServerStartError, UnreachableError
from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import Handle, Launcher
from captionqa.server.model_revision import existing_version


def use_existing(
    folder: Path, name: str, model: ModelConfig, url: str, digest: str, planned: ModelVersion | None = None
) -> Endpoint:
    """Check the server at `url`, which may end in /v1, of the model of this name, and publish it and its key.

    Raises:
        ServerStartError: its key is missing, it does not serve the model, or says that it serves another one than the
            `planned` version.
    """
    variable = model.api_key_env
    key = os.environ.get(variable) if variable else None
    if variable and not key:
        raise ServerStartError(f"api_key_env names {variable}, which is not set; export it and start again.")
    from captionqa.server.probe import Probe  # requests, and every start of the workflow would wait for it

    url = base_url(url)
    probe = Probe(url, key)
    try:
        probe.check_model(model.served_name)
        root = probe.model_root(model.served_name)
    except UnreachableError as error:
        raise ServerStartError(
            f"no server answers at {url} (models.{name}.url, {error}). Is it running? curl {url}/v1/models"
        ) from error
    except ServerError as error:
        raise ServerStartError(f"the server of models.{name}.url cannot be used: {error}") from error
    endpoint.remove_all(folder)
    endpoint.write_key(folder, key)
    ready = Endpoint(
        replica=0,
        request_id=uuid.uuid4().hex,
        settings=digest,
        model=model.served_name,
        state=State.READY,
        url=url,
        host=socket.gethostname(),
        versions={"vllm": probe.version() or "unknown", "model_root": root or "unknown"},
    )
    changes = differences(planned, existing_version(model, root)) if planned else []
    if changes:
        ready.state, ready.reason = State.DEAD, other_model(changes)
    ready.publish(folder)  # also where it is not to be used: the next run is planned by what it says
    if ready.reason is not None:
        raise ServerStartError(f"the server of models.{name}.url is not used: {ready.reason}")
    return ready


def adopt(folder: Path, handles: Sequence[Handle], launcher: Launcher, served_name: str, digest: str) -> list[Endpoint]:
    """The endpoints of an earlier run's servers if all are ready with just these settings, else none."""
    if ServerFiles(folder).stopping.exists() or not all(status.alive for status in launcher.status(handles)):
        return []
    found = endpoint.read_all(folder)
    if not all(entry.state is State.READY and entry.settings == digest for entry in found):
        return []
    from captionqa.server.probe import Probe  # as above

    try:
        for entry in found:
            key = generation_key.read(folder, entry)
            if not entry.url or not key:
                return []
            Probe(entry.url, key, own=True).check_model(served_name)
    except ServerError:
        return []
    return found
