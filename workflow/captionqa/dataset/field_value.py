"""Values of a row by what qa.columns says: a column, a nested field, a template, a constant, the first of several."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from string import Formatter
from typing import Any

from captionqa.dataset.cell import is_empty

#: What qa.columns gives for one field, once `auto` is settled; None for a field that the table does not have.
Source = str | Sequence[Any] | Mapping[str, Any] | None
#: The field that each element of an exploded list has beside its columns: its number.
ELEMENT_NUMBER = "#"


def value_of(row: Mapping[str, Any], source: Source) -> Any:
    """A field of a row; of a list of sources the first that holds something."""
    if source is None:
        return None
    if isinstance(source, str):
        return _filled(row, source) if _is_template(source) else lookup(row, source)
    if isinstance(source, Mapping):
        return source.get("constant")
    return next((value for one in source if not is_empty(value := value_of(row, one))), None)


def reader_of(source: Source) -> Callable[[Mapping[str, Any]], Any]:
    """A function that does what `value_of` does for this source, fast for a plain column."""
    if source is None:
        return lambda row: None
    if isinstance(source, str) and not _is_template(source) and "." not in source and "[" not in source:
        return lambda row: row.get(source)
    return lambda row: value_of(row, source)


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """The cell of a column, or a field inside of it by a dotted path; of a list of structs the fields of all."""
    if path in row:
        return row[path]
    value: Any = row
    for name in path.replace("[]", "").split("."):
        value = _field(value, name)
    return value


def columns_in(source: Source) -> Iterator[str]:
    """The columns, without the fields inside, that a source takes its value from."""
    for path in paths_in(source):
        yield path.replace("[]", "").split(".")[0]


def paths_in(source: Source) -> Iterator[str]:
    """The columns or dotted paths that a source takes its value from."""
    if isinstance(source, str):
        yield from _template_fields(source) if _is_template(source) else (source,)
    elif source is not None and not isinstance(source, Mapping):
        for one in source:
            yield from paths_in(one)


def number_text(cell: Any) -> str:
    """A text or number as text; whole numbers that pandas made floats, beside missing cells, lose their `.0`."""
    if isinstance(cell, bytes):
        text = cell.decode("utf-8", "backslashreplace")
        return text if text.isprintable() else cell.hex()
    is_whole = (isinstance(cell, float) and cell.is_integer()) or (isinstance(cell, Decimal) and cell == int(cell))
    return str(int(cell)) if is_whole else str(cell)


def parsed(value: Any) -> Any:
    """A struct or list that a file keeps as the text of one; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _field(value: Any, name: str) -> Any:
    value = parsed(value)
    if isinstance(value, Mapping):
        return value.get(name)
    return [_field(one, name) for one in value] if isinstance(value, list) else None


def _is_template(source: str) -> bool:
    return "{" in source


@cache
def _pieces(template: str) -> tuple[tuple[str, str | None, str], ...]:
    """(text before, path or None, format) of each field of a template. Raises ValueError where it is none."""
    return tuple((text, field, form or "") for text, field, form, _ in Formatter().parse(template))


def _template_fields(template: str) -> list[str]:
    fields = [field for _, field, _ in _pieces(template) if field]
    return [field for field in fields if field != ELEMENT_NUMBER]


def _filled(row: Mapping[str, Any], template: str) -> str | None:
    """A template with the fields of a row; None where one of them is empty."""
    texts = []
    for text, field, form in _pieces(template):
        texts.append(text)
        if field is None:
            continue
        value = lookup(row, field)
        if is_empty(value):
            return None
        texts.append(format(int(value), form) if form.endswith("d") else format(number_text(value), form))
    return "".join(texts)
