"""The endpoint file: how a server's supervisor tells clients where the server is and how it fares.

One file for each replica, replaced atomically. A server is only ever replaced by a new generation in the same file,
and `dead` is the one terminal state. `queued` says that the server's job is back in Slurm's queue.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from captionqa.config.server_files import ServerFiles
from captionqa.files import read_json, write_json

#: So many of the last restarts are kept; they are numbered, so it shows how many there were.
RESTARTS_KEPT = 20
#: So many of the last changes of state are kept.
CHANGES_KEPT = 100


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    REPLACING = "replacing"
    QUEUED = "queued"
    DEAD = "dead"


@dataclass
class Endpoint:
    """What is known of one server.

    `url` is the base without /v1; `settings` is the digest of its settings; `crashes` counts the generations that ended
    by a crash or a hang, which a request may have caused. `restarts` holds the last ones: number, time, the
    generation that was ready or loading, and why. `changes` holds the last states since the supervisor first
    started, each with its begin in seconds since the epoch.
    """

    replica: int
    request_id: str
    settings: str
    model: str
    state: State = State.STARTING
    generation: int = 1
    crashes: int = 0
    url: str | None = None
    reason: str | None = None
    host: str | None = None
    pid: int | None = None
    job: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    restarts: list[dict[str, Any]] = field(default_factory=list)
    changes: list[list[Any]] = field(default_factory=list)

    def note_restart(self, reason: str) -> None:
        number = self.restarts[-1]["number"] + 1 if self.restarts else 1
        now = datetime.now(UTC).isoformat(timespec="seconds")
        noted = {"number": number, "time": now, "generation": self.generation, "reason": reason}
        self.restarts = [*self.restarts, noted][-RESTARTS_KEPT:]

    def publish(self, folder: Path) -> None:
        if self.pid is not None and (not self.changes or self.changes[-1][0] != self.state):
            self.changes = [*self.changes, [self.state, round(time.time(), 3)]][-CHANGES_KEPT:]
        write_json(ServerFiles(folder).endpoint(self.replica), asdict(self))


def read(folder: Path, replica: int) -> Endpoint | None:
    return _read(ServerFiles(folder).endpoint(replica))


def read_all(folder: Path) -> list[Endpoint]:
    """The endpoints of all replicas, in their order."""
    return [endpoint for file in ServerFiles(folder).endpoints() if (endpoint := _read(file)) is not None]


def remove_all(folder: Path) -> None:
    for file in ServerFiles(folder).endpoints():
        file.unlink(missing_ok=True)


def read_key(folder: Path) -> str | None:
    """The API key of the run, or None where the server has none."""
    stored = read_json(ServerFiles(folder).api_key)
    return stored["key"] if stored else None


def write_key(folder: Path, key: str | None) -> None:
    """Keep the key in a file that only its owner can read."""
    write_json(ServerFiles(folder).api_key, {"key": key}, mode=0o600)


def remove_key(folder: Path) -> None:
    (ServerFiles(folder).api_key).unlink(missing_ok=True)


def reasons(endpoints: Iterable[Endpoint]) -> str:
    """Why servers are gone, for an error message."""
    found = [f"server {endpoint.replica}: {endpoint.reason}" for endpoint in endpoints if endpoint.reason]
    return "; ".join(found) or "no reason was given"


def _read(file: Path) -> Endpoint | None:
    stored = read_json(file)
    return None if stored is None else Endpoint(**{**stored, "state": State(stored["state"])})


def summary(endpoint: Endpoint) -> dict[str, Any]:
    """What provenance keeps of a server."""
    kept = asdict(endpoint)
    return {key: kept[key] for key in ("url", "model", "host", "job", "generation", "versions", "argv", "restarts")}
