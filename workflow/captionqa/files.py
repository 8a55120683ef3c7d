"""Files that are either whole or absent: atomic writes, JSON, JSON lines with a torn end, and a word on full disks."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any, Self, TextIO

from captionqa.errors import DiskFullError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
STALE_TRIES = 5
#: Of a file's name, that its temporary one begins with: the rest has to fit into 255 bytes.
PREFIX_CHARACTERS = 100
#: Read at a time of a file of JSON lines.
BLOCK_BYTES = 32 * 1024
#: Of a file of lines in the making: what is kept in memory.
LINES_IN_MEMORY_BYTES = 8 * 1024 * 1024
_INDENTED = json.JSONEncoder(ensure_ascii=False, indent=2)
_COMPACT = json.JSONEncoder(separators=(",", ":"))


@contextmanager
def full_disk_named(folder: str | os.PathLike) -> Iterator[None]:
    """Raise DiskFullError, an OSError, where there is no room for what the block writes into the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise DiskFullError(folder) from error


@contextmanager
def atomic_writer(path: str | os.PathLike, mode: int = 0o644) -> Iterator[TextIO]:
    """Open a text file that takes its name only when the block ends without an error.

    The data reaches the disk before the name does, so a full disk or a crash leaves the old file as it was. A lone
    surrogate (a file name that is not UTF-8) is written as JSON's own escape for it. Raises DiskFullError, an OSError.
    """
    path = Path(path)
    with full_disk_named(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_temporary_prefix(path))
        try:
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _temporary_prefix(path: Path) -> str:
    return f".{path.name[:PREFIX_CHARACTERS]}."


def write_json(path: str | os.PathLike, value: Any, mode: int = 0o644) -> None:
    with atomic_writer(path, mode) as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")


@contextmanager
def json_object_writer(path: str | os.PathLike) -> Iterator[Callable[[str, Any], None]]:
    """Write a JSON object pair by pair, so that its size does not matter: gives what takes each key and its value.

    Like every atomic file it is there once the block ends without an error. It has one writer at a time, so that what
    a killed one has left behind, which may be large, can go.
    """
    path = Path(path)
    if len(path.name) <= PREFIX_CHARACTERS:  # a longer one may share its beginning with a neighbour
        for remains in path.parent.glob(f"{escape(_temporary_prefix(path))}????????"):
            remains.unlink(missing_ok=True)
    with atomic_writer(path) as file:
        comma, end = "", "}\n"
        file.write("{")

        def add(key: str, value: Any) -> None:
            nonlocal comma, end
            body = _INDENTED.encode(value).replace("\n", "\n  ")
            file.write(f"{comma}\n  {_INDENTED.encode(key)}: {body}")
            comma, end = ",", "\n}\n"

        yield add
        file.write(end)


def read_json(path: str | os.PathLike) -> Any | None:
    """The file's value; None where the file is missing or is not JSON (being written by an older system)."""
    for _ in range(STALE_TRIES):
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno != errno.ESTALE:  # replaced on another machine of a network file system: open it anew
                raise
    return None


def json_line(value: Any) -> str:
    return _COMPACT.encode(value) + "\n"


class LineFile:
    """Lines of JSON that become a file once they are all there, such as one that is named by their digest. A context.

    Lines have to be ASCII, as `json_line` makes them. What does not fit in memory is in a file without a name.
    """

    def __init__(self, folder: str | os.PathLike):
        self.count = 0
        self._digest = hashlib.blake2b(digest_size=6)
        os.makedirs(folder, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(LINES_IN_MEMORY_BYTES, dir=folder)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, line: str) -> None:
        data = line.encode("ascii")
        self.count += 1
        self._digest.update(data + b"\n")
        self._file.write(data)

    def digest(self) -> str:
        return self._digest.hexdigest()

    def save(self, path: str | os.PathLike) -> None:
        """Write the lines to a file, atomically."""
        self._file.seek(0)
        with atomic_writer(path) as file:
            shutil.copyfileobj(self._file, file.buffer)

    def close(self) -> None:
        self._file.close()


def read_json_lines(path: str | os.PathLike) -> Iterator[Any]:
    """The values of a file of JSON lines; a line that is not whole (a writer was killed) is passed over.

    The file is open only while a block of it is read: a merge reads from more files at a time than a process may open.
    """
    offset = 0
    while True:
        with open(path, "rb") as file:
            file.seek(offset)
            lines = file.readlines(BLOCK_BYTES)
            offset = file.tell()
        if not lines:
            return
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue
