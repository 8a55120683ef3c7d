"""Cells of bytes in a parquet file, read from where they are in it: pyarrow's reader copies each image four times.

Only columns as those of images usually are can be read so: bytes in no list, PLAIN or by a dictionary, in pages of the
first version, as they are or compressed by snappy. At anything else, and where pages contradict themselves,
`NotUnderstoodError` says that pyarrow is to read the column, or to say what is wrong with it.

Source: https://github.com/apache/parquet-format, README.md and src/main/thrift/parquet.thrift.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from captionqa.dataset.page_content import PageContent, PageFile
from captionqa.dataset.parquet_encoding import NotUnderstoodError, hybrid_numbers, thrift_struct

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: Bytes that are read for the header of a page.
HEADER_BYTES = 1 << 14
# Numbers of fields, types of pages and encodings in parquet.thrift.
TYPE, SIZE, STORED, CRC, OF_DATA, OF_DICTIONARY = 1, 2, 3, 4, 5, 7
NUM_VALUES, ENCODING, LEVELS_ENCODING = 1, 2, 3
DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
#: The length before each value.
_LENGTH = struct.Struct("<I")


class _Values:
    """The values of a page in PLAIN encoding."""

    def __init__(self, content: PageContent, first: int, count: int):
        """They fill the content from `first` on; raises as `PageContent.read`, and struct.error."""
        self._content = content
        self._ends = array("q", [first])
        for _ in range(count):
            start = self._ends[-1] + _LENGTH.size
            self._ends.append(start + _LENGTH.unpack(content.read(start - _LENGTH.size, start))[0])
        if self._ends[-1] != content.size:
            raise NotUnderstoodError("the lengths of values")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def read(self, number: int) -> bytes:
        return self._content.read(self._ends[number] + _LENGTH.size, self._ends[number + 1])


class _Rows(NamedTuple):
    """The rows of a page: the number of each one's value, None for a null."""

    values: _Values
    numbers: Sequence[int | None]


class ColumnCells:
    """The cells of one column in one row group. Not safe to share between threads."""

    def __init__(self, file: BinaryIO, parquet: "pq.ParquetFile", group: int, name: str):
        """Those of a column of bytes, or of the field `bytes` in a column of structs.

        `file` is the same as `parquet`; raises NotUnderstoodError.
        """
        metadata, schema, names = parquet.metadata.row_group(group), parquet.schema, (name, f"{name}.bytes")
        found = [index for index in range(metadata.num_columns) if schema.column(index).path in names]
        if len(found) != 1 or names[1] in parquet.schema_arrow.names:
            raise NotUnderstoodError("a name of a column")
        kind, column = schema.column(found[0]), metadata.column(found[0])
        if (
            kind.max_repetition_level
            or (kind.physical_type, kind.logical_type.type) != ("BYTE_ARRAY", "NONE")
            or column.compression not in ("UNCOMPRESSED", "SNAPPY")
            or column.file_path
        ):
            raise NotUnderstoodError("a kind of column")
        self._file = PageFile(file)
        self._column = column
        self._max_level: int = kind.max_definition_level
        starts = (column.data_page_offset, column.dictionary_page_offset if column.has_dictionary_page else None)
        self._at: int = min(filter(None, starts), default=0)
        self._end: int = self._at + column.total_compressed_size
        self._dictionary: _Values | None = None
        self._pages: list[_Rows] = []
        #: The first row of each page, and the number of rows of all that were read.
        self._starts = [0]

    def value(self, row: int) -> bytes | None:
        """The bytes of a row, None for a null; raises NotUnderstoodError."""
        try:
            while row >= self._starts[-1]:
                self._read_page()
            page = bisect_right(self._starts, row) - 1
            values, numbers = self._pages[page]
            number = numbers[row - self._starts[page]]
            return None if number is None else values.read(number)
        # pyarrow's errors are among these, and those of data that was read for what it is not
        except (struct.error, LookupError, TypeError, ValueError, OverflowError, OSError, RuntimeError) as error:
            raise NotUnderstoodError(str(error)) from error

    def _read_page(self) -> None:
        """Find the rows of the next page, or the dictionary."""
        if self._at >= self._end:
            raise NotUnderstoodError("a row behind the last")
        header, length = thrift_struct(self._file.read_up_to(self._at, HEADER_BYTES))
        start, stored = self._at + length, header[STORED]
        self._at = start + stored
        if stored < 0 or self._at > self._end or CRC in header:
            raise NotUnderstoodError("a page")
        self._file.will_read(start, stored)
        content = PageContent(self._file, start, stored, header[SIZE], self._column.compression == "SNAPPY")
        of = header[OF_DATA if header[TYPE] == DATA_PAGE else OF_DICTIONARY]
        count, encoding = of[NUM_VALUES], of[ENCODING]
        if not 0 <= count <= self._column.num_values:
            raise NotUnderstoodError("a number of values")
        if header[TYPE] == DATA_PAGE:
            self._pages.append(self._rows(content, count, encoding, of[LEVELS_ENCODING]))
            self._starts.append(self._starts[-1] + count)
        elif header[TYPE] == DICTIONARY_PAGE and self._dictionary is None and encoding in (PLAIN, PLAIN_DICTIONARY):
            self._dictionary = _Values(content, 0, count)
        else:
            raise NotUnderstoodError("a dictionary")

    def _rows(self, content: PageContent, count: int, encoding: int, levels_encoding: int) -> _Rows:
        levels, at = [0] * count, 0
        if self._max_level:
            if levels_encoding != RLE:
                raise NotUnderstoodError("the levels of a page")
            at = _LENGTH.size + _LENGTH.unpack(content.read(0, _LENGTH.size))[0]
            levels = hybrid_numbers(content.read(_LENGTH.size, at), self._max_level.bit_length(), count)
            if max(levels, default=0) > self._max_level:
                raise NotUnderstoodError("a level")
        valid = levels.count(self._max_level)
        if encoding == PLAIN:
            values = _Values(content, at, valid)
            numbers: Sequence[int] = range(valid)
        elif encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY) and self._dictionary is not None:
            values = self._dictionary
            packed = content.read(at, content.size)
            numbers = array("q", hybrid_numbers(packed[1:], packed[0], valid) if valid else ())
            if valid and max(numbers) >= len(values):
                raise NotUnderstoodError("a number in the dictionary")
        else:
            raise NotUnderstoodError("an encoding")
        if valid == count:
            return _Rows(values, numbers)
        left = iter(numbers)
        return _Rows(values, [next(left) if level == self._max_level else None for level in levels])
