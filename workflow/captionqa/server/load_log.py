"""The load log: how busy a server was at each health check.

Each replica has a file of JSON lines in the server folder. The first line is the id of the start request, so that the
file continues through restarts and requeues of one server and starts anew for the next.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from captionqa.config.server_files import ServerFiles
from captionqa.files import json_line, read_json_lines

if TYPE_CHECKING:
    from captionqa.server.probe import EngineLoad

#: More than the longest line.
LAST_BYTES = 1000


class LoadRecord(TypedDict):
    """One line: the time in seconds since the epoch, and the fields of an EngineLoad."""

    time: float
    requests: float
    tokens: float
    waiting: float
    cache_used: float
    preemptions: float
    #: Missing in the files of earlier versions.
    finished: NotRequired[float]


class LoadLog:
    """Appends the load of one replica."""

    def __init__(self, folder: Path, replica: int, request_id: str):
        self._path = ServerFiles(folder).load_log(replica)
        with suppress(OSError):
            if not self._path.exists() or next(read_json_lines(self._path), None) != request_id:
                self._path.write_text(json_line(request_id))

    def add(self, load: "EngineLoad | None") -> "EngineLoad | None":
        """Append a load with the present time and return it; None, of a server without metrics, is not appended.

        Where the file cannot be written, as on a full disk, the line is lost.
        """
        if load is not None:
            with suppress(OSError), open(self._path, "a") as file:
                file.write(json_line({"time": round(time.time(), 3), **asdict(load)}))
        return load


def read_all(folder: Path) -> list[Iterator[LoadRecord]]:
    """The lines of each replica, oldest first."""
    return [_records(path) for path in ServerFiles(folder).load_logs()]


def last_load(folder: Path, replica: int) -> LoadRecord | None:
    """The newest line of a replica; None where there is none. Reads the end of the file only."""
    try:
        with open(ServerFiles(folder).load_log(replica), "rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines(keepends=True)
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(ValueError):  # a line that is being written, or the cut first one
            if isinstance(record := json.loads(line), dict):
                return cast(LoadRecord, record)
    return None


def _records(path: Path) -> Iterator[LoadRecord]:
    for line in read_json_lines(path):
        if isinstance(line, dict):  # the first line is a text
            yield cast(LoadRecord, line)
