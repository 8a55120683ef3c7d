"""Sorting more records than memory should hold: sorted runs in an unnamed file, merged while they are read back."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Self

from captionqa.files import AnyPath

#: Records of a run: the most that are in memory while records are added.
RUN_RECORDS = 50_000
#: Records of a block: this many of each run are in memory while records are read back.
BLOCK_RECORDS = 500

#: Where a block is in its file: (offset, size) in bytes.
Extent = tuple[int, int]


class BlockFile:
    """Blocks of bytes in an unnamed file, which disappears with the process, even after kill -9.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: AnyPath):
        os.makedirs(folder, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=os.fspath(folder))  # noqa: SIM115 - closed by `close`
        self._end = 0

    def append(self, block: bytes) -> Extent:
        """Write a block and return where it is."""
        self._file.seek(self._end)
        self._file.write(block)
        self._end += len(block)
        return self._end - len(block), len(block)

    def read(self, extent: Extent) -> bytes:
        offset, size = extent
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


class ExternalSort:
    """Takes records in any order and yields them sorted. Use it as a context manager: it may hold a temporary file.

    A record is a tuple of JSON values, compared as Python compares tuples of text and numbers. A tuple inside a record
    may come back as a list. `len` is the number of records added.
    """

    def __init__(self, folder: AnyPath, run_records: int = RUN_RECORDS):
        self._folder = folder
        self._run_records = run_records
        self._records: list[tuple[Any, ...]] = []
        self._runs: list[list[Extent]] = []
        self._file: BlockFile | None = None
        self._spilled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
        """All records in order. No record may be added after this."""
        self._records.sort()
        file = self._file
        spilled = [] if file is None else [_read_run(file, run) for run in self._runs]
        yield from heapq.merge(*spilled, self._records)

    def _spill(self) -> None:
        """Write the records in memory to the file as one sorted run."""
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


def _read_run(file: BlockFile, blocks: list[Extent]) -> Iterator[tuple[Any, ...]]:
    for extent in blocks:
        yield from map(tuple, json.loads(file.read(extent)))
