"""An image of a request, in the form in which it is sent: its bytes, the URL of a file that the server reads, or its
identity alone, where the server holds it.

The identity (`uuid`) is a digest of the bytes that are sent, so images are the same to a server exactly if their bytes
are. A file that the server reads may be another by then. So its identity also has the state of the file, by all that
the file system tells: a server that read another file keeps that under a name which nobody uses again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from blake3 import blake3

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

    def uuid(self, content: str) -> str:
        """The identity of the file as it is now, if its content has this digest."""
        try:
            found = os.stat(self.path)
        except OSError:
            return blake3(os.urandom(32)).hexdigest()
        state = self.url, self.stamp, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        return blake3(f"{content} {state}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image of a request."""

    #: What stands in the request: a data URL, or with a reference the file's URL; None until `whole` makes it.
    url: bytes | None
    #: The file that the server is to read; None for a data URL.
    reference: FileReference | None = None
    #: With a reference: what the client read of the file, to be sent where the reference is of no use.
    image: EncodedImage | None = None
    #: The identity by which a server may keep the image.
    uuid: str | None = None
    #: Without a URL: makes the part with one. Raises ItemFailure where the file cannot be read any more.
    make: "Callable[[], ImagePart] | None" = None

    @classmethod
    def of(cls, image: EncodedImage, reference: FileReference | None, content: str | None = None) -> "ImagePart":
        """An image as a reference, or in bytes where there is none or the file must not be sent as it is.

        `content` is the digest of its bytes, of which its identity is made; None where it is to have none.
        """
        if reference is not None and image.is_untouched:
            return cls(reference.url, reference, image, content and reference.uuid(content))
        return cls(image.data_url(), uuid=content)

    def in_bytes(self) -> "ImagePart":
        """The same image in bytes, without an identity: what a server read from a file may be kept under that."""
        return self if self.image is None else ImagePart(self.image.data_url())

    def whole(self) -> "ImagePart":
        """The same image with its URL."""
        return self if self.make is None else self.make()


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
