"""The schema's validator, which also fills in what a configuration leaves out."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, validators

DEFINITIONS = "#/$defs/"


def filling_validator(schema: Mapping[str, Any]) -> Any:
    """A validator that fills in defaults, after the recipe in jsonschema's FAQ.

    It also makes 2 of a 2.0 where a whole number is wanted: that is one to the schema, and to nothing that counts.
    """
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator: Any, properties: Mapping[str, Any], instance: Any, subschema: Mapping[str, Any]) -> Any:
        if isinstance(instance, dict):
            for key, value in properties.items():
                if "default" in value:
                    default = value["default"]
                    instance.setdefault(key, default.copy() if isinstance(default, dict | list) else default)
                given = instance.get(key)
                if isinstance(given, float) and given.is_integer() and "integer" in _types(value, schema):
                    instance[key] = int(given)
        yield from check_properties(validator, properties, instance, subschema)

    extend: Any = validators.extend  # jsonschema leaves it untyped
    return extend(Draft202012Validator, {"properties": fill})(schema)


def _types(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """The types that the schema of a value allows."""
    if reference := value.get("$ref"):
        value = schema["$defs"][reference.removeprefix(DEFINITIONS)]
    types = value.get("type", ())
    yield from [types] if isinstance(types, str) else types
    for one in value.get("oneOf", ()):
        yield from _types(one, schema)
