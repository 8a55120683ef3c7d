"""The rows of a parquet or Arrow file that hold images, found without reading an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionqa.config.config import CaptionColumnsConfig
from captionqa.dataset.image_cell import is_inline
from captionqa.dataset.image_columns import ImageColumn, id_column, image_columns
from captionqa.dataset.image_ref import ARROW_SUFFIX, CellRef, FileRef
from captionqa.dataset.row_groups import group_starts, is_below
from captionqa.dataset.shard_item import ShardItem
from captionqa.dataset.table_file import open_arrow, open_parquet, read_errors

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no type stubs

#: Rows in memory at a time.
BATCH_ROWS = 4096
#: Texts of more bytes than this on average are no paths but images in base64, which are left to the chunk's job.
PATH_BYTES = 512


@dataclass(frozen=True, slots=True)
class _Outline:
    """What a struct of bytes and path says about an image, without its bytes."""

    #: None where that is not known.
    has_bytes: bool | None
    path: str | None


#: An image without its bytes: None for no image, True for bytes, or a text.
_Cell = _Outline | str | bool | None


class TableScan:
    """The rows of one file that hold images.

    Raises:
        InputError: the file is empty, cut or damaged, or a configured column is not there.
    """

    def __init__(self, path: Path, container: str, wanted: CaptionColumnsConfig):
        """`container` is the file's path in references and in messages."""
        self._container = container
        self._table: _Table = _ArrowTable(path, container) if _is_arrow(path) else _ParquetTable(path, container)
        #: Empty where the file has no column of images.
        self.images: list[ImageColumn] = []
        self._id: str | None = None
        if self._table.schema is not None:
            self.images = image_columns(self._table.schema, wanted.image, container)
            self._id = id_column(self._table.schema, wanted.id, self.images, container)
        #: How many rows the file has.
        self.rows = self._table.rows

    def items(self, first_row: int | None = None) -> Iterator[ShardItem]:
        """Yield the rows that hold an image.

        A row without a name is called by the file and its number in the file, or by its number in the whole data set
        where `first_row` gives that of the file's first row.
        """
        with read_errors(self._container):
            for group, start, row, count, batch in self._table.parts(self.images, self._id):
                columns = [self._table.cells(group, count, batch, column) for column in self.images]
                names = [None] * count if self._id is None else column_of(batch, self._id).to_pylist()
                for index, name, *cells in zip(range(count), names, *columns, strict=True):
                    if images := self._references(cells, group, row + index):
                        number = start + row + index
                        own = f"{self._container}#{number}" if first_row is None else str(first_row + number)
                        yield ShardItem(self._name(cells, name) or own, own, images, (group, row + index))

    def _name(self, cells: list[Any], name: Any) -> str | None:
        """The row's name: the path of its only image, or else what its column of names says."""
        if len(cells) == 1 and isinstance(cells[0], _Outline | str) and not self.images[0].is_list:
            path = cells[0] if isinstance(cells[0], str) else cells[0].path
            if path and not is_inline(path):
                return path
        if isinstance(name, float):  # pandas makes floats of integers where some are missing
            name = int(name) if name.is_integer() else None
        return None if name is None or name == "" else str(name)

    def _references(self, cells: list[Any], group: int, row: int) -> list[str]:
        """The references of a row's images; a column without an image is left out."""
        images = []
        for column, cell in zip(self.images, cells, strict=True):
            if isinstance(cell, list):
                images += [self._reference(column, one, group, row, index) for index, one in enumerate(cell)]
            else:
                images.append(self._reference(column, cell, group, row, None))
        return [image for image in images if image is not None]

    def _reference(self, column: ImageColumn, cell: _Cell, group: int, row: int, index: int | None) -> str | None:
        if cell is None or cell is False or cell == "":
            return None
        path = cell if isinstance(cell, str) else None
        if isinstance(cell, _Outline) and cell.has_bytes is False:
            if not cell.path:
                return None
            path = cell.path
        if path is not None and not is_inline(path):
            return str(FileRef(path))
        return str(CellRef(self._container, group, row, column.name, index))


class _Table:
    """A file of rows."""

    #: None where there is none, in a file without a record batch.
    schema: "pa.Schema | None"
    rows: int

    def parts(
        self, images: list[ImageColumn], name: str | None
    ) -> "Iterator[tuple[int, int, int, int, pa.RecordBatch | None]]":
        """Yield (group, number of its first row, row within it, rows, what is read of them) of the whole file."""
        raise NotImplementedError

    def cells(self, group: int, count: int, batch: "pa.RecordBatch | None", column: ImageColumn) -> list[Any]:
        """The cells of a column in a part, as `_Cell` or lists of these."""
        raise NotImplementedError


class _ArrowTable(_Table):
    """All columns are there; the data of the images is not touched, only whether there is any."""

    def __init__(self, path: Path, where: str):
        self._batches = open_arrow(path, where)
        self.schema = self._batches[0].schema if self._batches else None
        self.rows = sum(batch.num_rows for batch in self._batches)

    def parts(
        self, images: list[ImageColumn], name: str | None
    ) -> "Iterator[tuple[int, int, int, int, pa.RecordBatch | None]]":
        start = 0
        for group, batch in enumerate(self._batches):
            for row in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(row, BATCH_ROWS)
                yield group, start, row, part.num_rows, part
            start += batch.num_rows

    def cells(self, group: int, count: int, batch: "pa.RecordBatch | None", column: ImageColumn) -> list[Any]:
        return _outlines(column_of(batch, column.name))


class _ParquetTable(_Table):
    """Of images only the paths are read; how many have bytes, if any, is in the metadata of each row group."""

    def __init__(self, path: Path, where: str):
        self._file = open_parquet(path, where)
        self._metadata = self._file.metadata
        self.schema = self._file.schema_arrow
        self.rows = self._metadata.num_rows
        self._leaves = [self._metadata.schema.column(index).path for index in range(self._metadata.num_columns)]

    def parts(
        self, images: list[ImageColumn], name: str | None
    ) -> "Iterator[tuple[int, int, int, int, pa.RecordBatch | None]]":
        starts = group_starts(self._metadata)
        for group, start in enumerate(starts[:-1]):
            columns = [leaf for column in images for leaf in self._read_leaves(column, group)]
            columns += [] if name is None else [name]
            count = starts[group + 1] - start
            if not columns:
                yield from (
                    (group, start, row, min(BATCH_ROWS, count - row), None) for row in range(0, count, BATCH_ROWS)
                )
                continue
            row, wanted = 0, list(dict.fromkeys(columns))
            for batch in self._file.iter_batches(BATCH_ROWS, [group], wanted, use_threads=False):
                yield group, start, row, batch.num_rows, batch
                row += batch.num_rows

    def cells(self, group: int, count: int, batch: "pa.RecordBatch | None", column: ImageColumn) -> list[Any]:
        has_bytes = self._has_bytes(column, group)
        if not self._read_leaves(column, group):
            return [None if has_bytes is False else True] * count
        cells = _outlines(column_of(batch, column.name))
        if has_bytes is not False:
            return cells
        return [cell and _Outline(False, cell.path) for cell in cells]

    def _read_leaves(self, column: ImageColumn, group: int) -> list[str]:
        """What has to be read of a column of images in a group."""
        leaves = self._leaves_below(column)
        if column.has_path:
            return [leaf for leaf in leaves if leaf.endswith(".path")]
        if column.is_list:  # only its values tell how many there are
            return leaves
        return leaves if column.is_text and self._mean_bytes(leaves[0], group) <= PATH_BYTES else []

    def _has_bytes(self, column: ImageColumn, group: int) -> bool | None:
        """False where all images of a group are without bytes; None where that is not known."""
        leaves = [leaf for leaf in self._leaves_below(column) if not leaf.endswith(".path") or not column.has_path]
        chunk = self._chunk(leaves[0], group)
        if column.is_list or not chunk.is_stats_set or not chunk.statistics.has_null_count:
            return None
        return False if chunk.statistics.null_count == self._metadata.row_group(group).num_rows else None

    def _leaves_below(self, column: ImageColumn) -> list[str]:
        return [leaf for leaf in self._leaves if is_below(leaf, column.name)]

    def _mean_bytes(self, leaf: str, group: int) -> float:
        chunk = self._chunk(leaf, group)
        return float(chunk.total_uncompressed_size / max(1, chunk.num_values))

    def _chunk(self, leaf: str, group: int) -> Any:
        return self._metadata.row_group(group).column(self._leaves.index(leaf))


def column_of(batch: Any, name: str) -> "pa.Array":
    """A column, or a field within columns of structs by its path with dots."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    top = next(known for known in batch.schema.names if is_below(name, known))
    array, path = batch.column(top), name[len(top) + 1 :]
    while path:
        field = next(field.name for field in array.type if is_below(path, field.name))
        array, path = pc.struct_field(array, field), path[len(field) + 1 :]
    return array


def _outlines(array: "pa.Array") -> list[Any]:
    """The cells of a column of images, with True for bytes; of bytes only whether they are there is looked at."""
    import pyarrow.compute as pc
    import pyarrow.types as types  # type: ignore[import-untyped]

    array = getattr(array, "storage", array)  # of an extension type
    kind = array.type
    if hasattr(kind, "value_field"):
        elements, lengths = iter(_outlines(array.flatten())), pc.list_value_length(array).to_pylist()
        return [None if length is None else list(islice(elements, length)) for length in lengths]
    is_there: list[bool] = array.is_valid().to_pylist()
    if types.is_struct(kind):
        fields = {field.name for field in kind}
        unknown = [None] * len(array)
        has_bytes = pc.struct_field(array, "bytes").is_valid().to_pylist() if "bytes" in fields else unknown
        paths = pc.struct_field(array, "path").to_pylist() if "path" in fields else unknown
        cells = zip(is_there, has_bytes, paths, strict=True)
        return [_Outline(has, path) if there else None for there, has, path in cells]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return [there or None for there in is_there]
    texts: list[Any] = array.to_pylist()
    return texts


def _is_arrow(path: Path) -> bool:
    return path.suffix == ARROW_SUFFIX
