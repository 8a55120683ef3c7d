"""Servers that run already: an existing one that the configuration names, and one that an earlier run has left."""

import os
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from captionqa.config.config import ModelConfig
from captionqa.config.server_files import ServerFiles
from captionqa.errors import ServerError, ServerStartError
from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import Handle, Launcher
from captionqa.server.probe import Probe


def use_existing(folder: Path, model: ModelConfig, url: str, digest: str) -> Endpoint:
    """Check the model's server at `url`, which may end in /v1, and publish it and its key for the clients.

    Raises:
        ServerStartError: its key is missing, or it does not serve the model.
    """
    variable = model.api_key_env
    key = os.environ.get(variable) if variable else None
    if variable and not key:
        raise ServerStartError(f"api_key_env names {variable}, which is not set; export it and start again.")
    url = url.rstrip("/").removesuffix("/v1")
    probe = Probe(url, key)
    try:
        probe.check_model(model.served_name)
    except ServerError as error:
        raise ServerStartError(f"the server of models.*.url cannot be used: {error}") from error
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
        versions={"vllm": probe.version() or "unknown", "model_root": probe.model_root(model.served_name) or "unknown"},
    )
    ready.publish(folder)
    return ready


def adopt(folder: Path, handles: Sequence[Handle], launcher: Launcher, served_name: str, digest: str) -> list[Endpoint]:
    """The endpoints of an earlier run's servers if all are ready with just these settings, else none."""
    if ServerFiles(folder).stopping.exists() or not all(status.alive for status in launcher.status(handles)):
        return []
    found = endpoint.read_all(folder)
    if not all(entry.state is State.READY and entry.settings == digest for entry in found):
        return []
    try:
        for entry in found:
            key = generation_key.read(folder, entry)
            if not entry.url or not key:
                return []
            Probe(entry.url, key, own=True).check_model(served_name)
    except ServerError:
        return []
    return found
