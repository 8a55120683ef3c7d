r"""Lists that a data set keeps as text: ['red', 'blue'] of Python, ["red", "blue"] of JSON, ['red' 'blue'] of numpy."""

import ast
import json
import re
from collections.abc import Sequence

#: A longer text is no list of choices or answers.
MAX_CHARACTERS = 100_000
#: A list within brackets, also as numpy writes an array.
_LIST = re.compile(r"\s*(?:array\(\s*)?\[(?P<inside>.*)\](?:\s*,\s*dtype=[\w<>']+)?\s*\)?\s*", re.DOTALL)
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
#: What stands between the elements of a list of texts; numpy writes no commas.
_BETWEEN = re.compile(r"\s*,?\s*")
#: An escaped character of Python or JSON. A tab or carriage return before a letter is a LaTeX command such as \times,
#: which a careless writer left unescaped.
_ESCAPE = re.compile(r"\\(?:([\\'\"/])|(n)|([tr])(?![a-z])|x([\da-fA-F]{2})|u([\da-fA-F]{4}))")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}
#: The fields of a struct in a list that hold its text, such as those of VQAv2's answers.
_TEXT_FIELDS = ("answer", "text", "value", "content", "option", "choice")


def parse_list(text: str) -> list[object] | None:
    """The elements of a list that was written as text; None for any other text."""
    if len(text) > MAX_CHARACTERS or not (match := _LIST.fullmatch(text)):
        return None
    inside = match["inside"].strip()
    if (quoted := _quoted_texts(inside)) is not None:
        return list(quoted)
    for read in (json.loads, ast.literal_eval):
        try:
            elements = read(f"[{inside}]")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return list(elements)
    return None


def texts_of(elements: Sequence[object]) -> list[str]:
    """The elements of a list as texts: of structs their `answer`, `text` or the like, of lists theirs.

    Empty ones are left out. Whole numbers that are floats lose their `.0`.

    Raises:
        ValueError: an element is neither of these nor a text in UTF-8 or a number.
    """
    texts: list[str] = []
    for element in elements:
        if isinstance(element, dict):
            element = next((element[name] for name in _TEXT_FIELDS if name in element), element)
        if isinstance(element, list | tuple):
            texts += texts_of(element)
        elif element is None or element != element or element == "":
            continue
        elif isinstance(element, bytes):
            texts.append(element.decode())
        elif isinstance(element, float) and element.is_integer():
            texts.append(str(int(element)))
        elif isinstance(element, str | int | float):
            texts.append(str(element))
        else:
            raise ValueError(f"holds a {type(element).__name__} in its list, not a text or a number")
    return texts


def _quoted_texts(inside: str) -> list[str] | None:
    """The texts of a list that holds nothing but quoted texts; None for another."""
    texts: list[str] = []
    at = 0
    while at < len(inside):
        if not (match := _QUOTED.match(inside, at)):
            return None
        texts.append(_ESCAPE.sub(_unescaped, match[1] if match[1] is not None else match[2]))
        at = _end(_BETWEEN, inside, match.end())
    return texts


def _unescaped(match: re.Match[str]) -> str:
    plain, newline, control, *codes = match.groups()
    code = next(filter(None, codes), None)
    return plain or (chr(int(code, 16)) if code else _CONTROL[newline or control])


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
