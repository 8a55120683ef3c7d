"""A second table beside the questions: with their ground truths, or with the images that they name by a key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from captionqa.dataset.field_value import Source, lookup, number_text, paths_in
from captionqa.dataset.question_columns import FIELDS, QuestionColumns
from captionqa.dataset.question_images import RowImages
from captionqa.dataset.table_files import TableFiles, find_table_files
from captionqa.dataset.table_rows import read_rows

#: The column of images in a second table, where none is named.
IMAGE_COLUMN = "image"


class JoinedTable:
    """Further cells of the questions, by the key that both tables have."""

    def __init__(self, table: Path, join: Mapping[str, str], paths: Sequence[str]):
        """`paths` are the columns and nested fields that the second table is asked for."""
        self._by = join["by"]
        key = join.get("is", self._by)
        tops = [path.split(".")[0] for path in paths]
        rows = read_rows(second_table(table, join).files, [key, *tops], (), join.get("rows"))
        self._cells = {
            number_text(lookup(row.cells, key)): {path: lookup(row.cells, path) for path in paths} for row in rows
        }

    @classmethod
    def of(cls, table: Path, columns: QuestionColumns, names: Sequence[str]) -> Self | None:
        """The second table of a configuration; None where it has none. `names` are the columns of the first."""
        if columns.join is None:
            return None
        paths = {path for key in FIELDS for path in paths_in(getattr(columns, key))}
        return cls(table, columns.join, sorted(path for path in paths if path.split(".")[0] not in names))

    def joined(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """The cells of a row with those of the second table."""
        return {**cells, **self._cells.get(number_text(lookup(cells, self._by)), {})}


def joined_images(table: Path, images: Source, dataset: Path) -> dict[str, list[str | None]] | None:
    """{key: images} of a second table with images; None where the questions have their own."""
    if not isinstance(images, Mapping):
        return None
    key, column = images.get("is", images["by"]), images.get("column", IMAGE_COLUMN)
    named = RowImages(dataset, column)
    rows = read_rows(second_table(table, images).files, [key, column], [column])
    return {number_text(lookup(row.cells, key)): named.images(row.cells, row.place) for row in rows}


def second_table(table: Path, join: Mapping[str, Any]) -> TableFiles:
    """The files of a second table, whose path is relative to the folder of the first."""
    return find_table_files(str(table.parent / join["file"]), "qa.columns")
