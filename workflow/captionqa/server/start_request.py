"""The start request: which server the driver asks for, as its supervisors read it."""

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from captionqa.config.server_files import ServerFiles
from captionqa.files import read_json, write_json
from captionqa.server import endpoint

#: How long a supervisor waits for its request. A network file system may show a file of another machine this late.
TIMEOUT_S = 90.0
POLL_S = 0.5


class StartRequest(TypedDict):
    """The request file. All replicas of a model share one."""

    #: Tells this request from earlier and later ones.
    request_id: str
    #: Tells whether the key file already holds this request's key.
    key_digest: str
    #: Digest of all that makes a running server fit the configuration or not.
    settings: str
    #: The fields of the model's ServerConfig, with `host` and `tensor_parallel_size` filled in.
    server: dict[str, Any]
    #: Whether the supervisors are Slurm jobs.
    slurm: bool
    #: Hub id or local folder.
    model_path: str
    #: The model's name in requests.
    served_name: str
    #: The log of each replica's server.
    logs: list[str]


def write(folder: Path, request: StartRequest) -> None:
    write_json(ServerFiles(folder).request, request)


def superseded(folder: Path, request_id: str) -> bool:
    """Whether another request has replaced the one of this id; False while the file cannot be read."""
    with suppress(OSError):
        request: StartRequest | None = read_json(ServerFiles(folder).request)
        return request is not None and request["request_id"] != request_id
    return False


def key_digest(key: str) -> str:
    """By this digest a supervisor tells its request's key from that of an earlier request."""
    return hashlib.sha256(key.encode()).hexdigest()


def wait_for(folder: Path, request_id: str) -> tuple[StartRequest, str] | None:
    """The request of this id and its key, once this machine sees both; None where it does not within TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with suppress(OSError):
            request: StartRequest | None = read_json(ServerFiles(folder).request)
            key = endpoint.read_key(folder)
            if request and request["request_id"] == request_id and key and key_digest(key) == request["key_digest"]:
                return request, key
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)
