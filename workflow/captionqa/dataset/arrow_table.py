"""Rows of parquet and Arrow files, in small batches and without the bytes of their images.

A parquet's statistics say how many cells of a column are empty. Where that settles which rows have an image, its bytes
are not even read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from captionqa.dataset.arrow_file import open_arrow, open_parquet, record_batches
from captionqa.dataset.embedded import EMBEDDED, Embedded
from captionqa.dataset.table_files import TableFile
from captionqa.dataset.table_rows import RowPlace, TableColumn, TableRow

#: Rows in memory at a time, whatever the size of the file's own row groups, and about how many bytes.
BATCH_ROWS = 4096
BATCH_BYTES = 16 * 1024 * 1024
#: Characters of a text in an image's place that are looked at: a path is shorter, base64 is known by its beginning.
TEXT_CHARACTERS = 4096

#: Texts of more bytes than this on average hold images in base64, and are not read: paths are shorter.
LONG_TEXT_BYTES = 4096

#: Row group or record batch, first row in it, some of its rows, and the columns of bytes that were not read.
_Batch = tuple[int, int, pa.RecordBatch, Mapping[str, bool]]


def columns(file: TableFile) -> list[TableColumn]:
    """The columns of a file by its schema."""
    with _opened(file) as opened:
        schema = opened.schema_arrow if isinstance(opened, pq.ParquetFile) else opened.schema
        features = _features(schema)
        return [
            TableColumn(
                field.name,
                _type_text(field.type),
                _classes(features.get(field.name)),
                _is_image(features.get(field.name)),
            )
            for field in schema
        ]


def rows(file: TableFile, wanted: Sequence[str], images: Sequence[str]) -> Iterator[TableRow]:
    """Yield the rows with the wanted columns that the file has, the bytes of images replaced by `Embedded`."""
    number = 0
    with _opened(file) as opened:
        batches = _parquet_batches(opened, wanted, images) if file.kind == "parquet" else _batches(opened, wanted)
        for group, first, batch, unread in batches:
            for index, cells in enumerate(_cells(batch, images, unread)):
                yield TableRow(RowPlace(file.path, number, group, first + index), cells)
                number += 1


@contextmanager
def _opened(file: TableFile) -> Iterator[Any]:
    """A ParquetFile, or a reader of an Arrow stream or file."""
    if file.kind == "parquet":
        with open_parquet(file.path) as parquet:
            yield parquet
        return
    with open_arrow(file.path) as reader:
        yield reader


def _batches(reader: Any, wanted: Sequence[str]) -> Iterator[_Batch]:
    """The rows of an Arrow stream or file; what is not looked at of a mapped file is not read."""
    for group, batch in enumerate(record_batches(reader)):
        chosen = batch.select([name for name in batch.schema.names if name in wanted])
        for first in range(0, len(chosen), BATCH_ROWS):
            yield group, first, chosen.slice(first, BATCH_ROWS), {}


def _parquet_batches(file: pq.ParquetFile, wanted: Sequence[str], images: Sequence[str]) -> Iterator[_Batch]:
    """The rows of a parquet, a row group at a time."""
    for group in range(file.num_row_groups):
        metadata = file.metadata.row_group(group)
        leaves = [metadata.column(index) for index in range(metadata.num_columns)]
        leaves = [leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] in wanted]
        unread = _settled_by_statistics(file, group, leaves, images)
        names = [leaf.path_in_schema for leaf in leaves if leaf.path_in_schema not in unread]
        size = sum(leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema in names)
        batch_rows = max(1, min(BATCH_ROWS, metadata.num_rows * BATCH_BYTES // max(1, size)))
        first = 0
        for batch in file.iter_batches(batch_rows, row_groups=[group], columns=names, use_threads=False):
            yield group, first, batch, unread
            first += len(batch)


def _settled_by_statistics(
    file: pq.ParquetFile, group: int, leaves: Sequence[Any], images: Sequence[str]
) -> dict[str, bool]:
    """{name of a column of bytes: whether its cells have some}, of those that need not be read.

    A column of bytes need not be read where all cells have some, or none has. Of structs and of lists of structs their
    paths show which there are. Texts that are too long for paths have images all over.
    """
    paths = {leaf.path_in_schema for leaf in leaves}
    settled: dict[str, bool] = {}
    for leaf in leaves:
        path, statistics = leaf.path_in_schema, leaf.statistics
        column, _, last = path.rpartition(".")
        sibling = f"{column}.path"
        kind = file.schema_arrow.field(path).type if path in images else None
        is_plain = kind is not None and _is_binary(kind)
        if kind is not None and _is_text(kind) and leaf.total_uncompressed_size > LONG_TEXT_BYTES * leaf.num_values:
            settled[path] = True
        if path.split(".")[0] not in images or not (is_plain or (last == "bytes" and sibling in paths)):
            continue
        if statistics is None or not statistics.has_null_count:
            continue
        filled = leaf.num_values - statistics.null_count
        wanted = leaf.num_values
        if not is_plain:
            wanted = _structs(file.read_row_group(group, columns=[sibling]).column(0).combine_chunks())
        if filled in (0, wanted):
            settled[path] = filled > 0
    return settled


def _structs(array: pa.Array) -> int:
    """How many structs there are in an array of them, or of lists of them."""
    while _is_list(array.type):
        array = array.flatten()
    return int(len(array) - array.null_count)


def _cells(batch: pa.RecordBatch, images: Sequence[str], unread: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    """The rows of a batch, with `EMBEDDED` in place of bytes, whether these were read or not."""
    have_bytes = {name.split(".")[0] for name, filled in unread.items() if filled}
    columns = {
        name: _without_bytes(column, name in have_bytes) if name in images else _plain_cells(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    for name in unread.keys() & set(images):  # plain columns, of which nothing was read
        columns[name] = [EMBEDDED if name in have_bytes else None] * len(batch)
    if not columns:
        yield from ({} for _ in range(len(batch)))
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _plain_cells(array: pa.Array) -> list[Any]:
    """The cells of a column as Python values; numbers of 32 bits with the digits that they were written with."""
    if not pa.types.is_float32(array.type):
        return list(array.to_pylist())
    texts = array.cast(pa.string()).to_pylist()
    return [None if text is None else float(text) for text in texts]


def _without_bytes(array: pa.Array, have_bytes: bool) -> list[Any]:
    """The cells of a column of images as Python values; each struct gets bytes where `have_bytes` says so.

    Long texts are cut to `TEXT_CHARACTERS`.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _without_bytes(array.dictionary_decode(), have_bytes)
    if pa.types.is_binary_view(kind):
        return _without_bytes(array.cast(pa.large_binary()), have_bytes)
    if _is_binary(kind):
        sizes = pc.binary_length(array).to_pylist()
        return [Embedded(size) if size else None for size in sizes]
    if pa.types.is_struct(kind):
        fields = {field.name: _without_bytes(array.field(index), have_bytes) for index, field in enumerate(kind)}
        if have_bytes:
            fields["bytes"] = [EMBEDDED] * len(array)
        valid = array.is_valid().to_pylist()
        structs = (dict(zip(fields, cells, strict=True)) for cells in zip(*fields.values(), strict=True))
        return [struct if is_valid else None for struct, is_valid in zip(structs, valid, strict=True)]
    if _is_list(kind):
        elements, at, cells = _without_bytes(array.flatten(), have_bytes), 0, []
        for size in pc.list_value_length(array).to_pylist():
            cells.append(None if size is None else elements[at : at + size])
            at += size or 0
        return cells
    if pa.types.is_string_view(kind):
        return _without_bytes(array.cast(pa.large_string()), have_bytes)
    if _is_text(kind):
        return list(pc.utf8_slice_codeunits(array, 0, TEXT_CHARACTERS).to_pylist())
    return list(array.to_pylist())


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _type_text(kind: pa.DataType) -> str:
    """A type as a user knows it; structs with bytes are images, as the library `datasets` keeps them."""
    if pa.types.is_struct(kind) and "bytes" in [field.name for field in kind]:
        return "image"
    if _is_binary(kind):
        return "bytes"
    if _is_list(kind):
        return f"list<{_type_text(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_type_text(field.type)}' for field in kind)}>"
    if pa.types.is_dictionary(kind):
        return _type_text(kind.value_type)
    return str(kind).removeprefix("large_")


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the library `datasets` says of the columns in a file's metadata."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(stored["info"]["features"])
    except (ValueError, KeyError, TypeError):
        return {}


def _is_image(feature: Any) -> bool:
    """Whether a feature is an image or a list of these."""
    if isinstance(feature, list):
        return len(feature) == 1 and _is_image(feature[0])
    return isinstance(feature, dict) and (feature.get("_type") == "Image" or _is_image(feature.get("feature")))


def _classes(feature: Any) -> tuple[str, ...]:
    """The names of a ClassLabel's numbers; none for another feature."""
    is_class = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return tuple(map(str, feature.get("names") or ())) if is_class else ()
