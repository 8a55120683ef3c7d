"""The rows of a table that hold images to caption, found without reading an image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from captionqa.config.captions_config import CaptionColumnsConfig
from captionqa.dataset.cell import CellError, is_empty
from captionqa.dataset.field_value import columns_in, lookup, number_text
from captionqa.dataset.image_columns import TEXTS, id_column, image_columns
from captionqa.dataset.image_ref import FileRef, ImageRef
from captionqa.dataset.question_images import RowImages
from captionqa.dataset.shard_item import ShardItem
from captionqa.dataset.table_files import TableFile
from captionqa.dataset.table_rows import TableRow, read_columns, read_rows


class TableScan:
    """The rows of one file.

    Raises:
        InputError: the file cannot be read, or a configured column is not there.
    """

    def __init__(self, file: TableFile, root: Path, container: str, wanted: CaptionColumnsConfig):
        """`root` is the data folder, and `container` the file's path in names and messages."""
        self._file = file
        self._container = container
        self._rows_key = wanted.rows if file.kind == "json" else None
        columns = read_columns(file, self._rows_key)
        #: The columns of images; empty where the file has none.
        self.images = image_columns(columns, wanted.image, container)
        #: Whether these are texts, which may be paths.
        self.has_texts = any(column.type in TEXTS for column in columns if column.name in self.images)
        self._id = id_column(columns, wanted.id, container)
        self._row_images = RowImages(root, self.images)
        #: How many rows were seen.
        self.rows = 0

    def items(self, first_row: int | None) -> Iterator[ShardItem]:
        """Yield the rows that hold an image.

        A row without a name is called by the file and its number in the file, or by its number in the whole data set
        where `first_row` gives that of the file's first row.
        """
        images = list(columns_in(self.images))
        wanted = images if self._id is None else [*images, self._id]
        for row in read_rows([self._file], wanted, images, self._rows_key):
            self.rows = row.place.row + 1
            if references := self._references(row):
                number = row.place.row
                own = f"{self._container}#{number}" if first_row is None else str(first_row + number)
                place = row.place
                position = (place.group, place.row_in_group) if place.group >= 0 else (0, place.offset)
                yield ShardItem(self._name(row.cells, references) or own, own, references, position)

    def _references(self, row: TableRow) -> list[str]:
        """The images of a row; a cell that holds something else is one, too, and fails when it is read."""
        try:
            return [image for image in self._row_images.images(row.cells, row.place) if image is not None]
        except CellError:
            return [self._row_images.cell(row.cells, row.place, self.images[0], None)]

    def _name(self, cells: Mapping[str, Any], references: list[str]) -> str | None:
        """The row's name: the path of its only image, or else what its column of names says."""
        if len(self.images) == 1:
            value = lookup(cells, self.images[0])
            if isinstance(value, Mapping):
                value = value.get("path")
            elif isinstance(value, str):
                only = ImageRef.parse(references[0])
                value = only.path if isinstance(only, FileRef) else None
            if isinstance(value, str) and value:
                return value
        name = None if self._id is None else cells.get(self._id)
        return None if is_empty(name) else number_text(name)
