"""The first request about an image goes ahead, and the next ones wait until the server holds it.

Requests about one image come together. Sent at once, each would bring the image, and the server would decode it each
time before it finds that another request has brought it.

Where no server holds the image after the first request, as one that changed or that servers reject, the next ones would
go one after another. They go at once.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

#: The most requests that wait, for all images together: a chunk may have any number about one.
MAX_WAITING = 1000
#: How many of the images are remembered that no server held after their first request.
MAX_LED_IN_VAIN = 1000

Waiter = TypeVar("Waiter")


class Turn(Enum):
    """What to do with a request about images."""

    #: Send it, and call `end` afterwards.
    LEAD = "lead"
    #: Leave it: `end` returns it to the caller that leads.
    WAIT = "wait"
    #: Send it: waiting would gain nothing, or the servers have no room to hold more images until the next requests.
    GO = "go"


class ImageLeads(Generic[Waiter]):
    """Which images are on their way with a first request, and who waits; safe to share between threads.

    `_lock` guards all that changes here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[Waiter]] = {}
        #: How many wait in all.
        self._count = 0
        self._led_in_vain: OrderedDict[Hashable, None] = OrderedDict()

    def join(self, images: Hashable, waiter: Waiter, room: int) -> Turn:
        """What the caller is to do with a request about images; `room` is how many may be on their way."""
        with self._lock:
            if images in self._waiting and self._count < MAX_WAITING:
                self._waiting[images].append(waiter)
                self._count += 1
                return Turn.WAIT
            if images in self._waiting or images in self._led_in_vain or len(self._waiting) >= room:
                return Turn.GO
            self._waiting[images] = []
            return Turn.LEAD

    def __len__(self) -> int:
        """How many requests wait."""
        return self._count

    def end(self, images: Hashable, in_vain: bool) -> list[Waiter]:
        """Who waited for the images while the caller was ahead; `in_vain` says that no server holds them now."""
        with self._lock:
            if in_vain:
                self._led_in_vain[images] = None
                if len(self._led_in_vain) > MAX_LED_IN_VAIN:
                    self._led_in_vain.popitem(last=False)
            waiting = self._waiting.pop(images)
            self._count -= len(waiting)
            return waiting
