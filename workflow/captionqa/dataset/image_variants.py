"""Paths of images as tables write them, and as the files are called: backslashes, percent signs, accents."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

#: What a path of plain letters may have that files are called otherwise for.
_UNUSUAL = re.compile(r"[\\%\s]|(?:^|/)\.")


class ImageVariants:
    """Finds the file that a table's path means."""

    def __init__(self, dataset: Path):
        self._dataset = str(dataset)

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    def find(self, path: str) -> str | None:
        """The path of the file relative to the data set; None where there is none by any of the ways to write it."""
        return next((name for name in path_variants(path) if self._is_file(name)), None)

    def _is_file(self, name: str) -> bool:
        try:
            return os.path.isfile(os.path.join(self._dataset, name))
        except ValueError:  # a null byte
            return False


def path_variants(path: str) -> Iterator[str]:
    """A path as it is, then as it may be meant: with slashes, without escapes, and with composed or split accents."""
    if path.isascii() and not _UNUSUAL.search(path):
        yield path
        return
    slashed = path.strip().replace("\\", "/")
    names = [path, slashed, unquote(slashed)]
    for form in ("NFC", "NFD"):
        names += [unicodedata.normalize(form, name) for name in (slashed, unquote(slashed))]
    yield from dict.fromkeys(os.path.normpath(name) if name != path and name else name for name in names)
