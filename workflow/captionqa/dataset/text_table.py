"""Rows of files of text, JSON lines, JSON, CSV and TSV, with the bytes of the file that each row takes."""

import csv
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from captionqa.dataset.json_elements import BLOCK_BYTES, columns_of, elements
from captionqa.dataset.table_files import TableFile
from captionqa.dataset.table_rows import RowPlace, TableColumn, TableRow
from captionqa.dataset.text_line import BOM, delimiter_of

#: Rows that are looked at to learn the columns of a file.
SAMPLE_ROWS = 200
#: How a list begins that is no row of cells.
_LIST_OF_OBJECTS = re.compile(rb"\[\s*\{")
PACKED, IN_UTF_16 = "it is packed; unpack it first", "it is text in UTF-16; save it in UTF-8"
#: How files begin that are no text in UTF-8, and what to do.
OTHER_HEADS = {
    b"\x1f\x8b": PACKED,
    b"PK\x03\x04": PACKED,
    b"BZh": PACKED,
    b"\xfd7zXZ": PACKED,
    b"\x28\xb5\x2f\xfd": PACKED,
    b"\xff\xfe": IN_UTF_16,
    b"\xfe\xff": IN_UTF_16,
}


def columns(file: TableFile, rows_key: str | None) -> list[TableColumn]:
    """The columns of the first rows, with the type of their first cell that holds something."""
    types: dict[str, str] = {}
    for row in islice(rows(file, rows_key), SAMPLE_ROWS):
        for name, cell in row.cells.items():
            if types.get(name, "null") == "null":
                types[name] = _type_text(cell)
    return [TableColumn(name, kind) for name, kind in types.items()]


def rows(file: TableFile, rows_key: str | None) -> Iterator[TableRow]:
    """Yield all rows; `rows_key` names the list of rows in an object of JSON.

    Raises:
        ValueError: the text is not what the file's kind says.
    """
    _check_encoding(file)
    if file.kind in ("csv", "tsv"):
        yield from _separated(file)
    else:
        yield from _json_lines(file) if _is_of_lines(file) else _json(file, rows_key)


def _check_encoding(file: TableFile) -> None:
    """Raise ValueError for a file that is packed, or text in another encoding, by its first bytes."""
    with file.path.open("rb") as opened:
        head = opened.read(max(map(len, OTHER_HEADS)))
    if found := next((what for begins, what in OTHER_HEADS.items() if head.startswith(begins)), None):
        raise ValueError(found)


def _is_of_lines(file: TableFile) -> bool:
    """Whether a file of JSON has a row on each line, whatever its suffix says."""
    with file.path.open("rb") as opened:
        head = opened.read(BLOCK_BYTES).removeprefix(BOM).lstrip()
    if file.kind == "jsonl":
        return not _LIST_OF_OBJECTS.match(head)
    text = head.decode("utf-8", "ignore")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:  # more than a block, or spread over lines and cut
        return False
    return text.startswith("{") and text[end:].lstrip().startswith("{")


def _json_lines(file: TableFile) -> Iterator[TableRow]:
    offset = number = 0
    with file.path.open("rb") as lines:
        for line in lines:
            if line.strip(b" \t\r\n" + BOM):
                text = line.removeprefix(BOM) if not offset else line
                try:
                    cells = json.loads(text)
                except ValueError as error:
                    raise ValueError(f"row {number} is no JSON ({error})") from error
                place = RowPlace(file.path, number, offset=offset, length=len(line))
                yield TableRow(place, columns_of(cells, f"row {number}"))
                number += 1
            offset += len(line)


def _json(file: TableFile, rows_key: str | None) -> Iterator[TableRow]:
    for number, (offset, length, cells) in enumerate(elements(file.path, rows_key)):
        yield TableRow(RowPlace(file.path, number, offset=offset, length=length), cells)


def _separated(file: TableFile) -> Iterator[TableRow]:
    csv.field_size_limit(sys.maxsize)
    with file.path.open("rb") as opened:
        lines = _CountedLines(opened)
        first = next((line for line in lines if line.strip()), "")
        delimiter = delimiter_of(file.path) or ","
        if "\r" in first.rstrip("\r\n"):
            raise ValueError("its lines end as on old Macs (CR); save it with line ends of Unix or Windows")
        try:
            names = _cells(first, lines, delimiter)
        except csv.Error as error:
            raise ValueError(f"the names of its columns cannot be read: {error}") from error
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two columns are called {repeated!r}; give each a name of its own")
        number, offset = 0, lines.offset
        for line in lines:
            try:
                cells = _cells(line, lines, delimiter)
            except csv.Error as error:
                raise ValueError(f"row {number}: {error}") from error
            length, start = lines.offset - offset, offset
            offset = lines.offset
            if len(cells) < len(names) and not "".join(cells).strip():  # an empty line
                continue
            while len(cells) > len(names) and not cells[-1]:
                cells.pop()
            if len(cells) != len(names):
                is_cut = "" if len(cells) > len(names) else "; the file may be cut"
                raise ValueError(f"row {number} has {len(cells)} cells for {len(names)} columns{is_cut}")
            place = RowPlace(file.path, number, offset=start, length=length)
            yield TableRow(place, dict(zip(names, cells, strict=False)))
            number += 1


def _cells(line: str, lines: Iterator[str], delimiter: str) -> list[str]:
    """The cells of a row that begins with a line; one in quotes may take further lines."""
    if '"' not in line:  # csv would take four bytes for each character of a cell
        plain = line.rstrip("\r\n")
        return plain.split(delimiter) if plain else []
    return next(csv.reader(chain([line], lines), delimiter=delimiter, strict=True))


class _CountedLines:
    """The lines of an open file as text, and how many bytes those that were taken have."""

    def __init__(self, file: Any):
        self._file = file
        self.offset = 0

    def __iter__(self) -> "_CountedLines":
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        try:
            text = (line if self.offset else line.removeprefix(BOM)).decode()
        except UnicodeDecodeError as error:
            place = self.offset + error.start
            raise ValueError(f"byte {place} ({line[error.start]:#x}) is no text in UTF-8; save it in UTF-8") from error
        self.offset += len(line)
        return str(text)


def _type_text(cell: Any) -> str:
    if isinstance(cell, list):
        return f"list<{_type_text(cell[0]) if cell else 'null'}>"
    if isinstance(cell, dict):
        return f"struct<{', '.join(f'{name}: {_type_text(value)}' for name, value in cell.items())}>"
    names = {type(None): "null", str: "string", bool: "bool", int: "int64", float: "double"}
    return "null" if cell == "" else names.get(type(cell), type(cell).__name__)
