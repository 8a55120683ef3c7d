"""Files that are either complete or absent: atomic writes, JSON, lines of JSON that a checksum proves, full disks."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any, Self, TextIO

from captionqa.errors import ConfigError, DiskFullError

AnyPath = str | os.PathLike[str]

#: Error numbers of a full disk and of a used-up quota.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: How often a file is opened again that was replaced on another machine of a network file system.
STALE_TRIES = 5
#: Characters of a file's name with which its temporary name begins. The rest of that name must fit into 255 bytes.
PREFIX_CHARACTERS = 100
#: Bytes read at a time from a file of JSON lines.
BLOCK_BYTES = 32 * 1024
#: Bytes that a `LineFile` keeps in memory before it spills to disk.
LINES_IN_MEMORY_BYTES = 8 * 1024 * 1024
#: What a checked line ends with, before eight hexadecimal digits and `"}`: so it is JSON for any other reader, too.
CHECKSUM = b',"crc":"'
CHECKSUM_BYTES = len(CHECKSUM) + len('01234567"}')
_INDENTED = json.JSONEncoder(ensure_ascii=False, indent=2)
_COMPACT = json.JSONEncoder(separators=(",", ":"), check_circular=False)


@contextmanager
def full_disk_named(folder: AnyPath) -> Iterator[None]:
    """Turn the error of a full disk under `folder` into DiskFullError, which is an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise disk_full_error(folder) from error


def disk_full_error(folder: AnyPath) -> DiskFullError:
    """The error of the full disk that `folder` is on, or would be on."""
    return DiskFullError(folder, out_of_inodes(folder))


def out_of_inodes(folder: AnyPath, spare: int = 0) -> bool:
    """Whether the disk of `folder` can take at most `spare` further files, however small."""
    path = Path(folder).absolute()
    try:
        disk = os.statvfs(next(place for place in (path, *path.parents) if place.exists()))
    except OSError:
        return False
    return disk.f_files > 0 and disk.f_favail <= spare  # some file systems count no inodes


def not_through_link(path: str, flags: int) -> int:
    """Open a file to be written in place, as an `opener` of `open` does; a link in its place is refused.

    Who may write to the folder could have put it there, so that this user's process spoils another file of this user.

    Raises:
        OSError: also where the path is a link.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def remove_json_files(folder: AnyPath) -> None:
    """Remove the files `*.json` of a folder, where there is one.

    Raises:
        ConfigError: a link is in its place, which may lead to any folder of this user.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise ConfigError(f"{folder} is a link or a file where a folder should be; delete it.") from error
    try:
        for name in os.listdir(descriptor):
            if name.endswith(".json"):
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_writer(path: AnyPath, mode: int = 0o644) -> Iterator[TextIO]:
    """Open a text file that appears under its name only when the block ends without an error.

    The data is on the disk before the file is renamed, so a crash or a full disk leaves the old file as it was. A lone
    surrogate (of a file name that is not UTF-8) is written as JSON's escape for it.

    Raises:
        DiskFullError: the disk is full.
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
                # by its descriptor: whoever may write to the folder could put a link in the place of the name
                os.fchmod(descriptor, mode)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _temporary_prefix(path: Path) -> str:
    return f".{path.name[:PREFIX_CHARACTERS]}."


def write_json(path: AnyPath, value: Any, mode: int = 0o644) -> None:
    """Write a value as indented JSON, atomically; raises DiskFullError."""
    with atomic_writer(path, mode) as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")


@contextmanager
def large_file_writer(path: AnyPath) -> Iterator[TextIO]:
    """As `atomic_writer`, for a file that has one writer at a time: what a killed one left behind is removed first."""
    path = Path(path)
    if len(path.name) <= PREFIX_CHARACTERS:  # a longer name may share its prefix with another file
        for remains in path.parent.glob(f"{escape(_temporary_prefix(path))}????????"):
            remains.unlink(missing_ok=True)
    with atomic_writer(path) as file:
        yield file


@contextmanager
def json_object_writer(path: AnyPath) -> Iterator[Callable[[str, Any], None]]:
    """Write a JSON object of any size, as `large_file_writer`: yields a function that appends one key and its value."""
    with large_file_writer(path) as file:
        comma, end = "", "}\n"
        file.write("{")

        def add(key: str, value: Any) -> None:
            nonlocal comma, end
            body = _INDENTED.encode(value).replace("\n", "\n  ")
            file.write(f"{comma}\n  {_INDENTED.encode(key)}: {body}")
            comma, end = ",", "\n}\n"

        yield add
        file.write(end)


def read_json(path: AnyPath, opener: Callable[[str, int], int] | None = None) -> Any | None:
    """The value in a JSON file; None where the file is missing or holds no complete JSON. `opener` is as in `open`."""
    for _ in range(STALE_TRIES):
        try:
            with open(path, encoding="utf-8", opener=opener) as file:
                return json.load(file)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno != errno.ESTALE:  # the file was replaced on another machine: open the new one
                raise
    return None


def read_json_object(path: AnyPath) -> Iterator[tuple[str, Any]]:
    """The keys and values of an object that `json_object_writer` wrote, one at a time, so that any size fits in memory.

    Raises:
        ValueError: the file is no such object, or incomplete.
    """
    lines: list[str] = []
    with open(path, encoding="utf-8") as file:
        if (line := file.readline().rstrip()) not in ("{", "{}"):
            raise ValueError("its first line does not open an object")
        is_open = line == "{"
        for line in file:
            if not is_open:
                raise ValueError("text follows its end")
            if line[0] == "}":
                is_open = False
                continue
            lines.append(line)
            # a line of the object itself has two blanks before it, and the first of a value a quote after these
            ends = line.rstrip("\n").removesuffix(",")[2:]
            if ends in ("}", "]") or (len(lines) == 1 and line[2:3] == '"' and not ends.endswith(("{", "["))):
                yield from json.loads("{" + "".join(lines).rstrip().removesuffix(",") + "}").items()
                lines.clear()
    if is_open or lines:
        raise ValueError("its end is missing")


def json_line(value: Any) -> str:
    """A value as one line of compact ASCII JSON, line break included."""
    return _COMPACT.encode(value) + "\n"


class LineFile:
    """Collects JSON lines that become a file once they are complete, for example one named by their digest.

    Lines must be ASCII, as `json_line` makes them. Lines that do not fit in memory go to an unnamed file. Use it as a
    context manager.
    """

    def __init__(self, folder: AnyPath):
        self.count = 0
        self._digest = hashlib.blake2b(digest_size=6)
        os.makedirs(folder, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(LINES_IN_MEMORY_BYTES, dir=os.fspath(folder))  # noqa: SIM115 - closed by `close`

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
        """Twelve hexadecimal digits of the lines added so far."""
        return self._digest.hexdigest()

    def save(self, path: AnyPath) -> None:
        """Write the lines to a file, atomically; raises DiskFullError."""
        self._file.seek(0)
        with atomic_writer(path) as file:
            shutil.copyfileobj(self._file, file.buffer)

    def close(self) -> None:
        self._file.close()


def checked_line(value: Mapping[str, object]) -> str:
    """An object as `json_line` writes it, with a last member `crc`: the CRC-32 of all the text before that member."""
    text = _COMPACT.encode(value)[:-1]
    return f'{text}{CHECKSUM.decode()}{zlib.crc32(text.encode()):08x}"}}\n'


def read_json_lines(path: AnyPath) -> Iterator[Any]:
    """The values of a file of JSON lines; incomplete lines, which a killed writer leaves behind, are skipped."""
    for line in _read_lines(path):
        try:
            yield json.loads(line)
        except ValueError:
            continue


def read_checked_lines(path: AnyPath) -> Iterator[tuple[dict[str, Any] | None, bool]]:
    """Each line's object without its checksum, None for a damaged line, and whether the line has a checksum.

    A line without one, which an earlier version wrote, may be damaged and yet an object. An incomplete last line is
    skipped.
    """
    for line in _read_lines(path):
        text = line.rstrip(b"\n")
        checked = text[-CHECKSUM_BYTES:].startswith(CHECKSUM)
        if checked:
            before = text[:-CHECKSUM_BYTES]
            if text[-10:] != b'%08x"}' % zlib.crc32(before):
                yield None, True
                continue
            text = before + b"}"
        try:
            value = json.loads(text)
        except ValueError:
            if line.endswith(b"\n"):
                yield None, checked
            continue
        yield value if isinstance(value, dict) else None, checked


def _read_lines(path: AnyPath) -> Iterator[bytes]:
    """The lines of a file, which is open only while a block is read: a merge reads more files at once than a process
    may open."""
    offset = 0
    while True:
        with open(path, "rb") as file:
            file.seek(offset)
            lines = file.readlines(BLOCK_BYTES)
            offset = file.tell()
        if not lines:
            return
        yield from lines
