"""A stock of items for threads to take, filled up by halves: to wake who fills it costs more than to hand one over."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Stock(Generic[T]):
    """Holds up to `size` items, in their order; one thread puts and any number take."""

    def __init__(self, size: int):
        self._size = size
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._half_empty = threading.Event()

    def put(self, item: T, beat: Callable[[], None], beat_s: float) -> None:
        """Add an item; where the stock is full then, wait until half of it is taken, with a `beat` every `beat_s`."""
        self._items.put(item)
        if self._items.qsize() < self._size:
            return
        while True:
            self._half_empty.clear()
            if self._items.qsize() <= self._size // 2:
                return
            self._half_empty.wait(beat_s)
            beat()

    def take(self) -> T:
        """The next item, as soon as there is one."""
        item = self._items.get()
        if self._items.qsize() <= self._size // 2:
            self._half_empty.set()
        return item
