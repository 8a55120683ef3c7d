"""Cells of an Arrow file: its headers are mapped into memory, and of its rows only those that are wanted are read.

Rows are read, not mapped: a page of a map that the file no longer has, since somebody cut it, ends the process by
SIGBUS, while a read comes short.
"""

import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from captionqa.dataset.arrow_file import arrow_reader, map_file, record_batches
from captionqa.dataset.image_ref import CellRef
from captionqa.errors import ItemFailure, Reason

#: Columns of record batches whose places in the file are kept: items come batch by batch.
KEPT_COLUMNS = 16
#: A value of a view type: its size, and of one of more than `INLINE_BYTES` the number of a buffer and its place in it.
VIEW = struct.Struct("<i4xii")
INLINE_BYTES, INLINE_START = 12, 4

#: Gives the Python value of a row.
_Values = Callable[[int], Any]
#: Gives the bytes of a buffer from a place on: (place, size).
_Bytes = Callable[[int, int], bytes]


class ArrowCells:
    """The cells of one Arrow file or stream. Not safe to share between threads."""

    def __init__(self, path: Path):
        """Raises as `arrow_file.open_arrow`."""
        self._file = open(path, "rb")  # noqa: SIM115 - it is closed with the last reference to this object
        self._content = map_file(self._file)
        self._batches = list(record_batches(arrow_reader(self._content)))
        self._starts: list[int] = list(accumulate((batch.num_rows for batch in self._batches), initial=0))
        self._column = lru_cache(KEPT_COLUMNS)(self._find_column)

    def first_row(self, group: int) -> int:
        """The number of a record batch's first row in the file; raises IndexError."""
        return self._starts[group]

    def value(self, ref: CellRef) -> Any:
        """The Python value of a cell; of a list only the element `ref.index`, since a list may hold many large images.

        Raises:
            ItemFailure: missing_image where there is no such row or column, unreadable_image where its type holds none.
            ValueError: the file was cut, or is damaged, as the end of a sentence.
            OSError: it cannot be read.
        """
        if ref.group >= len(self._batches):
            raise ItemFailure(Reason.MISSING_IMAGE, f"there are only {len(self._batches)} record batches")
        rows = self._batches[ref.group].num_rows
        if ref.row >= rows:
            raise ItemFailure(Reason.MISSING_IMAGE, f"there is no such row, the record batch has {rows}")
        return self._column(ref.group, ref.column, ref.index)(ref.row)

    def _find_column(self, group: int, column: str, index: int | None) -> _Values:
        """The values of a column of a record batch, or of a field within structs or lists of them."""
        batch = self._batches[group]
        array, rest = _field(batch.schema.names, batch.columns, column, column)
        return self._inner_values(array, rest, column, index)

    def _inner_values(self, array: Any, rest: str, column: str, index: int | None) -> _Values:
        """The values of the field within an array that `rest`, the end of a column's path, leads to."""
        if not rest:
            return self._values(array, index)
        is_valid = self._validity(array)
        if _is_list(array.type):
            extents, elements = self._extents(array), self._inner_values(array.values, rest, column, None)
            return lambda row: _of_list(range(*extents(row)), elements, index) if is_valid(row) else None
        names = [field.name for field in array.type] if pa.types.is_struct(array.type) else []
        field, rest = _field(names, list(map(array.field, range(len(names)))), rest, column)
        values = self._inner_values(field, rest, column, index)
        return lambda row: values(row) if is_valid(row) else None

    def _values(self, array: Any, index: int | None = None) -> _Values:
        """The values of an array; of lists their elements `index`, where it is one."""
        is_valid, values = self._validity(array), self._valid_values(array, index)
        return lambda row: values(row) if is_valid(row) else None

    def _validity(self, array: Any) -> _Values:
        """Whether rows are not null."""
        bits, offset = array.buffers()[0], array.offset
        if bits is None:
            return lambda row: True
        read = self._bytes(bits)
        return lambda row: read((offset + row) // 8, 1)[0] >> (offset + row) % 8 & 1

    def _valid_values(self, array: Any, index: int | None) -> _Values:
        """The values of rows that are not null."""
        kind = array.type
        if isinstance(array, pa.ExtensionArray):
            return self._values(array.storage, index)
        if pa.types.is_null(kind):
            return lambda row: None
        if pa.types.is_dictionary(kind):
            numbers, entries = self._values(array.indices), self._values(array.dictionary, index)
            return lambda row: entries(numbers(row))
        if pa.types.is_struct(kind):
            fields = {field.name: self._values(array.field(number)) for number, field in enumerate(kind)}
            return lambda row: {name: values(row) for name, values in fields.items()}
        if _is_list(kind):
            extents, elements = self._extents(array), self._values(array.values)
            return lambda row: _of_list(range(*extents(row)), elements, index)
        read = self._content_of(array)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return lambda row: read(row).decode()
        if pa.types.is_integer(kind):
            return lambda row: int.from_bytes(read(row), "little", signed=pa.types.is_signed_integer(kind))
        return read

    def _content_of(self, array: Any) -> Callable[[int], bytes]:
        """The bytes of rows that are not null."""
        kind, offset, (_, *buffers) = array.type, array.offset, array.buffers()
        reads = [self._bytes(buffer) for buffer in buffers]
        if pa.types.is_binary_view(kind) or pa.types.is_string_view(kind):
            return lambda row: _viewed(reads[0]((offset + row) * VIEW.size, VIEW.size), reads[1:])
        if pa.types.is_fixed_size_binary(kind) or pa.types.is_integer(kind):
            width = kind.bit_width // 8
            return lambda row: reads[0]((offset + row) * width, width)
        tests = (pa.types.is_binary, pa.types.is_string, pa.types.is_large_binary, pa.types.is_large_string)
        if not any(test(kind) for test in tests):
            raise ItemFailure(Reason.UNREADABLE_IMAGE, f"the cell holds a {kind}, not an image")
        extents = self._extents(array)

        def content(row: int) -> bytes:
            start, end = extents(row)
            return reads[1](start, end - start)

        return content

    def _extents(self, array: Any) -> Callable[[int], tuple[int, int]]:
        """Where the bytes or elements of rows begin and end."""
        kind, offset = array.type, array.offset
        if pa.types.is_fixed_size_list(kind):
            return lambda row: ((offset + row) * kind.list_size, (offset + row + 1) * kind.list_size)
        pair = struct.Struct("<qq" if str(kind).startswith("large_") else "<ii")
        read = self._bytes(array.buffers()[1])
        return lambda row: pair.unpack(read((offset + row) * pair.size // 2, pair.size))

    def _bytes(self, buffer: Any) -> _Bytes:
        """Reads a buffer where it is in the file; one that was compressed is in memory."""
        length = 0 if buffer is None else buffer.size
        place = 0 if buffer is None else buffer.address - self._content.address
        is_mapped = 0 <= place < self._content.size
        descriptor = self._file.fileno()

        def read(start: int, size: int) -> bytes:
            if start < 0 or size < 0 or start + size > length:
                raise ValueError("it is damaged")
            if not is_mapped:
                return bytes(buffer.slice(start, size).to_pybytes())
            content = os.pread(descriptor, size, place + start)
            if len(content) < size:
                raise ValueError("it was cut while it was in use; make or download it again")
            return content

        return read


def _of_list(places: range, elements: _Values, index: int | None) -> Any:
    if index is None:
        return list(map(elements, places))
    return elements(places[index]) if index < len(places) else None


def _viewed(view: bytes, reads: Sequence[_Bytes]) -> bytes:
    """A value of a view type, from its view and the reads of the buffers that it may be in."""
    size, number, start = map(int, VIEW.unpack(view))
    if size <= INLINE_BYTES:
        return view[INLINE_START:][:size]
    if not 0 <= number < len(reads):
        raise ValueError("it is damaged")
    return reads[number](start, size)


def _field(names: Sequence[str], arrays: Sequence[Any], path: str, column: str) -> tuple[Any, str]:
    """The array that a path of names leads into, and the rest of the path."""
    for name, array in zip(names, arrays, strict=True):
        if path == name or path.startswith((f"{name}.", f"{name}[].")):
            return array, path[len(name) :].removeprefix("[]").removeprefix(".")
    raise ItemFailure(Reason.MISSING_IMAGE, f"there is no column {column!r}")


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
