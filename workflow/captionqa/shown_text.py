"""Text from others, such as names, categories and server messages, made fit for a terminal, a table or a log.

Control characters, which can clear a screen, move a cursor or turn a line around, are shown as escapes. Letters of all
scripts, emoji and spaces stay as they are.
"""

import logging
import re

#: C0 and C1 controls with the line breaks, marks and overrides of the direction of text, invisible characters, line
#: and paragraph separators, and surrogates, which stand for bytes of a file name that is not UTF-8. The joiners that
#: emoji and some scripts need are not among them.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
#: The same without the line break and the tab.
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: str) -> str:
    """A text on one line without control characters."""
    return _CONTROL.sub(_escape, text)


def printable_lines(text: str) -> str:
    """A text without control characters except its line breaks and tabs, for messages of several lines."""
    return _CONTROL_IN_LINES.sub(_escape, text)


class PrintableFormatter(logging.Formatter):
    """Formats log records as `printable_lines`, whatever is in their arguments and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
