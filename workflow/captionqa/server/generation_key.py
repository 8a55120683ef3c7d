"""The key of one generation of a server: in a file of its own while that generation is ready.

Each start of a server gets another key. So who learned the key of one server cannot speak for its successor, nor for
another replica.
"""

import secrets
from pathlib import Path
from typing import TypedDict

from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.files import write_json
from captionqa.server.endpoint import Endpoint

KEY_BYTES = 32


class _KeyRecord(TypedDict):
    """The file key-N.json."""

    request_id: str
    generation: int
    key: str


def make() -> str:
    return secrets.token_urlsafe(KEY_BYTES)


def write(folder: Path, server: Endpoint, key: str) -> None:
    """Write the key of a server's present generation to a file that only its owner can read."""
    record: _KeyRecord = {"request_id": server.request_id, "generation": server.generation, "key": key}
    write_json(ServerFiles(folder).generation_key(server.replica), record, mode=0o600)


def read(folder: Path, server: Endpoint) -> str | None:
    """The key of just this generation of a server; None while this machine does not see it."""
    stored: _KeyRecord | None = read_own_json(ServerFiles(folder).generation_key(server.replica))
    if stored is None or (stored["request_id"], stored["generation"]) != (server.request_id, server.generation):
        return None
    return stored["key"]


def remove(folder: Path, replica: int) -> None:
    ServerFiles(folder).generation_key(replica).unlink(missing_ok=True)


def remove_all(folder: Path) -> None:
    """Remove the keys of all replicas."""
    for file in ServerFiles(folder).generation_keys():
        file.unlink(missing_ok=True)
