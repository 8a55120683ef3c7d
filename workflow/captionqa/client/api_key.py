"""The API keys of a run's servers as its clients last read them."""

from contextlib import suppress
from pathlib import Path

from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import Endpoint


class ApiKeys:
    """The keys, shared by all threads of a client.

    No lock is needed: a thread that uses an old key is refused, and then reads the new one.
    """

    def __init__(self, folder: Path, own: bool):
        """`folder` holds the files of keys; `own` says that captionqa started the servers."""
        self._folder = folder
        self.own = own
        #: By (start request, replica, generation): each generation of an own server has another key.
        self._known: dict[tuple[str, int, int], str | None] = {}

    def of(self, server: Endpoint) -> str | None:
        """The key to use; None where an existing server asks for none, or where that of an own one is not known yet."""
        identity = _identity(server)
        return self._known[identity] if identity in self._known else self.read(server)

    def read(self, server: Endpoint) -> str | None:
        """The key as it is on disk now, which is used from now on."""
        key = None
        with suppress(OSError):  # of a flickering file system
            key = generation_key.read(self._folder, server) if self.own else endpoint.read_key(self._folder)
            if key is not None or not self.own:
                self._known[_identity(server)] = key
        return key


def _identity(server: Endpoint) -> tuple[str, int, int]:
    return server.request_id, server.replica, server.generation
