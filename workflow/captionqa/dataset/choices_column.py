"""The choices of a question in columns of their own: read from cells, and written below the question's text."""

import ast
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from captionqa.dataset.cell import CellError, is_empty
from captionqa.grading.choices import lettered_choices
from captionqa.list_text import parse_list, texts_of

#: The names by which a column of choices is found where none is configured.
NAMES = ("choices", "options")
#: A label that a data set wrote before a choice: "A. red", "(a) red", "1. red".
_LABEL = re.compile(r"\(?([A-Za-z])(?:\)|[.:](?=\s))\s*|\(?(\d{1,2})(?:\)|\.(?=\s))\s*")
#: What a text puts before each line of a list.
_BULLET = re.compile(r"\s*[-*•]\s+")
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
    written = [label[1] or label[2] if label else None for label in labels]
    numbers = [str(number) for number in range(1, len(choices) + 1)]
    if written in (list(ascii_uppercase[: len(choices)]), list(ascii_lowercase[: len(choices)]), numbers):
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


def _written(text: str) -> Any:
    """The list or struct that a text holds: of Python or JSON, labelled choices, or a line for each choice."""
    if (elements := parse_list(text)) is not None:
        return elements
    if text.strip()[0] in "{(":
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                value = read(text.strip())
                return list(value) if isinstance(value, tuple) else value
    if len(labelled := lettered_choices(text)) > 1:
        return labelled
    lines = [line for line in text.splitlines() if line.strip()]
    if all(map(_BULLET.match, lines)):
        lines = [_BULLET.sub("", line, count=1) for line in lines]
    return lines if len(lines) > 1 else None


def _elements(cell: Any) -> list[Any]:
    """The elements of a cell with a list."""
    if is_empty(cell):
        return []
    if isinstance(cell, str):
        cell = _written(cell)
    if isinstance(cell, dict):
        cell = cell.get("text", list(cell.values()))  # ARC's structs of labels and texts, or {A: ..., B: ...}
    if isinstance(cell, list) and cell and all(isinstance(one, tuple) and len(one) == 2 for one in cell):
        cell = [text for _, text in cell]  # Arrow's maps of labels and texts
    if not isinstance(cell, list):
        raise CellError(
            "holds no list of choices and no text of one; null in qa.columns.choices leaves the column alone"
        )
    return cell
