"""Text files that stay below a size: records go into NAME-00000.SUFFIX until the next one would be too much."""

from types import TracebackType
from typing import Self, TextIO

from captionqa.export.target import Target

#: The name of a file that may be followed by more, by its number.
PIECE = "{name}-{number:05d}.{suffix}"


class Pieces:
    """Writes records one after another; a record larger than the limit is alone in its file.

    Each file is `head`, the records with `between` between them, and `tail`. There is one file at least. Use it as a
    context manager.
    """

    def __init__(self, target: Target, name: str, suffix: str, head: str = "", between: str = "", tail: str = ""):
        self._target = target
        self._name, self._suffix = name, suffix
        self._head, self._between, self._tail = head, between, tail
        self._number = 0
        self._file, self._bytes, self._is_empty = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._file.write(self._tail)
        self._file.close()

    def add(self, text: str) -> None:
        size = len(text.encode()) + len(self._between)
        if not self._is_empty and self._bytes + size + len(self._tail) > self._target.shard_bytes:
            self._file.write(self._tail)
            self._file.close()
            self._number += 1
            self._file, self._bytes, self._is_empty = self._open()
        self._file.write(text if self._is_empty else self._between + text)
        self._bytes += size
        self._is_empty = False

    def _open(self) -> tuple[TextIO, int, bool]:
        name = PIECE.format(name=self._name, number=self._number, suffix=self._suffix)
        file = open(self._target.folder / name, "w", encoding="utf-8", newline="")  # noqa: SIM115 - closed by the next
        file.write(self._head)
        return file, len(self._head), True
