"""Script data: values that a page loads as scripts, since a page from the disk may read no other files."""

import json
from pathlib import Path
from typing import Any

from captionqa.files import atomic_writer

#: The function of page.js that takes a value.
RECEIVER = "captionqaPage.receive"


def script(name: str, value: Any) -> str:
    """A script that hands a JSON value to the page under a name.

    The value is JSON in a text, since browsers read that several times faster than the same as code. It is ASCII, so
    that no line separator ends the text, and has no "<", so that it could stand in HTML.
    """
    text = json.dumps(json.dumps(value, separators=(",", ":")))
    return f"{RECEIVER}({json.dumps(name)},{text});\n".replace("<", "\\u003c")


def write_script(folder: Path, name: str, value: Any) -> None:
    """Write the script of a value as `name`.js, atomically; raises DiskFullError."""
    with atomic_writer(folder / f"{name}.js") as file:
        file.write(script(name, value))
