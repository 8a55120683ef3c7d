"""The first request about an image goes ahead, and the next ones wait until the server holds it.

Requests about one image come together. Sent at once, each would bring the image, and the server would decode it each
time before it finds that another request has brought it.
"""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class ImageLeads(Generic[Waiter]):
    """Which images are on their way with a first request, and who waits; safe to share between threads.

    `_lock` guards the dictionary.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[Waiter]] = {}

    def join(self, images: Hashable, waiter: Waiter) -> bool:
        """Whether the caller goes ahead and calls `end` afterwards; else the waiter is kept, and `end` returns it."""
        with self._lock:
            if images in self._waiting:
                self._waiting[images].append(waiter)
                return False
            self._waiting[images] = []
            return True

    def end(self, images: Hashable) -> list[Waiter]:
        """Who waited for the images while the caller was ahead."""
        with self._lock:
            return self._waiting.pop(images)
