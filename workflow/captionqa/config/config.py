"""The configuration: defaults and rules from the schema, and one clear sentence for what is wrong."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema import Draft202012Validator, validators

from captionqa import WORKFLOW
from captionqa.config import media_folder
from captionqa.config.prompts import STYLES
from captionqa.errors import ConfigError

SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"


def check(config: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the schema's defaults in place and return the configuration.

    Raises:
        ConfigError: names the key, what is wrong with it, and for an unknown key the nearest known one.
    """
    error = jsonschema.exceptions.best_match(_with_defaults(schema).iter_errors(config))
    if error is not None:
        raise ConfigError(_sentence(error))
    _tidy_paths(config)
    if not tasks(config):
        raise ConfigError("the configuration asks for nothing: give captions, qa or both; see config/config.yaml.")
    captions = config.get("captions")
    if captions is not None:
        known = {*STYLES, *captions["prompts"]}
        for style in captions["prompt_styles"]:
            if style not in known:
                raise ConfigError(
                    f"captions.prompt_styles: {style!r} is no prompt style{_nearest(style, known)}; known are "
                    f"{', '.join(sorted(known))}, and any you add under captions.prompts."
                )
        _refuse_same_names(captions["prompt_styles"])
    media_folder.server_settings(config, model_name(config))
    return config


def load_config(path: Path) -> dict[str, Any]:
    """Read and check a configuration file; raises ConfigError."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is no mapping of keys; see config/config.yaml.")
    return check(config, yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def model_name(config: Mapping[str, Any]) -> str:
    """The name of the one configured model, as in output folders."""
    return next(iter(config["models"]))


def served_name(config: Mapping[str, Any], model: str) -> str:
    """The name that the server answers to."""
    settings = config["models"][model]
    return settings["served_model_name"] or settings["path"]


def tasks(config: Mapping[str, Any]) -> list[str]:
    """Which of `captions` and `qa` the configuration asks for."""
    return [task for task in ("captions", "qa") if config.get(task) is not None]


def tasks_share_images(config: Mapping[str, Any]) -> bool:
    """Whether captions and questions are of the same folder, so that one scan serves both."""
    return len(tasks(config)) == 2 and config["captions"]["dataset_path"] == config["qa"]["dataset_path"]


def _tidy_paths(config: dict[str, Any]) -> None:
    """Expand ~, and give the output folder its plainest name, since Snakemake compares paths as text."""
    config["output_dir"] = os.path.normpath(os.path.expanduser(config["output_dir"]))
    for section in filter(None, (config.get("captions"), config.get("qa"), *config["models"].values())):
        for key in ("dataset_path", "question_path", "path"):
            if key in section:
                section[key] = os.path.expanduser(section[key])


def _with_defaults(schema: Mapping[str, Any]) -> jsonschema.protocols.Validator:
    """A validator that also fills in defaults, as the jsonschema FAQ shows."""
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator, properties, instance, subschema):
        if isinstance(instance, dict):
            for key, value in properties.items():
                if "default" in value:
                    default = value["default"]
                    instance.setdefault(key, default.copy() if isinstance(default, dict | list) else default)
        yield from check_properties(validator, properties, instance, subschema)

    return validators.extend(Draft202012Validator, {"properties": fill})(schema)


def _sentence(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "the configuration"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{place}: unknown key {unknown!r}{_nearest(unknown, known)}; known here are {', '.join(sorted(known))}."
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{place}: the key {missing!r} is missing; see config/config.yaml for what it means."
    if error.validator == "type" and not _hint(error):
        if error.instance is None:  # such as a section with nothing but comments
            return f"{place}: nothing is given here; leave the key out, or see config/config.yaml for what it takes."
        wanted = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        return f"{place}: {error.instance!r} is not of type {wanted}."
    return f"{place}: {_hint(error) or error.message}."


def _hint(error: jsonschema.ValidationError | None) -> str | None:
    """The schema's own words for the rule that was broken, or for the one that it is part of."""
    while error is not None:
        if hint := error.schema.get("x-hint"):
            return hint
        error = error.parent
    return None


def _nearest(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    match = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[match[0]]!r}?)" if match else ""


def _refuse_same_names(styles: list[str]) -> None:
    seen: dict[str, str] = {}
    for style in styles:
        other = seen.get(style.lower())
        seen[style.lower()] = style
        if other is not None:
            raise ConfigError(
                f"captions.prompt_styles: {other!r} and {style!r} would write the same file; name each style once."
            )
