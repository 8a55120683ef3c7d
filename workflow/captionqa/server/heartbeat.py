"""Heartbeats of vLLM's API servers: each of them touches a file of its own as long as it can answer requests.

Several API servers accept connections on one port. A health check reaches one that accepts it, never one that hangs, so
a hung one shows only here. The files are in the folder for temporary files of the server's generation.

This module runs in the server's environment too, so it needs the standard library alone.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from captionqa.server.server_process import TEMPORARY_VARIABLE

#: The interval between two heartbeats.
INTERVAL_S = 0.5
_PREFIX = "heartbeat-"


async def beat() -> None:
    """Touch this process's file at intervals. Where its folder is not there, as in a container, nothing is written.

    Where the file can be touched no more, as on a full disk, it goes: this process does not count as one that hangs.
    """
    with suppress(OSError, KeyError):
        path = Path(os.environ[TEMPORARY_VARIABLE], f"{_PREFIX}{os.getpid()}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                os.utime(descriptor)
                await asyncio.sleep(INTERVAL_S)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


def last_beats(folder: Path) -> dict[int, int]:
    """{process: when it last touched its file, in ns} of the processes that have a heartbeat in a folder."""
    beats = {}
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError):
            beats[int(path.name.removeprefix(_PREFIX))] = path.stat().st_mtime_ns
    return beats
