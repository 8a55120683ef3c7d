"""The server's log, written by its supervisor alone: bounded in size, and a full disk costs lines and nothing else."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 64 * 2**20
#: What is kept of a log that reaches the limit: how the server began, and the end.
HEAD_BYTES, TAIL_BYTES = 2**20, 8 * 2**20
READ_BYTES = 65_536
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class ServerLog:
    """Takes what the server prints and the supervisor says; safe to share between threads."""

    def __init__(self, path: Path, name: str):
        """`name` is that of the one who `say`s something."""
        self.path = path
        self._name = name
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        self._write(f"{time.strftime(TIME_FORMAT)} {self._name}: {text}\n".encode())

    def follow(self, output: BinaryIO) -> threading.Thread:
        """Copy an unbuffered stream to its end, and close it, in a thread."""

        def copy() -> None:
            with output:
                while data := output.read(READ_BYTES):
                    self._write(data)

        thread = threading.Thread(target=copy, daemon=True, name="server-log")
        thread.start()
        return thread

    def _write(self, data: bytes) -> None:
        # opened anew each time: appending goes on behind what others of the job have written, wherever the file is
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
    """Take out the middle of a log."""
    tail = os.pread(descriptor, TAIL_BYTES, size - TAIL_BYTES).partition(b"\n")[2]
    os.ftruncate(descriptor, HEAD_BYTES)
    left_out = size - HEAD_BYTES - len(tail)
    os.write(descriptor, f"\n[captionqa left out {left_out:,} bytes here, to keep the disk from filling]\n".encode())
    os.write(descriptor, tail)
