"""Cells of the question file: which are empty, and what is wrong with one."""

from typing import Any

#: Characters without width that copied texts have at their ends.
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"


class CellError(Exception):
    """What is wrong with one cell, as the end of a sentence that begins with its column."""


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: null, NaN or blanks."""
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())
