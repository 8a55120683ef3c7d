"""The members of a tar that is not compressed, from their headers alone: the content between them is not read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from captionqa.errors import InputError

BLOCK = 512
#: Bytes read at a time: a header, and often the small members and the headers behind it.
READ_BYTES = 4096
#: The most bytes of an extended header.
MAX_EXTENDED = 1 << 20
NAME, SIZE, CHECKSUM, PREFIX = slice(0, 100), slice(124, 136), slice(148, 156), slice(345, 500)
#: Kinds of members: plain files, and those that say something about the next member.
FILE_KINDS = (b"0", b"\0", b"7")
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL = b"L", b"K", b"x", b"g"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    #: Where its bytes begin, and how many they are.
    offset: int
    size: int


def tar_members(path: Path, where: str) -> Iterator[Member]:
    """Yield the files of a tar in their order; links, folders and devices are left out.

    Raises:
        InputError: the file is empty, compressed, cut or damaged; `where` names it.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield from _Headers(descriptor, where).members()
    finally:
        os.close(descriptor)


class _Headers:
    """The headers of one tar; `_start` and `_block` are the part of it that was read last."""

    def __init__(self, descriptor: int, where: str):
        self._descriptor = descriptor
        self._where = where
        self._end = os.fstat(descriptor).st_size
        self._start, self._block = 0, b""

    def members(self) -> Iterator[Member]:
        if not self._end:
            raise InputError(f"{self._where} is empty; make it again, or leave it out.")
        offset, name, size = 0, None, None
        last = "its first header"
        while header := self._read(offset, BLOCK):
            if not header.strip(b"\0"):  # the end, however much follows
                return
            if len(header) < BLOCK or not _is_header(header):
                raise self._damage(header, offset, last)
            own_size, kind, content = _number(header[SIZE]), header[156:157], offset + BLOCK
            is_file = kind in FILE_KINDS
            size_now = size if is_file and size is not None else own_size
            called = name or _name(header)
            if content + size_now > self._end:
                raise InputError(
                    f"{self._where} is cut: it ends within {called!r}; make or download it again, or leave it out."
                )
            if kind == LONG_NAME:
                name = _text(self._read(content, min(own_size, MAX_EXTENDED)).rstrip(b"\0"))
            elif kind == PAX:
                name, size = _extended(self._read(content, min(own_size, MAX_EXTENDED)), name, size)
            elif kind not in (LONG_LINK, PAX_GLOBAL):
                last, name, size = called, None, None
                if is_file and not called.endswith("/"):
                    yield Member(called, content, size_now)
            offset = content + -(-size_now // BLOCK) * BLOCK

    def _read(self, offset: int, size: int) -> bytes:
        at = offset - self._start
        if not 0 <= at <= len(self._block) - size:
            self._start, at = offset, 0
            self._block = os.pread(self._descriptor, max(READ_BYTES, size), offset)
        return self._block[at : at + size]

    def _damage(self, header: bytes, offset: int, last: str) -> InputError:
        kind = next((kind for magic, kind in COMPRESSED.items() if offset == 0 and header.startswith(magic)), None)
        if kind is not None:
            return InputError(
                f"{self._where} is compressed by {kind}, and a member of such a file cannot be read without all "
                "before it; unpack it to a plain .tar (images hardly shrink by compression)."
            )
        if offset == 0:
            return InputError(f"{self._where} is no tar: its first header is damaged.")
        return InputError(f"{self._where} is damaged after {last!r}; make or download it again, or leave it out.")


def _is_header(header: bytes) -> bool:
    try:
        stated = int(header[CHECKSUM].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return stated == sum(header) - sum(header[CHECKSUM]) + 8 * ord(" ")


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 where it begins with the highest bit."""
    if field[0] & 0x80:
        return int.from_bytes(field) & (1 << 8 * len(field) - 1) - 1
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return 0


def _name(header: bytes) -> str:
    name = _text(header[NAME].partition(b"\0")[0])
    if header[345] and header[257:263] == b"ustar\0":  # GNU tar keeps times there
        prefix = _text(header[PREFIX].partition(b"\0")[0])
        return f"{prefix}/{name}"
    return name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _extended(content: bytes, name: str | None, size: int | None) -> tuple[str | None, int | None]:
    """The name and the size that a pax header gives to the next member; its records are `LENGTH KEY=VALUE\\n`."""
    while content:
        length, _, rest = content.partition(b" ")
        if not length.isdigit() or not 0 < (end := int(length)) <= len(content):
            break
        key, _, value = rest[: end - len(length) - 2].partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size" and value.isdigit():
            size = int(value)
        content = content[end:]
    return name, size
