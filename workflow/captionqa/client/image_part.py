"""An image of a request, in the form in which it is sent: its bytes, or the URL of a file that the server reads."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from captionqa.dataset.image_encoding import EncodedImage
from captionqa.dataset.item_entry import Stamp


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file that a request names for the server to read."""

    #: Its real path.
    path: Path
    url: bytes
    #: That of the file which the client read, taken before it did.
    stamp: Stamp

    @classmethod
    def to(cls, path: Path, stamp: Stamp) -> "FileReference | None":
        """A reference to a file; None where its name has no URL."""
        url = file_url(path)
        return None if url is None else cls(path, url, stamp)

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that the client read."""
        return _stamp(self.path) == self.stamp


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image of a request."""

    #: What stands in the request: a data URL, or the file's URL where there is a reference.
    url: bytes
    #: The file that the server is to read; None for a data URL.
    reference: FileReference | None = None
    #: With a reference: what the client read of the file, to be sent where the reference is of no use.
    image: EncodedImage | None = None

    @classmethod
    def of(cls, image: EncodedImage, reference: FileReference | None) -> "ImagePart":
        """An image as a reference, or in bytes where there is none or the file must not be sent as it is."""
        if reference is not None and image.is_untouched:
            return cls(reference.url, reference, image)
        return cls(image.data_url())

    def in_bytes(self) -> "ImagePart":
        return self if self.image is None else ImagePart(self.image.data_url())


def file_url(path: Path) -> bytes | None:
    """The URL of a file by its absolute path.

    None for a name that is not UTF-8: vLLM would decode its URL to another name.
    """
    try:
        return b"file://" + quote(str(path)).encode()
    except UnicodeEncodeError:
        return None


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
