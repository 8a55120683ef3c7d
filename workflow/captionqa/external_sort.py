"""Sorting more records than memory should hold: sorted runs in an unnamed file, merged as they are read back."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

#: What is in memory at a time: one run while records are added, a block of each run while they are read back.
RUN_RECORDS = 50_000
BLOCK_RECORDS = 500


class BlockFile:
    """Blocks of bytes in a file without a name: even kill -9 leaves nothing of it.

    Raises OSError where the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: str | os.PathLike):
        os.makedirs(folder, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._end = 0

    def append(self, block: bytes) -> tuple[int, int]:
        """Write a block; returns where it is, as (offset, size) in bytes."""
        self._file.seek(self._end)
        self._file.write(block)
        self._end += len(block)
        return self._end - len(block), len(block)

    def read(self, where: tuple[int, int]) -> bytes:
        offset, size = where
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


class ExternalSort:
    """Records in, the same records sorted out; a context, since what does not fit in memory is in a file meanwhile.

    Records are tuples of what JSON knows, sorted as Python does by parts that are text or numbers; a tuple within one
    may come out as a list. `len` is how many were added.
    """

    def __init__(self, folder: str | os.PathLike, run_records: int = RUN_RECORDS):
        self._folder = folder
        self._run_records = run_records
        self._records: list[tuple[Any, ...]] = []
        self._runs: list[list[tuple[int, int]]] = []
        self._file: BlockFile | None = None
        self._spilled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._records.clear()
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return self._spilled + len(self._records)

    def add(self, record: tuple[Any, ...]) -> None:
        self._records.append(record)
        if len(self._records) >= self._run_records:
            self._spill()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """All records in order; once they are read, no more may be added."""
        self._records.sort()
        yield from heapq.merge(*map(self._read, self._runs), self._records)

    def _spill(self) -> None:
        if self._file is None:
            self._file = BlockFile(self._folder)
        self._records.sort()
        self._runs.append(
            [
                self._file.append(json.dumps(self._records[start : start + BLOCK_RECORDS]).encode())
                for start in range(0, len(self._records), BLOCK_RECORDS)
            ]
        )
        self._spilled += len(self._records)
        self._records.clear()

    def _read(self, run: list[tuple[int, int]]) -> Iterator[tuple[Any, ...]]:
        for where in run:
            yield from map(tuple, json.loads(self._file.read(where)))
