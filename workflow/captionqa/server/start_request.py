"""The request file: which server the driver asks for, as its supervisors read it."""

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from captionqa.config.server_files import ServerFiles
from captionqa.files import read_json
from captionqa.server import endpoint

#: A request written on another machine may take as long to be seen as a network file system caches folders.
TIMEOUT_S = 90.0
POLL_S = 0.5


def superseded(folder: Path, wanted: str) -> bool:
    """Whether a server of another id is asked for now; a file that is out of sight for a while does not say so."""
    with suppress(OSError):
        request = read_json(ServerFiles(folder).request)
        return request is not None and request["request_id"] != wanted
    return False


def key_digest(key: str) -> str:
    """By which a supervisor knows the key that its server was asked for with from an earlier one."""
    return hashlib.sha256(key.encode()).hexdigest()


def wait_for(folder: Path, wanted: str) -> dict[str, Any] | None:
    """The request of this id, once it and its key are to be seen on this machine; None where they do not come."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with suppress(OSError):
            request, key = read_json(ServerFiles(folder).request), endpoint.read_key(folder)
            if request and request["request_id"] == wanted and key and key_digest(key) == request["key_digest"]:
                return request
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)
