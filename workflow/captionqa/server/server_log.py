"""The server's log, written by its supervisor alone: bounded in size, and on a full disk it only loses lines."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from captionqa.shown_text import printable_lines

#: Size at which the middle of the log is cut out.
LIMIT_BYTES = 64 * 2**20
#: What a cut keeps of the beginning, which shows how the server started.
HEAD_BYTES = 2**20
#: What a cut keeps of the end.
TAIL_BYTES = 8 * 2**20
READ_BYTES = 65_536
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class ServerLog:
    """Takes what the server prints and what the supervisor logs. Safe to share between threads."""

    def __init__(self, path: Path, name: str):
        """`name` stands before each line of `say`."""
        self.path = path
        self._name = name
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Write one line with the time and the name."""
        self._write(f"{time.strftime(TIME_FORMAT)} {self._name}: {printable_lines(text)}\n".encode())

    def follow(self, output: IO[bytes]) -> threading.Thread:
        """Start a thread that copies an unbuffered stream into the log until it ends, then closes it."""

        def copy() -> None:
            with output:
                while data := output.read(READ_BYTES):
                    self._write(data)

        thread = threading.Thread(target=copy, daemon=True, name="server-log")
        thread.start()
        return thread

    def _write(self, data: bytes) -> None:
        # opened for each write: it must append after what other processes of the job have written to the file
        with suppress(OSError), self._lock:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, data)
                size = os.fstat(descriptor).st_size
                if size > LIMIT_BYTES:
                    _cut(descriptor, size)
            finally:
                os.close(descriptor)


def _cut(descriptor: int, size: int) -> None:
    """Cut the middle out of a log of `size` bytes."""
    tail = os.pread(descriptor, TAIL_BYTES, size - TAIL_BYTES).partition(b"\n")[2]
    os.ftruncate(descriptor, HEAD_BYTES)
    left_out = size - HEAD_BYTES - len(tail)
    os.write(descriptor, f"\n[captionqa left out {left_out:,} bytes here, to keep the disk from filling]\n".encode())
    os.write(descriptor, tail)
