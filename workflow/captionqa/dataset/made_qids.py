"""What rows without a qid are called."""

from collections.abc import Iterator
from typing import Any

from captionqa.dataset.cell import is_empty
from captionqa.dataset.field_value import number_text
from captionqa.dataset.table_rows import RowPlace

#: The name of the first null in a column of qids, as pandas shows it.
NULL_QID = "None"


class Qids:
    """The qids of rows in their order: the first null is called NULL_QID, any other row without one by file and row.

    NULL_QID goes to the row that comes first, a null or one that has this text as its qid; the other kind is called by
    file and row. So no added row changes the name of one before it.
    """

    def __init__(self, has_column: bool, names_null: bool, is_one_file: bool):
        """`names_null`: whether the first null is called NULL_QID."""
        self._has_column = has_column
        self._names_null = names_null
        self._is_one_file = is_one_file
        self._made = 0
        #: The kinds of rows that could be called NULL_QID, as they came: whether the qid is that text.
        self._kinds: list[bool] = []

    def qid(self, cell: Any, place: RowPlace) -> str:
        """A row's qid by its cell, or the name that is made for it."""
        is_text = cell == NULL_QID
        if not is_empty(cell) and not is_text:
            return cell if isinstance(cell, str) else number_text(cell)
        self._made += not is_text
        if is_text or (cell is None and self._names_null):
            is_new = is_text not in self._kinds
            if is_new:
                self._kinds.append(is_text)
            if is_new and len(self._kinds) == 1:
                return NULL_QID
            if is_text and not is_new:
                return NULL_QID  # it is there twice, which is refused
        alone = not self._has_column and self._is_one_file
        return str(place.row) if alone else f"{place.file.stem}#{place.row}"

    def notes(self) -> Iterator[str]:
        """What was made, a sentence each."""
        if self._made and self._has_column:
            how = "called by file and row"
            if self._kinds[:1] == [False]:
                others = f", the others are {how}" if self._made > 1 else ""
                how = f"the first null is called {NULL_QID}{others}"
            yield f"{self._made:,} without a qid: {how}"
        if self._kinds == [False, True]:
            yield f"the qid {NULL_QID} is already that of a null before it: its row is called by file and row"
