"""Presets: how the questions of a known data set are read, asked and scored, a YAML file each."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from captionqa import PACKAGE
from captionqa.errors import ConfigError

FOLDER = PACKAGE / "dataset" / "presets"
#: The keys of `qa` that a preset gives where the configuration does not.
QA_KEYS = ("answer_is", "scoring", "relative_tolerance", "instruction")
#: The keys of a preset's file, and those of its layouts beside the ones of `qa.columns`.
KEYS = ("about", "source", "layouts", *QA_KEYS)
LAYOUT_KEYS = ("has", "only")


@dataclass(frozen=True)
class Layout:
    """One form in which a data set is published."""

    #: The values of `qa.columns`.
    columns: Mapping[str, Any]
    #: Further columns by which the form is known.
    has: tuple[str, ...]
    #: Whether a file of this form has the named columns and no other.
    only: bool


@dataclass(frozen=True)
class Preset:
    """What a preset's file says."""

    name: str
    about: str
    #: Where the columns, the scoring and the prompt are from.
    source: str
    #: Values of `qa`, by key.
    qa: Mapping[str, Any]
    layouts: tuple[Layout, ...]


def preset_names() -> list[str]:
    """The names of the presets that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load_preset(name: str) -> Preset:
    """A preset by its name, or a user's own by the path of its file.

    Raises:
        ConfigError: there is none, or its file is not one.
    """
    is_path = name.endswith((".yaml", ".yml")) or "/" in name
    path = Path(name).expanduser() if is_path else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = preset_names()
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"qa.preset: there is no preset {name!r}{hint}; known are {', '.join(known)}, and any file by its path."
        )
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"qa.preset: {path} cannot be read: {error}") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("layouts"), list) or not stored["layouts"]:
        raise ConfigError(f"qa.preset: {path} has no list of layouts; take one of {FOLDER} as a model.")
    if unknown := [key for key in stored if key not in KEYS]:
        raise ConfigError(f"qa.preset: {path} has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}.")
    return Preset(
        path.stem,
        str(stored.get("about", path.stem)),
        str(stored.get("source", "")),
        {key: stored[key] for key in QA_KEYS if key in stored},
        tuple(map(_layout, stored["layouts"])),
    )


def _layout(stored: Mapping[str, Any]) -> Layout:
    columns = {key: value for key, value in stored.items() if key not in LAYOUT_KEYS}
    return Layout(columns, tuple(stored.get("has", ())), bool(stored.get("only", False)))
