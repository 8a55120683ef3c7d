"""The endpoint file: how a server's supervisor tells the clients where the server is and in which state.

Each replica has one file, replaced atomically. A server is only ever replaced by a new generation in the same file, and
`dead` is the one final state.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Required, TypedDict

from captionqa.config.server_files import ServerFiles, read_own_json
from captionqa.files import write_json

#: The most restarts that an endpoint keeps, the last ones. Their numbers tell how many there were.
RESTARTS_KEPT = 20
#: The most changes of state that an endpoint keeps, the last ones.
CHANGES_KEPT = 100


class State(StrEnum):
    """What a server is doing."""

    #: Its first generation is loading.
    STARTING = "starting"
    READY = "ready"
    #: A later generation is loading.
    REPLACING = "replacing"
    #: Its job is in Slurm's queue again.
    QUEUED = "queued"
    DEAD = "dead"


class Versions(TypedDict, total=False):
    """What a server runs; "unknown" stands for a version that nobody can tell."""

    vllm: str
    #: Of a server that captionqa started: as `model_revision` makes it.
    model_revision: str
    #: Of an existing server: the folder or hub id from which it says that it loaded the model.
    model_root: str


class ServerIdentity(Versions):
    """Which server gave an answer, as the answer keeps it."""

    url: Required[str | None]
    generation: Required[int]


class Restart(TypedDict):
    """One restart of a server."""

    #: Counts from 1 and goes on when old restarts are dropped.
    number: int
    #: ISO 8601, UTC.
    time: str
    #: The generation that ended.
    generation: int
    reason: str


@dataclass
class Endpoint:
    """The content of an endpoint file: all that is known of one server."""

    replica: int
    #: The id of the start request that asked for this server.
    request_id: str
    #: Digest of the settings that the server runs with.
    settings: str
    #: The model's name in requests.
    model: str
    state: State = State.STARTING
    generation: int = 1
    #: Generations that crashed or hung, which a request may have caused.
    crashes: int = 0
    #: Base URL without /v1.
    url: str | None = None
    #: Why the server is not ready.
    reason: str | None = None
    host: str | None = None
    #: Of the supervisor.
    pid: int | None = None
    #: Slurm's job id.
    job: str | None = None
    versions: Versions = field(default_factory=Versions)
    #: The command line of the last generation.
    argv: list[str] = field(default_factory=list)
    #: A sentence about each option of vLLM that captionqa chose for it.
    chosen: list[str] = field(default_factory=list)
    #: The cores that its job may use; None in the files of earlier versions.
    cores: int | None = None
    #: What it computes on, as `hardware.hardware` says it; None where that is not known.
    hardware: str | None = None
    #: The last restarts, oldest first.
    restarts: list[Restart] = field(default_factory=list)
    #: The last (state, seconds since the epoch at which it began), oldest first, since the supervisor first started.
    changes: list[tuple[State, float]] = field(default_factory=list)

    def record_restart(self, reason: str) -> None:
        """Add a restart that ends the present generation."""
        number = self.restarts[-1]["number"] + 1 if self.restarts else 1
        now = datetime.now(UTC).isoformat(timespec="seconds")
        restart: Restart = {"number": number, "time": now, "generation": self.generation, "reason": reason}
        self.restarts = [*self.restarts, restart][-RESTARTS_KEPT:]

    def publish(self, folder: Path) -> None:
        """Write the endpoint file, with the change of state if there is one; raises OSError."""
        if self.pid is not None and (not self.changes or self.changes[-1][0] != self.state):
            self.changes = [*self.changes, (self.state, round(time.time(), 3))][-CHANGES_KEPT:]
        write_json(ServerFiles(folder).endpoint(self.replica), asdict(self))


class EndpointSummary(TypedDict):
    """The fields of an endpoint that a chunk result and the provenance keep."""

    url: str | None
    model: str
    host: str | None
    job: str | None
    generation: int
    versions: Versions
    argv: list[str]
    chosen: list[str]
    restarts: list[Restart]


def summary(endpoint: Endpoint) -> EndpointSummary:
    return {
        "url": endpoint.url,
        "model": endpoint.model,
        "host": endpoint.host,
        "job": endpoint.job,
        "generation": endpoint.generation,
        "versions": endpoint.versions,
        "argv": endpoint.argv,
        "chosen": endpoint.chosen,
        "restarts": endpoint.restarts,
    }


def read(folder: Path, replica: int) -> Endpoint | None:
    """The endpoint of a replica; None where it has no file, or one that is not complete."""
    return _read(ServerFiles(folder).endpoint(replica))


def read_all(folder: Path) -> list[Endpoint]:
    """The endpoints of all replicas that have one, in the order of their numbers."""
    return [endpoint for file in ServerFiles(folder).endpoints() if (endpoint := _read(file)) is not None]


def _read(file: Path) -> Endpoint | None:
    stored = read_own_json(file)
    if stored is None:
        return None
    changes = [(State(state), since) for state, since in stored.get("changes", ())]
    return Endpoint(**{**stored, "state": State(stored["state"]), "changes": changes})


def remove_all(folder: Path) -> None:
    """Remove the endpoint files of all replicas."""
    for file in ServerFiles(folder).endpoints():
        file.unlink(missing_ok=True)


def reasons(endpoints: Iterable[Endpoint]) -> str:
    """Why these servers are not ready, for an error message."""
    found = [f"server {endpoint.replica}: {endpoint.reason}" for endpoint in endpoints if endpoint.reason]
    return "; ".join(found) or "no reason was given"


class _KeyRecord(TypedDict):
    """The key file of an existing server."""

    #: None for an existing server that asks for no key.
    key: str | None


def read_key(folder: Path) -> str | None:
    """The key that an existing server asks for, which is the user's; None where it asks for none."""
    stored: _KeyRecord | None = read_own_json(ServerFiles(folder).api_key)
    return stored["key"] if stored else None


def write_key(folder: Path, key: str | None) -> None:
    """Write the key of an existing server to a file that only its owner can read."""
    write_json(ServerFiles(folder).api_key, _KeyRecord(key=key), mode=0o600)


def remove_key(folder: Path) -> None:
    ServerFiles(folder).api_key.unlink(missing_ok=True)
