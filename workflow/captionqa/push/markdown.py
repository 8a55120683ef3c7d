"""Markdown of text from others: cells of tables, and blocks of code that nothing in them can end."""

import re
from collections.abc import Iterable, Iterator, Sequence

from captionqa.shown_text import printable, printable_lines


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """A text that stays in its cell and makes no element of HTML."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


def code_block(text: str) -> list[str]:
    """A text as it is, in a block whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *printable_lines(text).split("\n"), fence]
