"""Presets: how a known data set is read, and its questions asked and scored, a YAML file each."""

import difflib
from collections.abc import Mapping, Sequence
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
#: The folder of the presets of `captions`, the keys of their files, and those that the configuration gets.
CAPTION_FOLDER = FOLDER / "captions"
GIVEN_KEYS = ("read_as", "columns")
CAPTION_KEYS = ("about", "source", *GIVEN_KEYS)


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


def preset_names(folder: Path = FOLDER) -> list[str]:
    """The names of the presets of a folder of the package; by default those for questions."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


@cache
def load_preset(name: str) -> Preset:
    """A preset by its name, or a user's own by the path of its file.

    Raises:
        ConfigError: there is none, or its file is not one.
    """
    path, stored = _stored("qa.preset", name, FOLDER)
    if not isinstance(stored, dict) or not isinstance(stored.get("layouts"), list) or not stored["layouts"]:
        raise ConfigError(f"qa.preset: {path} has no list of layouts; take one of {FOLDER} as a model.")
    _refuse_unknown("qa.preset", path, stored, KEYS)
    if (wrong := next((one for one in stored["layouts"] if not _is_layout(one)), None)) is not None:
        raise ConfigError(
            f"qa.preset: {path} has the layout {wrong!r}, which is no mapping of qa.columns, with `has` as a list of "
            f"columns; take one of {FOLDER} as a model."
        )
    return Preset(
        path.stem,
        str(stored.get("about", path.stem)),
        str(stored.get("source", "")),
        {key: stored[key] for key in QA_KEYS if key in stored},
        tuple(map(_layout, stored["layouts"])),
    )


def load_caption_preset(name: str) -> Mapping[str, Any]:
    """The values of `captions` that a preset gives, by its name, or by the path of a user's own file.

    Raises:
        ConfigError: there is none, or its file is not one.
    """
    path, stored = _stored("captions.preset", name, CAPTION_FOLDER)
    if not isinstance(stored, dict) or not isinstance(stored.get("columns", {}), dict):
        raise ConfigError(f"captions.preset: {path} is no mapping of keys; take one of {CAPTION_FOLDER} as a model.")
    _refuse_unknown("captions.preset", path, stored, CAPTION_KEYS)
    return {key: stored[key] for key in GIVEN_KEYS if key in stored}


def _stored(key: str, name: str, folder: Path) -> tuple[Path, Any]:
    """The file of a preset, by its name in `folder` or by its path, and what is in it; raises ConfigError."""
    is_path = name.endswith((".yaml", ".yml")) or "/" in name
    path = Path(name).expanduser() if is_path else folder / f"{name}.yaml"
    if not path.is_file():
        known = preset_names(folder)
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"{key}: there is no preset {name!r}{hint}; known are {', '.join(known)}, and any file by its path."
        )
    try:
        return path, yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error


def _refuse_unknown(key: str, path: Path, stored: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in stored if name not in known]:
        raise ConfigError(f"{key}: {path} has the unknown key {unknown[0]!r}; known are {', '.join(known)}.")


def _is_layout(stored: Any) -> bool:
    has = stored.get("has", []) if isinstance(stored, dict) else None
    return isinstance(has, list) and all(isinstance(column, str) for column in has)


def _layout(stored: Mapping[str, Any]) -> Layout:
    columns = {key: value for key, value in stored.items() if key not in LAYOUT_KEYS}
    return Layout(columns, tuple(stored.get("has", ())), bool(stored.get("only", False)))
