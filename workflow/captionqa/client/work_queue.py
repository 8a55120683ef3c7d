"""A bounded queue that wakes its producer only when half empty: a wake-up costs more than handing over an item."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """Holds up to `capacity` items in their order, for one producer and any number of consumers.

    No lock is needed: the queue locks for itself, and `_half_empty` only ends the producer's wait.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._half_empty = threading.Event()

    def __len__(self) -> int:
        return self._items.qsize()

    def put(self, item: T, heartbeat: Callable[[], None], heartbeat_s: float) -> None:
        """Add an item; if the queue is full then, wait until it is half empty.

        `heartbeat` is called every `heartbeat_s` seconds of the wait; what it raises ends the wait.
        """
        self._items.put(item)
        if self._items.qsize() < self._capacity:
            return
        while True:
            self._half_empty.clear()
            if self._items.qsize() <= self._capacity // 2:
                return
            self._half_empty.wait(heartbeat_s)
            heartbeat()

    def put_back(self, item: T) -> None:
        """Add an item that was taken before, whatever the capacity."""
        self._items.put(item)

    def take(self) -> T:
        """The next item; waits for one."""
        item = self._items.get()
        if self._items.qsize() <= self._capacity // 2:
            self._half_empty.set()
        return item
