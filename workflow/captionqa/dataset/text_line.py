"""One record of a text file by its bytes: of JSON lines, CSV or TSV."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from captionqa.dataset.json_elements import columns_of
from captionqa.errors import ItemFailure, Reason

#: What the byte-order mark of a file in UTF-8 looks like.
BOM = b"\xef\xbb\xbf"
#: What may separate the cells of CSV: some programs write semicolons where a comma is the decimal point.
CSV_DELIMITERS = ",;\t"
#: The most characters of a cell, such as of an image in base64.
MAX_CELL = 1 << 30


def delimiter_of(file: Path) -> str | None:
    """What separates the cells of a file's records, by its suffix and its header; None for JSON. Raises OSError."""
    suffix = file.suffix.lower()
    if suffix != ".csv":
        return "\t" if suffix == ".tsv" else None
    with file.open("rb") as opened:
        header = next((line for line in opened if line.removeprefix(BOM).strip()), b"")
    return next((sign for sign in CSV_DELIMITERS if sign.encode() in header), ",")


def line_value(line: bytes, column: str, delimiter: str | None) -> Any:
    """The value of a cell; of JSON `column` is a key, or keys with dots, and of CSV and TSV its number from 0.

    `delimiter` is that of the file. Of a list of objects the value is a list too, of what each has.

    Raises:
        ItemFailure: unreadable_image where the record cannot be read, missing_image where it has no such cell.
    """
    try:
        if delimiter is None:
            return _member(columns_of(json.loads(line), "it"), column)
        csv.field_size_limit(MAX_CELL)
        record = next(csv.reader(io.StringIO(line.decode(), newline=""), delimiter=delimiter))
        return record[int(column)]
    except (ValueError, csv.Error, StopIteration) as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"its record cannot be read: {error}") from error
    except LookupError as error:
        raise ItemFailure(Reason.MISSING_IMAGE, f"its record has no cell {column!r}") from error


def _member(value: Any, column: str) -> Any:
    """A key's value; a key may hold dots itself. Raises LookupError."""
    if not isinstance(value, dict):
        raise KeyError(column)
    if column in value:
        return value[column]
    from captionqa.dataset.field_value import lookup, parsed  # felt at the start of a job, and few need it

    for name, inside in value.items():
        start = next((start for start in (f"{name}.", f"{name}[].") if column.startswith(start)), None)
        if start is None:
            continue
        inside = parsed(inside)
        if isinstance(inside, list):
            return [lookup(one, column[len(start) :]) if isinstance(one, dict) else None for one in inside]
        if isinstance(inside, dict):
            return _member(inside, column[len(start) :])
    raise KeyError(column)
