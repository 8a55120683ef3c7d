"""An image of an item: where it is, and what was read of it."""

from collections.abc import Callable
from typing import Self

from blake3 import blake3

from captionqa.client.journal import FileMark
from captionqa.client.known_images import KnownImage
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.image_memory import LARGE_FILE_BYTES, bytes_ahead
from captionqa.dataset.image_ref import ImageRef, UrlRef
from captionqa.dataset.image_source import ImageSource
from captionqa.dataset.item_entry import Stamp
from captionqa.errors import ItemFailure, Reason

DIGEST_BYTES = 12


class ItemFile:
    """An image of an item. Belongs to one thread at a time."""

    def __init__(self, name: str, source: ImageSource, planned: list[int] | None, changed: ChangedFiles):
        #: Its reference, as the item list has it.
        self.name = name
        self.source = source
        #: The digest of its content; empty until it is read or found in the journal.
        self.digest = ""
        #: The whole digest of the bytes that were read, of which `digest` is the beginning; empty until then.
        self.content = ""
        #: From the plan; only its first two numbers are of the file.
        self.planned = planned
        #: The same, or None where the file with this content is another one.
        self._stamp = planned
        self._changed = changed

    @classmethod
    def find(
        cls, name: str, find: Callable[[str], ImageSource], planned: list[int] | None, changed: ChangedFiles
    ) -> Self:
        """The image that `find` finds by its reference; raises as that does."""
        try:
            return cls(name, find(name), planned, changed)
        except ItemFailure as failure:
            if failure.reason is Reason.MISSING_IMAGE and not isinstance(ImageRef.parse(name), UrlRef):
                _note_vanished(name, planned, changed)
            raise

    def read(self) -> bytes:
        """The bytes; raises as `ImageSource.read` does."""
        try:
            data, stamp = self.source.read()
        except ItemFailure as failure:
            if failure.reason is Reason.MISSING_IMAGE and self.source.file() is not None:
                _note_vanished(self.name, self.planned, self._changed)
            raise
        self.content = whole_digest(data)
        self.digest = self.content[: 2 * DIGEST_BYTES]
        self._stamp = self.planned
        if self.planned is not None and (self.planned[0], self.planned[1]) != stamp:
            self._stamp = None
            self._changed.add(self.name, self.planned)
        return data

    def stamp(self) -> Stamp | None:
        """The planned stamp; None where the file that was read has another."""
        return None if self._stamp is None else (self._stamp[0], self._stamp[1])

    def is_still(self, known: KnownImage) -> bool:
        """Whether the file is, unread, the one that was read before; then its digest is known."""
        if self.source.stamp() != known.stamp:
            return False
        self.digest, self._stamp = known.digest, self.planned
        return True

    def mark(self) -> FileMark:
        return self.name, self._stamp, self.digest

    def key(self) -> str:
        """The file by its name and stamp, for the notes of what is being decoded."""
        return f"{self.name}\0{self.planned}"

    def bytes_ahead(self, budget_px: Callable[[], int | None]) -> int:
        """The memory that a large file takes in hand, 0 for any other; `budget_px` gives how many pixels are sent."""
        if self.planned is None or self.planned[0] < LARGE_FILE_BYTES or (path := self.source.file()) is None:
            return 0
        return bytes_ahead(path, self.planned[0], budget_px())

    def matches_unread(self, mark: FileMark) -> bool:
        """Whether a mark's name and stamp are those of the file, whose digest is known then."""
        name, stamp, digest = mark
        if self.name != name or self.planned is None or self.planned != stamp:
            return False
        self.digest = digest
        return True


def _note_vanished(name: str, planned: list[int] | None, changed: ChangedFiles) -> None:
    """Note a missing file that was there when the run was planned: once it is back, its stamp is as planned again."""
    if planned is not None:
        changed.add(name, planned)


def content_digest(data: bytes) -> str:
    """The digest by which journals and chunk results know a content."""
    return blake3(data).hexdigest(DIGEST_BYTES)


def whole_digest(data: bytes) -> str:
    """The digest that tells contents apart even where somebody makes some to deceive; `content_digest` is its start."""
    return blake3(data).hexdigest()
