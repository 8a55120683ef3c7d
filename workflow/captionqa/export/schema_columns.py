"""Captions by a schema as columns: one for each property at the top of the schema, named `caption.NAME`."""

import json
from collections.abc import Mapping
from typing import Any

from captionqa.errors import ResultError
from captionqa.export.json_text import json_text
from captionqa.export.table import Columns

#: The types of columns, as `table.TYPES` names them, by those of JSON schema; any other is text.
KINDS = {"integer": "number", "number": "share", "boolean": "flag"}
MAX_INTEGER = 2**63 - 1


def schema_columns(schema: str) -> Columns:
    """The columns of a schema's properties in their order; none for captions that are free text (`schema` is empty)."""
    properties = json.loads(schema).get("properties", {}) if schema else {}
    return {f"caption.{name}": _kind(rules) for name, rules in properties.items()}


def caption_values(text: str, columns: Columns) -> dict[str, Any]:
    """The values of a caption's columns as its JSON has them; None for a property that it leaves out."""
    if not columns:
        return {}
    value = json.loads(text)
    return {column: value.get(column.removeprefix("caption.")) for column in columns}


def typed_values(values: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The same as a table holds them: an object, or a list of anything but texts, is JSON.

    Raises:
        ResultError: a number is too large for a table.
    """
    return {column: _typed(column, value, columns[column]) for column, value in values.items()}


def _kind(rules: Any) -> str:
    if not isinstance(rules, dict):
        return "text"
    types = rules.get("type")
    types = [kind for kind in (types if isinstance(types, list) else [types]) if kind != "null"]
    if types == ["array"]:
        items = rules.get("items")
        return "texts" if isinstance(items, dict) and items.get("type") == "string" else "text"
    return KINDS.get(types[0], "text") if len(types) == 1 else "text"


def _typed(column: str, value: Any, kind: str) -> Any:
    if value is None or kind in ("texts", "flag"):
        return value
    if kind == "text":
        return value if isinstance(value, str) else json_text(value)
    try:
        number = int(value) if kind == "number" else float(value)
        if kind == "number" and abs(number) > MAX_INTEGER:
            raise OverflowError
    except OverflowError as error:
        raise ResultError(
            f"{column}: a caption has a number that parquet cannot hold ({str(value)[:20]}...); give the property a "
            "maximum in captions.schema, or export jsonl."
        ) from error
    return number
