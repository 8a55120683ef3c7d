"""Rows as JSON lines and as parquet files, both below a size."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionqa.export.json_text import json_text, well_formed
from captionqa.export.pieces import PIECE, Pieces
from captionqa.export.target import Target

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a row group.
GROUP_ROWS = 1000
#: Bytes of the end of a parquet file, by the number of its row groups.
END_BYTES, END_BYTES_PER_GROUP = 4096, 4096
#: The types of columns by the names that a table's writer uses for them.
TYPES = {"text": "string", "number": "int64", "share": "float64", "flag": "bool_"}

#: {column: its type: text, texts, number, share or flag}
Columns = Mapping[str, str]


def write_jsonl(rows: Iterable[Mapping[str, Any]], target: Target, name: str) -> None:
    """One line of JSON for each row."""
    with Pieces(target, name, "jsonl") as pieces:
        for row in rows:
            pieces.add(json_text(row) + "\n")


def write_parquet(rows: Iterable[Mapping[str, Any]], columns: Columns, target: Target, name: str) -> None:
    """Parquet files with these columns; there is one at least, so that their types are known."""
    files = _ParquetFiles(_schema(columns), target, name)
    group: list[Any] = []
    try:
        for row in rows:
            group.append(well_formed(row))
            if len(group) == GROUP_ROWS:
                files.add(group)
                group = []
        files.add(group)
    finally:
        files.close()


def _schema(columns: Columns) -> "pa.Schema":
    import pyarrow as pa

    types = {kind: getattr(pa, name)() for kind, name in TYPES.items()} | {"texts": pa.list_(pa.string())}
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


class _ParquetFiles:
    def __init__(self, schema: "pa.Schema", target: Target, name: str):
        self._schema, self._target, self._name = schema, target, name
        self._number = 0
        self._open()

    def add(self, rows: list[Any]) -> None:
        """Add a row group, or several where it would be larger than a file may be."""
        import pyarrow as pa

        if not rows:
            return
        table = pa.Table.from_pylist(rows, schema=self._schema)
        room = self._target.shard_bytes - END_BYTES - END_BYTES_PER_GROUP * (self._groups + 1)
        if self._groups and self._sink.tell() + table.nbytes > room:
            self.close()
            self._number += 1
            self._open()
            room = self._target.shard_bytes - END_BYTES - END_BYTES_PER_GROUP
        if table.nbytes > room and len(rows) > 1:
            self.add(rows[: len(rows) // 2])
            self.add(rows[len(rows) // 2 :])
            return
        self._writer.write_table(table)
        self._groups += 1

    def close(self) -> None:
        self._writer.close()
        self._sink.close()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        path = Path(self._target.folder, PIECE.format(name=self._name, number=self._number, suffix="parquet"))
        self._sink = path.open("wb")
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._groups = 0
