"""Captions by a schema: whether an answer is JSON that fits it, and the same as a text that a person reads."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from captionqa.client.answer import Answer
from captionqa.client.final_text import split_answer
from captionqa.config.settings import AnswerSettings
from captionqa.errors import ItemFailure, Reason
from captionqa.shown_text import printable

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

#: Characters of an answer, or of what is wrong with it, that a failure quotes.
QUOTED_CHARACTERS = 200


@lru_cache(1)
def _validator(schema: str) -> "Validator":
    """The validator of the run's one schema; threads may share it, since it keeps no state."""
    from captionqa.config.caption_schema import schema_validator  # jsonschema takes long to import

    return schema_validator(schema)


def check_schema_answer(answer: Answer, settings: AnswerSettings) -> None:
    """Check an answer against the schema of the settings, if they have one. Nothing in the answer is mended.

    An answer that ended within its reasoning has nothing to check: it fails as `final_text.caption_text` says.

    Raises:
        ItemFailure: schema_mismatch.
    """
    if "schema" not in settings:
        return
    _, text = split_answer(answer)
    if text and (fault := _fault(text, _validator(settings["schema"]))):
        if answer["finish_reason"] == "length":
            fault = f"the answer was truncated at captions.max_tokens ({settings['max_tokens']}); raise it ({fault})"
        raise ItemFailure(Reason.SCHEMA_MISMATCH, fault)


def readable(text: str) -> str:
    """A JSON object as a text: `colour: red; shape: circle`; lists with commas, objects within in brackets."""
    return _fields(json.loads(text))


def _fault(text: str, validator: "Validator") -> str | None:
    """What is wrong with an answer; None for one that fits."""
    from jsonschema.exceptions import best_match

    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return f"the answer is no JSON ({error}): {printable(text[:QUOTED_CHARACTERS])}"
    try:
        worst = best_match(validator.iter_errors(value))
    except RecursionError:  # by a schema that refers to itself
        return f"the answer is nested too deeply to be checked: {printable(text[:QUOTED_CHARACTERS])}"
    if worst is None:
        return None
    place = ".".join(map(str, worst.absolute_path)) or "its top"
    return printable(f"the answer does not fit captions.schema at {place}: {worst.message}"[:QUOTED_CHARACTERS])


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value of JSON")


def _fields(value: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {_shown(part)}" for name, part in value.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_fields(value)})"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, str):
        return value
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
