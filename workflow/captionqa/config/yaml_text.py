"""YAML of the user: read, and where it is none, the line that is at fault."""

from pathlib import Path
from typing import Any

import yaml

from captionqa.errors import ConfigError

#: What the parser says about a second colon in a line, and about a tab before a key.
SECOND_COLON = "mapping values are not allowed here"
TAB = "cannot start any token"


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_fault(path, text.splitlines(), error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _fault(path: Path, lines: list[str], error: yaml.MarkedYAMLError) -> str:
    problem, mark = error.problem or "it is no YAML", error.problem_mark
    if mark is None:
        return f"{path}: {problem}."
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = f"{path} line {mark.line + 1}: {line.strip()!r}"
    if problem == SECOND_COLON and ": " in line[: mark.column + 1]:
        return f"{place} needs quotes around the text after the first colon."
    if TAB in problem and "\t" in line:
        return f"{place} is indented with a tab; use spaces."
    return f"{place}: {problem}."
