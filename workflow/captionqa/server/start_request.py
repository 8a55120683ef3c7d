"""The start request: which server the driver asks for, as its supervisors read it."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from captionqa.config.model_versions import ModelVersion
from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.files import write_json
from captionqa.server.chosen_options import Work

#: How long a supervisor waits for its request. A network file system may show a file of another machine this late.
TIMEOUT_S = 90.0
POLL_S = 0.5


class StartRequest(TypedDict):
    """The request file. All replicas of a model share one."""

    #: Tells this request from earlier and later ones.
    request_id: str
    #: Digest of all that makes a running server fit the configuration or not.
    settings: str
    #: The fields of the model's ServerConfig, with `host` and `tensor_parallel_size` filled in.
    server: dict[str, Any]
    #: What the server will be asked.
    work: Work
    #: Whether the supervisors are Slurm jobs.
    slurm: bool
    #: Hub id or local folder.
    model_path: str
    #: The model's name in requests.
    served_name: str
    #: The version of the model that the run was planned with, to which a server is held.
    model_version: ModelVersion | None
    #: The log of each replica's server.
    logs: list[str]


def write(folder: Path, request: StartRequest) -> None:
    write_json(ServerFiles(folder).request, request)


def superseded(folder: Path, request_id: str) -> bool:
    """Whether another request has replaced the one of this id; False while the file cannot be read."""
    with suppress(OSError):
        request: StartRequest | None = read_own_json(ServerFiles(folder).request)
        return request is not None and request["request_id"] != request_id
    return False


def wait_for(folder: Path, request_id: str) -> StartRequest | None:
    """The request of this id, once this machine sees it; None where it does not within TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with suppress(OSError):
            request: StartRequest | None = read_own_json(ServerFiles(folder).request)
            if request and request["request_id"] == request_id:
                return request
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)
