"""`captions.schema`: the JSON schema that captions are asked by, read and checked before a run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from captionqa.config.yaml_text import read_yaml
from captionqa.errors import ConfigError

#: Characters of jsonschema's message that are shown: it quotes what it is about.
MESSAGE_CHARACTERS = 300


def read_schema(path: str) -> str:
    """The schema in a JSON or YAML file as JSON on one line, in the file's order of keys, which answers follow.

    Raises:
        ConfigError: there is no such file, or what it holds is no JSON schema of an object.
    """
    try:
        schema = _content(Path(path))
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except ConfigError as error:
        raise ConfigError(f"captions.schema: {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"captions.schema: {path} is no JSON schema: {error}.") from error
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ConfigError(
            f"captions.schema: {path} is no JSON schema of an object; it needs `type: object` and "
            "`properties` at its top."
        )
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "its top"
        raise ConfigError(
            f"captions.schema: {path} is no valid JSON schema: at {place}: {error.message[:MESSAGE_CHARACTERS]}."
        ) from error
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ConfigError(
                f"captions.schema: {path} refers to {reference!r}, which is not in it; add it under $defs."
            ) from error
    return text


def schema_validator(text: str) -> Validator:
    """What finds the faults of answers by a schema of `read_schema`; nothing is fetched for it."""
    schema = json.loads(text)
    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _content(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; name a JSON schema, as .json or .yaml.")
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    schema = read_yaml(path)
    _check_texts(schema, path)
    return schema


def _check_texts(schema: Any, path: Path) -> None:
    """Raise ConfigError where YAML made something else of a text: `no` is False, and would be asked for as "false"."""
    if isinstance(schema, list):
        for part in schema:
            _check_texts(part, path)
    if not isinstance(schema, dict):
        return
    if (wrong := next((one for one in (*schema, *_texts(schema)) if not isinstance(one, str)), None)) is not None:
        raise ConfigError(
            f"{path} has {wrong!r} where a text belongs: YAML takes yes, no, on, off and numbers for other values; put "
            "it into quotes."
        )
    for part in schema.values():
        _check_texts(part, path)


def _texts(schema: dict[Any, Any]) -> list[Any]:
    """The values of `enum` that have to be texts: booleans too, where others beside them are texts."""
    values, types = schema.get("enum"), schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if not isinstance(values, list) or "boolean" in types:
        return []
    if types == ["string"]:
        return values
    has_texts = "string" in types or any(isinstance(value, str) for value in values)
    return [value for value in values if isinstance(value, bool)] if has_texts else []


def _references(schema: Any) -> Iterator[str]:
    """The values of all `$ref` and `$dynamicRef` in a schema."""
    if isinstance(schema, dict):
        yield from (schema[key] for key in ("$ref", "$dynamicRef") if isinstance(schema.get(key), str))
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
