"""One clear sentence for an error that jsonschema found in a configuration: what, where, and what would be right."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jsonschema  # it takes long to import, and what reads configurations names keys too

#: What the schema's types are called in a message.
TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a section of keys",
    "array": "a list",
    "null": "empty",
}


def sentence(error: "jsonschema.ValidationError") -> str:
    """What is wrong, where, and what would be right."""
    path = list(error.absolute_path)
    if path and isinstance(path[-1], int):  # an element of a list, which the sentence quotes
        path.pop()
    place = ".".join(map(str, path)) or "the configuration"
    rule: Any = error.validator_value
    instance: Any = error.instance
    schema = _schema(error)
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        unknown = next(key for key in instance if key not in known)
        return f"{place}: unknown key {unknown!r}{nearest(unknown, known)}; known here are {', '.join(sorted(known))}."
    if error.validator == "required":
        missing = next(key for key in rule if key not in instance)
        return f"{place}: the key {missing!r} is missing; see config/config.yaml for what it means."
    hint = _hint(error)
    if error.validator == "type" and not hint:
        if instance is None:  # such as a section with nothing but comments
            return f"{place}: nothing is given here; leave the key out, or see config/config.yaml for what it takes."
        return f"{place}: must be {_wanted(rule, instance)}."
    if error.validator == "pattern" and hint and hint.startswith("a name "):
        allowed = re.sub("[^A-Za-z0-9._-]+", "_", instance).lstrip("._-")
        return f"{place}: {instance!r} is no name: {hint}{f'; try {allowed}' if allowed else ''}."
    if error.validator == "enum":
        words = ["null" if value is None else str(value) for value in rule if value is not False]  # a bare off is false
        wrong = f"{hint}, not {instance!r}" if hint else f"{instance!r} is not one of {', '.join(words)}"
        return f"{place}: {wrong}{nearest(str(instance), words)}."
    return f"{place}: {hint or error.message}."


def _wanted(types: str | Sequence[str], instance: object) -> str:
    """What a value has to be, of these types of the schema, and what it is instead."""
    names = [types] if isinstance(types, str) else types
    if "array" in names and isinstance(instance, str):
        return f"a list: [{instance}]"
    return f"{' or '.join(TYPE_NAMES.get(name, name) for name in names)}, not {instance!r}"


def _hint(error: "jsonschema.ValidationError") -> str | None:
    """The schema's own explanation of the rule that was broken, or of the rule around it."""
    at: Any = error
    while at is not None:
        if hint := _schema(at).get("x-hint"):
            return str(hint)
        at = at.parent
    return None


def _schema(error: "jsonschema.ValidationError") -> Mapping[str, Any]:
    """The part of the schema that holds the broken rule."""
    return error.schema if isinstance(error.schema, Mapping) else {}


def nearest(word: object, known: Iterable[str], least: float = 0.5) -> str:
    """Which of the known words may be meant, as a remark in brackets; empty where none is as near (difflib's ratio)."""
    import difflib  # here, since chunk jobs import this module and name no key

    by_lower = {name.lower(): name for name in known}
    match = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=least)
    return f" (did you mean {by_lower[match[0]]!r}?)" if match else ""
