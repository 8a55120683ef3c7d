"""The terminal: what captionqa itself prints there. Messages go to stderr, what a command was asked for to stdout.

Nothing of another's text controls the terminal: `captionqa.shown_text` shows control characters as escapes. Colour and
the live area are for a terminal alone; a file or a pipe gets plain lines.
"""

import logging
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from captionqa.shown_text import PrintableFormatter, printable_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def is_terminal() -> bool:
    """Whether a person reads stderr on a terminal that can move its cursor."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # stderr is closed
        return False


def log_to_terminal() -> None:
    """Print captionqa's own log records, and only these: Snakemake prints its own."""
    handler = _MessageHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger = logging.getLogger("captionqa")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def print_message(text: str, style: str = "") -> None:
    """Print a message to stderr, if the terminal is still there: nothing may depend on it.

    On a terminal the first line has this style of rich, unless NO_COLOR forbids colour.
    """
    show_lines(f"captionqa: {text}", style)


def show_lines(text: str, style: str = "") -> None:
    """Print lines of another program to stderr, as `print_message` prints its own."""
    text = printable_lines(text)
    with suppress(OSError, ValueError, RuntimeError):  # a signal may interrupt a print and print itself
        if not is_terminal() or not (style or _AREA):
            return print(text, file=sys.stderr, flush=True)
        from rich.text import Text

        shown = Text(text)
        if style and not os.environ.get("NO_COLOR"):
            shown.stylize(style, 0, len(text.partition("\n")[0]))
        _console().print(shown, soft_wrap=True)


def show(text: str) -> None:
    """Print what a command was asked for; raises BrokenPipeError where nobody reads it."""
    print(printable_lines(text), flush=True)


def answer_to(question: str) -> str | None:
    """What the person at the terminal types: nothing for Ctrl-D, None where nobody is there."""
    if not sys.stdin.isatty():
        return None
    try:
        return input(question)
    except EOFError:
        print()
        return ""


class LiveArea:
    """The last lines of the terminal, which `update` replaces in place. Messages appear above them."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live: Live = Live(
            console=_console(), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def update(self, content: "RenderableType") -> None:
        with suppress(OSError, ValueError):
            if not _AREA:
                _AREA.append(self)
                self._live.start()
            self._live.update(content, refresh=True)

    def close(self) -> None:
        """Remove the area; what was printed above it stays."""
        with suppress(OSError, ValueError):
            if _AREA:
                self._live.stop()
                _AREA.clear()


#: The live area, while there is one.
_AREA: list[LiveArea] = []


@cache
def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


class _MessageHandler(logging.Handler):
    """Prints log records as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        print_message(self.format(record))
