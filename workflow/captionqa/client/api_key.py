"""The API key of a run's servers as its clients last read it."""

from collections.abc import Callable


class ApiKey:
    """The key, shared by all threads of a client.

    No lock is needed: a thread that uses an old key is refused, and then reads the new one.
    """

    def __init__(self, read: Callable[[], str | None]):
        """`read` gives the key as it is on disk now; None where the servers have none."""
        self.read = read
        #: The key to use.
        self.value = read()
