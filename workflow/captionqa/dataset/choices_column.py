"""The choices of a question in columns of their own: read from cells, and written below the question's text."""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from captionqa.dataset.cell import CellError, is_empty
from captionqa.list_text import parse_list, texts_of

#: The names by which a column of choices is found where none is configured.
NAMES = ("choices", "options")
#: A label that a data set wrote before a choice: "A. red", "(A) red".
_LABEL = re.compile(r"\(?([A-Z])(?:\)|[.:](?=\s))\s*")
#: Blanks, Markdown's signs of bold text and LaTeX's dollar signs.
_STYLE = re.compile(r"[\s$*_`]+")
_LINE_BREAKS = re.compile(r"\s*\n\s*")


def read_choices(cells: Sequence[Any]) -> list[str]:
    """The choices in one cell, which may be a list or the text of one, or in several cells with a choice each.

    An empty list where the question has none.

    Raises:
        CellError: the cell holds something else, a choice is empty, or there is only one, or more than 26.
    """
    found = list(cells) if len(cells) > 1 else _elements(cells[0])
    while found and (is_empty(found[-1]) or found[-1] == "nan"):  # fewer choices than columns, or than other rows have
        found.pop()
    if any(map(is_empty, found)):
        raise CellError("has an empty choice before its last one")
    try:
        choices = [_LINE_BREAKS.sub(" ", text.strip()) for text in texts_of(found)]
    except ValueError as error:
        raise CellError(str(error)) from None
    if len(choices) == 1:
        raise CellError("holds only one choice")
    if len(choices) > len(ascii_uppercase):
        raise CellError(f"holds {len(choices)} choices, of which each needs a letter")
    labels = [_LABEL.match(choice) for choice in choices]
    if "".join(label[1] if label else "-" for label in labels) == ascii_uppercase[: len(choices)]:
        choices = [choice[label.end() :] for choice, label in zip(choices, labels, strict=True) if label]
    return choices


def raw_choices(cells: Sequence[Any]) -> list[str]:
    """The choices of one cell with a list, or of several cells, exactly as the file has them.

    Raises:
        CellError: the cell holds something else.
    """
    return list(map(str, cells if len(cells) > 1 else _elements(cells[0])))


def shows(question: str, choices: Sequence[str]) -> bool:
    """Whether a question's text lists these choices itself, each after its letter."""
    text, at = _bare(question.replace("\t", ":")), 0
    for letter, choice in zip(ascii_uppercase, choices, strict=False):
        match = re.compile(rf"{letter}[)）.:：、．\]>]+{re.escape(_bare(choice))}", re.IGNORECASE).search(text, at)
        if match is None:
            return False
        at = match.end()
    return True


def with_choices(question: str, choices: Sequence[str]) -> str:
    """A question's text with its choices below, a line each: "A. red"."""
    lines = (f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))
    return "\n".join([question.rstrip(), *lines])


def _bare(text: str) -> str:
    """A text without what may differ between a question and its column: blanks, Markdown's and LaTeX's marks."""
    return _STYLE.sub("", text)


def _elements(cell: Any) -> list[Any]:
    """The elements of a cell with a list."""
    if is_empty(cell):
        return []
    if isinstance(cell, dict):
        cell = cell.get("text", list(cell.values()))  # ARC's structs of labels and texts, or {A: ..., B: ...}
    if isinstance(cell, str):
        cell = parse_list(cell)
    if not isinstance(cell, list):
        raise CellError(
            "holds no list of choices and no text of one; null in qa.columns.choices leaves the column alone"
        )
    return cell
