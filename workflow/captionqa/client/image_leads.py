"""The first request about an image goes ahead, and the next ones wait until the server holds it.

Requests about one image come together. Sent at once, each would bring the image, and the server would decode it each
time before it finds that another request has brought it.
"""

import threading
from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Turn(Enum):
    """What to do with a request about images."""

    #: Send it, and call `end` afterwards.
    LEAD = "lead"
    #: Leave it: `end` returns it to the caller that leads.
    WAIT = "wait"
    #: Send it: the servers have no room to hold more images until they are asked about again.
    GO = "go"


class ImageLeads(Generic[Waiter]):
    """Which images are on their way with a first request, and who waits; safe to share between threads.

    `_lock` guards the dictionary.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[Waiter]] = {}

    def join(self, images: Hashable, waiter: Waiter, room: int) -> Turn:
        """What the caller is to do with a request about images; `room` is how many may be on their way."""
        with self._lock:
            if images in self._waiting:
                self._waiting[images].append(waiter)
                return Turn.WAIT
            if len(self._waiting) >= room:
                return Turn.GO
            self._waiting[images] = []
            return Turn.LEAD

    def end(self, images: Hashable) -> list[Waiter]:
        """Who waited for the images while the caller was ahead."""
        with self._lock:
            return self._waiting.pop(images)
