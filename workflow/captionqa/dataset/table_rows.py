"""The rows of a table's files, one after another, whatever the kind of each file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from captionqa.dataset.table_files import TableFile
from captionqa.errors import InputError


class RowPlace(NamedTuple):
    """Where a row is, for a message and for reading it again."""

    file: Path
    #: The number of the row in its file, from 0.
    row: int
    #: Of a parquet or Arrow file: its row group or record batch, and the row in that; else -1.
    group: int = -1
    row_in_group: int = -1
    #: Of a file of text: the bytes of the row; else -1.
    offset: int = -1
    length: int = -1

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}"


@dataclass(frozen=True)
class TableColumn:
    """A column as a user sees it."""

    name: str
    #: Such as string, list<string>, or image for the bytes of one.
    type: str
    #: The names of a column's classes, where the file gives them (ClassLabel).
    classes: tuple[str, ...] = ()
    #: Whether `datasets` wrote into the file that it holds images.
    is_declared_image: bool = False


class TableRow(NamedTuple):
    """One row: its place, and the wanted cells by column."""

    place: RowPlace
    cells: Mapping[str, Any]


def read_columns(file: TableFile, rows_key: str | None = None) -> list[TableColumn]:
    """The columns of a file; of a file of text those of its first rows.

    Raises:
        InputError: the file cannot be read as what it is.
    """
    with _errors_named(file):
        if file.kind in ("parquet", "arrow"):
            from captionqa.dataset import arrow_table

            return arrow_table.columns(file)
        from captionqa.dataset import text_table

        return text_table.columns(file, rows_key)


def read_rows(
    files: Iterable[TableFile], wanted: Sequence[str], images: Sequence[str], rows_key: str | None = None
) -> Iterator[TableRow]:
    """Yield the rows of all files, with the `wanted` columns of those that have them.

    The bytes in cells of the `images` columns are replaced by `Embedded`.

    Raises:
        InputError: a file cannot be read as what it is.
    """
    for file in files:
        with _errors_named(file):
            if file.kind in ("parquet", "arrow"):
                from captionqa.dataset import arrow_table

                yield from arrow_table.rows(file, wanted, images)
            else:
                from captionqa.dataset import text_table

                yield from text_table.rows(file, rows_key)


@contextmanager
def _errors_named(file: TableFile) -> Iterator[None]:
    """Say of which file an error of a reader is."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file.path} cannot be read as {_CALLED[file.kind]}: {reason}") from error


_CALLED = {
    "parquet": "a parquet file",
    "arrow": "an Arrow file",
    "jsonl": "JSON lines",
    "json": "JSON",
    "csv": "CSV",
    "tsv": "TSV",
}
