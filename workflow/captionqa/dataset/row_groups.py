"""Cells of parquet and Arrow files: no shard is ever in memory as a whole.

Of a parquet file, bytes are read from where they are in it, if its columns are written as those of images usually are
(`column_cells.py`). Other cells pyarrow decodes, in the order of their rows, as a chunk's items come, by many threads
at once: each group has one pass over it, which keeps the rows that it decoded last. A row before these needs a pass of
its own. What all passes keep is bounded, so that memory is used again and not asked of the system anew, which costs
more than decoding.
"""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionqa.dataset.arrow_file import PARQUET_MAGIC, open_parquet
from captionqa.dataset.column_cells import ColumnCells
from captionqa.dataset.image_file import read_failures
from captionqa.dataset.image_ref import CellRef
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.parquet_encoding import NotUnderstoodError
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:
    import pyarrow as pa

    from captionqa.dataset.arrow_cells import ArrowCells

#: Bytes of cells that are decoded at a time.
BATCH_BYTES = 1 << 20
#: The most rows that are decoded at a time.
BATCH_ROWS = 1024
#: Bytes of decoded cells that a pass keeps, and that all passes keep together.
KEPT_BYTES, KEPT_BYTES_OF_ALL = 16 << 20, 48 << 20
#: Rows that a pass keeps however large they are, since threads ask for them nearly in their order and no better.
KEPT_ROWS = 8
#: How many passes and how many open files there are: items of one row group come together, but several of their columns
#: may be wanted.
MAX_PASSES, MAX_FILES = 16, 16
#: The passes that stay, however much they keep: those over the end of a row group and the beginning of the next.
MIN_PASSES = 2


class RowGroups:
    """The cells of all the files of a data set; safe to share between threads.

    `_lock` guards the open files.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, _OpenFile] = OrderedDict()
        self._passes = _Passes()

    def cell(self, path: Path, ref: CellRef) -> tuple[Any, Stamp]:
        """The value of a cell, of a list its element `ref.index`, and the stamp of the file that it was read from.

        Raises:
            ItemFailure: missing_image where the file, the column or the row is not there, unreadable_image where the
                file is damaged.
        """
        with read_failures(path):
            status = os.stat(path)
        stamp = (status.st_size, status.st_mtime_ns)
        with self._lock:
            file = self._files.get(path)
            if file is None or file.stamp != stamp:
                self._files[path] = file = _OpenFile(path, stamp, self._passes)
            self._files.move_to_end(path)
            if len(self._files) > MAX_FILES:
                self._files.popitem(last=False)
        return file.cell(ref), stamp

    def row_number(self, path: Path, ref: CellRef) -> int | None:
        """The number of a cell's row in its file, the first is 0; None where the file was not read."""
        with self._lock:
            file = self._files.get(path)
        return None if file is None else file.row_number(ref)


class _OpenFile:
    """One parquet or Arrow file; `_lock` guards it, and each pass over one of its row groups."""

    def __init__(self, path: Path, stamp: Stamp, passes: "_Passes"):
        self.stamp = stamp
        self._path = path
        self._lock = threading.Lock()
        self._cells: _ParquetCells | ArrowCells | None = None
        self._passes = passes

    def cell(self, ref: CellRef) -> Any:
        import pyarrow as pa

        with self._lock:
            try:
                if self._cells is None:
                    self._cells = _open_cells(self._path, self._passes)
                return self._cells.value(ref)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ItemFailure(Reason.UNREADABLE_IMAGE, f"it cannot be read: {error}") from error

    def row_number(self, ref: CellRef) -> int | None:
        try:
            return None if self._cells is None else self._cells.first_row(ref.group) + ref.row
        except IndexError:
            return None


class _Passes:
    """The passes over all files; `_lock` guards which there are. One that is not kept may still be in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes: OrderedDict[tuple[_ParquetCells, int, str], _Pass] = OrderedDict()

    def get(self, key: "tuple[_ParquetCells, int, str]") -> "_Pass | None":
        return self._passes.get(key)

    def keep(self, key: "tuple[_ParquetCells, int, str]", used: "_Pass") -> None:
        """Keep a pass that was used just now, and drop those that were not used for longest."""
        with self._lock:
            self._passes[key] = used
            self._passes.move_to_end(key)
            while len(self._passes) > MIN_PASSES and (
                len(self._passes) > MAX_PASSES
                or sum(each.kept_bytes for each in self._passes.values()) > KEPT_BYTES_OF_ALL
            ):
                self._passes.popitem(last=False)


class _Pass:
    """One pass over a column of a row group, forwards, which keeps the rows that it decoded last."""

    def __init__(self, batches: "Iterator[pa.RecordBatch]", rows: int):
        """`rows` is how many rows the group has."""
        #: The first row that it still has.
        self.first = 0
        #: How many bytes its rows take.
        self.kept_bytes = 0
        self._batches = batches
        self._rows = rows
        self._kept: deque[pa.RecordBatch] = deque()
        self._end = 0
        self._error: Exception | None = None

    def value(self, ref: CellRef) -> Any:
        row = ref.row
        if row >= self._end:
            _decoder().submit(self._advance_to, row).result()
        start = self._end
        for batch in reversed(self._kept):
            start -= batch.num_rows
            if row >= start:
                return _of_row(batch, row - start, ref)
        raise AssertionError("the row was dropped")  # who asks for one before `first` takes a new pass

    def _advance_to(self, row: int) -> None:
        while row >= self._end:
            self._advance()

    def _advance(self) -> None:
        if self._error is not None:
            raise self._error
        try:
            batch = next(self._batches, None)
        except Exception as error:  # the rows behind it fail by the same
            self._error = error
            raise
        if batch is None:
            raise ItemFailure(Reason.MISSING_IMAGE, f"there is no such row, the group has {self._end}")
        self._kept.append(batch)
        self.kept_bytes += batch.nbytes
        self._end += batch.num_rows
        if self._end >= self._rows:
            self._batches = iter(())  # the reader holds the group's pages
        while self.kept_bytes > KEPT_BYTES and self._end - self.first - self._kept[0].num_rows >= KEPT_ROWS:
            dropped = self._kept.popleft()
            self.kept_bytes -= dropped.nbytes
            self.first += dropped.num_rows


@cache
def _decoder() -> ThreadPoolExecutor:
    """The one thread that decodes: Arrow's allocator keeps the freed memory of each thread for that thread alone."""
    return ThreadPoolExecutor(1, "decode")


class _ParquetCells:
    """The cells of one parquet file. Not safe to share between threads."""

    def __init__(self, path: Path, passes: "_Passes"):
        self._parquet = open_parquet(path)
        self._file = open(path, "rb")  # noqa: SIM115 - it is closed with the last reference to this object
        self._passes = passes
        self._in_place = lru_cache(MAX_PASSES)(partial(ColumnCells, self._file, self._parquet))
        #: The groups and columns that pyarrow has to read.
        self._by_pyarrow: set[tuple[int, str]] = set()
        groups = map(self._parquet.metadata.row_group, range(self._parquet.metadata.num_row_groups))
        self._starts: list[int] = list(accumulate((group.num_rows for group in groups), initial=0))

    def first_row(self, group: int) -> int:
        """The number of a group's first row in the file; raises IndexError."""
        return self._starts[group]

    def value(self, ref: CellRef) -> Any:
        """The Python value of a cell, of a list its element `ref.index`; raises as `ArrowCells.value`.

        Of a struct that has bytes it is these alone.
        """
        if content := self._content(ref):
            return content
        key = (self, ref.group, ref.column)
        found = self._passes.get(key)
        if found is None or ref.row < found.first:
            batches = self._batches(ref.group, ref.column)
            found = _Pass(batches, self._starts[ref.group + 1] - self._starts[ref.group])
        value = found.value(ref)
        self._passes.keep(key, found)
        return value

    def _content(self, ref: CellRef) -> bytes | None:
        """The bytes of a cell, read from their place in the file; None where pyarrow has to read it."""
        place = ref.group, ref.column
        if ref.index is not None or ref.group >= len(self._starts) - 1 or place in self._by_pyarrow:
            return None
        try:
            return self._in_place(*place).value(ref.row)
        except NotUnderstoodError:
            self._by_pyarrow.add(place)
            return None

    def _batches(self, group: int, column: str) -> "Iterator[pa.RecordBatch]":
        """The rows of a group with this column; raises ItemFailure where there is no such group."""
        metadata = self._parquet.metadata
        if group >= metadata.num_row_groups:
            raise ItemFailure(Reason.MISSING_IMAGE, f"there are only {metadata.num_row_groups} row groups")
        whole = metadata.row_group(group)
        size = sum(
            part.total_uncompressed_size
            for part in map(whole.column, range(whole.num_columns))
            if _is_below(part.path_in_schema, column)
        )
        if not size:  # within a list, whose elements have names of their own in the file
            column = next(filter(partial(_is_below, column), self._parquet.schema_arrow.names), column)
            size = whole.total_byte_size
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES * whole.num_rows // max(1, size)))
        batches: Iterator[pa.RecordBatch] = self._parquet.iter_batches(
            rows, row_groups=[group], columns=[column], use_threads=False
        )
        return batches


def _open_cells(path: Path, passes: "_Passes") -> "_ParquetCells | ArrowCells":
    with open(path, "rb") as file:
        head = file.read(len(PARQUET_MAGIC))
    if head == PARQUET_MAGIC:
        return _ParquetCells(path, passes)
    from captionqa.dataset.arrow_cells import ArrowCells  # imports numpy and pyarrow, which most jobs do without

    return ArrowCells(path)


def _is_below(path: str, column: str) -> bool:
    """Whether a path with dots, of the schema or of an image, belongs to a column or a part of one."""
    return path == column or path.startswith((f"{column}.", f"{column}[]."))


def _of_row(batch: "pa.RecordBatch", row: int, ref: CellRef) -> Any:
    """The Python value of a column, or of a field within a column of structs or of lists of them.

    Of a list only the element that is wanted, since a list may hold many large images.
    """
    import pyarrow as pa

    names, path, index = batch.schema.names, ref.column, ref.index
    value = None
    while path:
        name = next((name for name in names if _is_below(path, name)), None)
        if name is None:
            raise ItemFailure(Reason.MISSING_IMAGE, f"there is no column {ref.column!r}")
        value = batch.column(name)[row] if value is None else value[name]
        path = path[len(name) :].removeprefix("[]").removeprefix(".")
        if index is not None and value.is_valid and isinstance(value, pa.ListScalar):
            if index >= len(value.values):
                return None
            value, index = value.values[index], None
        if not value.is_valid:
            return None
        names = [field.name for field in value.type] if path and hasattr(value, "keys") else []
    return None if value is None else value.as_py()
