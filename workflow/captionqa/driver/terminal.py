"""The terminal: what captionqa itself prints there. Messages go to stderr, what a command was asked for to stdout.

Nothing of another's text controls the terminal: `captionqa.shown_text` shows control characters as escapes.
"""

import logging
import sys
from contextlib import suppress

from captionqa.shown_text import PrintableFormatter, printable_lines


def log_to_terminal() -> None:
    """Print captionqa's own log records, and only these: Snakemake prints its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("captionqa: %(message)s"))
    logger = logging.getLogger("captionqa")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def print_message(text: str) -> None:
    """Print a message to stderr, if the terminal is still there: nothing may depend on it."""
    with suppress(OSError, ValueError):
        print(f"captionqa: {printable_lines(text)}", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print what a command was asked for; raises BrokenPipeError where nobody reads it."""
    print(printable_lines(text), flush=True)
