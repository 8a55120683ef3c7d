"""One record of a text file by its bytes: of JSON lines, CSV or TSV."""

import csv
import io
import json
from typing import Any

from captionqa.errors import ItemFailure, Reason

#: What separates the cells of a record, by the suffix of its file.
DELIMITERS = {".csv": ",", ".tsv": "\t"}
#: The most characters of a cell, such as of an image in base64.
MAX_CELL = 1 << 30


def line_value(line: bytes, column: str, suffix: str) -> Any:
    """The value of a cell; of JSON `column` is a key, or keys with dots, and of CSV and TSV its number from 0.

    `suffix` is that of the file.

    Raises:
        ItemFailure: unreadable_image where the record cannot be read, missing_image where it has no such cell.
    """
    delimiter = DELIMITERS.get(suffix.lower())
    try:
        if delimiter is None:
            return _member(json.loads(line), column)
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
    for name, inside in value.items():
        if column.startswith(f"{name}.") and isinstance(inside, dict):
            return _member(inside, column[len(name) + 1 :])
    raise KeyError(column)
