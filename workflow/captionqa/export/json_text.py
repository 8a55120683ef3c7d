"""JSON that every reader takes: UTF-8, without the halves of surrogate pairs that names and model outputs may hold."""

import json
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_text(value: Any) -> str:
    """A value as JSON on one line."""
    text = _ENCODER.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ENCODER.encode(well_formed(value))
    return text


def well_formed(value: Any) -> Any:
    r"""The value with each lone surrogate, which UTF-8 cannot hold, written as its escape, such as \udce9.

    A byte of a file name that is not UTF-8 is such a surrogate.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    return value


def file_name(name: str) -> str:
    """The name as it can be given to a file: bytes that are not UTF-8 stay as they are."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return str(well_formed(name))
    return name
