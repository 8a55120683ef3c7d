"""Elements of a list in a JSON file of any size, one after another, each with the bytes that it takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Bytes read at a time; an element that is longer makes the next read as long as what there is.
BLOCK_BYTES = 1024 * 1024
#: The name under which a row of an object of objects has its key.
KEY_COLUMN = "$key"
_SPACE = re.compile(r"[ \t\r\n]*")

#: Offset and length in bytes, and the value.
Element = tuple[int, int, dict[str, Any]]


def elements(path: Path, rows_key: str | None = None) -> Iterator[Element]:
    """Yield the objects of a list of objects, or of an object that holds one such list, or of an object of objects.

    `rows_key` names the list where an object holds several. A row of an object of objects has its key as `$key`.

    Raises:
        ValueError: the file is no JSON, or has no such list.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        start = reader.next_character()
        if start == "[":
            yield from _listed(reader)
            return
    if start != "{":
        raise ValueError("it is neither a list nor an object")
    key = rows_key if rows_key is not None else _only_list(path)
    with path.open("rb") as file:
        reader = _Reader(file)
        for name in _keys(reader):
            if key is None:
                offset, length, value = reader.value()
                yield offset, length, {KEY_COLUMN: name, **columns_of(value, name)}
            elif name == key and reader.next_character() == "[":
                yield from _listed(reader)
                return
            else:
                reader.value()
    if key is not None:
        raise ValueError(f"it has no list {key!r}")


def _only_list(path: Path) -> str | None:
    """The key of the one list of objects in an object; None for an object of objects."""
    lists, others = [], 0
    with path.open("rb") as file:
        reader = _Reader(file)
        for name in _keys(reader):
            if reader.next_character() == "[":
                first = next(_listed(reader, check=False), None)
                if first is not None and isinstance(first[2], dict):
                    lists.append(name)
                for _ in _listed(reader, check=False, is_open=True) if first is not None else ():
                    pass
            else:
                others += not isinstance(reader.value()[2], dict)
    if len(lists) > 1:
        raise ValueError(
            f"it holds the lists {', '.join(lists)}; name the one with the rows in qa.columns.rows, for images in "
            "captions.columns.rows"
        )
    if not lists and others:
        raise ValueError("it holds no list of objects")
    return lists[0] if lists else None


def _keys(reader: "_Reader") -> Iterator[str]:
    """The keys of an object; the value of each has to be read before the next key."""
    reader.expect("{")
    while (character := reader.next_character()) != "}":
        if character == ",":
            reader.expect(",")
        name = reader.value()[2]
        reader.expect(":")
        yield str(name)
    reader.expect("}")


def _listed(reader: "_Reader", check: bool = True, is_open: bool = False) -> Iterator[Element]:
    """The elements of a list; `is_open` where its first one was read already."""
    if not is_open:
        reader.expect("[")
    number = 0
    while (character := reader.next_character()) != "]":
        if character == ",":
            reader.expect(",")
        offset, length, value = reader.value()
        yield offset, length, columns_of(value, f"row {number}") if check else value
        number += 1
    reader.expect("]")


def columns_of(value: Any, what: str) -> dict[str, Any]:
    """The cells of a row by column; those of a list are numbered.

    Raises:
        ValueError: the row is neither an object nor a list.
    """
    if isinstance(value, list):
        return {str(number): cell for number, cell in enumerate(value)}
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object with columns")
    return value


class _Reader:
    """Reads one JSON value after another from an open file."""

    def __init__(self, file: Any):
        self._file = file
        self._decode = json.JSONDecoder().raw_decode
        #: What was read and not used yet, and how many bytes came before its first character.
        self._text = ""
        self._at = 0
        self._offset = 0
        #: Bytes at the end of what was read that are a part of a character.
        self._rest = b""
        while not self._text and self._more():
            pass
        if self._text.startswith("\ufeff"):
            self._skip(1)

    def next_character(self) -> str:
        """The next character that is no blank, which stays; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._skip(match.end() if match else self._at)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        if self.next_character() != character:
            raise ValueError(f"{character!r} is missing behind byte {self._offset}; the file may be cut")
        self._skip(self._at + 1)

    def value(self) -> Element:
        """The next value, with its place in the file."""
        self.next_character()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError as error:
                if not self._more(len(self._text)):
                    raise ValueError(f"no JSON behind byte {self._offset} ({error}); the file may be cut") from None
                continue
            if end == len(self._text) and self._more():  # a number may go on
                continue
            offset = self._offset
            self._skip(end)
            return offset, self._offset - offset, value

    def _skip(self, end: int) -> None:
        self._offset += len(self._text[self._at : end].encode())
        self._at = end

    def _more(self, size: int = 0) -> bool:
        """Read on; False at the end of the file."""
        data = self._file.read(max(BLOCK_BYTES, size))
        if not data:
            return False
        data = self._rest + data
        text = data.decode("utf-8", "surrogateescape")
        kept = len(data)
        while kept > len(data) - 4 and text[-1:] >= "\udc80" and "\udc80" <= text[-1:] <= "\udcff":
            kept, text = kept - 1, text[:-1]
        self._rest = data[kept:]
        self._text, self._at = self._text[self._at :] + text, 0
        return True
