"""The state of a plan's inputs: a digest that stays the same as long as planning again would give the same plan."""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from captionqa import PACKAGE

#: The rooms whose code can change a plan; a new version of any other room keeps the plan.
DECIDING_ROOMS = ("config", "grading", "dataset")
#: A question file modified less than this before may change again with the same size and time, since some file systems
#: record whole seconds.
YOUNG_S = 3.0


def inputs_digest(*values: object) -> str:
    """A digest of what decides a plan beside the images: these values, and the code that plans."""
    digest = hashlib.blake2b(repr(values).encode("utf-8", "surrogateescape"), digest_size=16)
    for module in deciding_modules():
        digest.update(module.read_bytes())
    return digest.hexdigest()


def question_inputs_digest(files: Iterable[Path], *values: object) -> str:
    """As `inputs_digest`, for questions, with what shows a change of their files.

    Empty where one is missing or so young that its next change might not show.
    """
    stamps = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            return ""
        if time.time() - stat.st_mtime < YOUNG_S:
            return ""
        stamps.append((file, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return inputs_digest("qa", *values, *stamps)


def deciding_modules() -> list[Path]:
    """The source files that can change a plan of the same data: the ground modules and the deciding rooms."""
    rooms = (module for room in DECIDING_ROOMS for module in (PACKAGE / room).rglob("*.py"))
    return sorted([*PACKAGE.glob("*.py"), *rooms])
