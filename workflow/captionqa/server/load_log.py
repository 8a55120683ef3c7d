"""Loads: how busy a server was, look by look, as its supervisor saw it.

A file of JSON lines for each replica in the server's folder. The first line is the id of the request that the server
was started by; the file outlives restarts and a job that goes back to the queue.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captionqa.config.server_files import ServerFiles
from captionqa.files import json_line, read_json_lines
from captionqa.server.probe import Load


class LoadLog:
    """Appends the looks at one replica."""

    def __init__(self, folder: Path, replica: int, request_id: str):
        self._path = ServerFiles(folder).load_log(replica)
        with suppress(OSError):
            if not self._path.exists() or next(read_json_lines(self._path), None) != request_id:
                self._path.write_text(json_line(request_id))

    def note(self, load: Load | None) -> Load | None:
        """Keep a look and give it back; a full or flickering disk costs it, and a server without metrics has none."""
        if load is not None:
            with suppress(OSError), open(self._path, "a") as file:
                file.write(json_line({"time": round(time.time(), 3), **asdict(load)}))
        return load


def read_all(folder: Path) -> list[Iterator[dict[str, Any]]]:
    """The looks at each replica, oldest first: `time` in seconds since the epoch, and the fields of a Load."""
    return [_looks(path) for path in ServerFiles(folder).load_logs()]


def _looks(path: Path) -> Iterator[dict[str, Any]]:
    return (line for line in read_json_lines(path) if isinstance(line, dict))
