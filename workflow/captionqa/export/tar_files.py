"""Tars that stay below a size, with the members of a sample together, and no times or owners in them."""

import io
import tarfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from captionqa.export.json_text import file_name
from captionqa.export.target import Target

#: What a member takes beside its content: its header, and where its name is long that of the name.
HEADER_BYTES, NAME_IN_HEADER = tarfile.BLOCKSIZE, 100

#: (name, content) of the members of one sample.
Sample = Sequence[tuple[str, bytes]]


class TarFiles:
    """Writes samples into `stem-00000.tar` and so on, by the stem that `start` gives. Use it as a context manager."""

    def __init__(self, target: Target):
        self._target = target
        self._stem, self._is_numbered, self._number = "", False, 0
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def start(self, stem: str, is_numbered: bool) -> None:
        """Go on in the tars of this stem; where they are not numbered, the first is `stem.tar`."""
        if (stem, is_numbered) != (self._stem, self._is_numbered) or self._tar is None:
            self._stem, self._is_numbered, self._number = stem, is_numbered, 0
            self._open()

    def add(self, sample: Sample) -> None:
        assert self._tar is not None, "start comes first"
        room = self._target.shard_bytes - tarfile.RECORDSIZE
        if self._tar.offset and self._tar.offset + sum(map(_size, sample)) > room:
            self._number += 1
            self._open()
        for name, content in sample:
            info = tarfile.TarInfo(file_name(name))
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))

    def _open(self) -> None:
        self._close()
        while (path := self._target.folder / self._name()).exists():
            self._number += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._tar = tarfile.open(path, "x", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by the next

    def _name(self) -> str:
        number = f"-{self._number:05d}" if self._is_numbered or self._number else ""
        return f"{self._stem}{number}.tar"

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None


def _size(member: tuple[str, bytes]) -> int:
    name, content = member
    length = len(name.encode("utf-8", "surrogatepass"))
    long_name = HEADER_BYTES + _padded(length + 1) if length > NAME_IN_HEADER else 0
    return HEADER_BYTES + long_name + _padded(len(content))


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
