"""The limit on requests in flight, and counts of the requests that passed it."""

import threading


class InFlightLimiter:
    """A semaphore of `limit` requests whose limit can change while it is used; safe to share between threads.

    `_lock` guards `in_flight`, `finished`, changes of `limit` and increments of `peak`. The tuner alone changes
    `limit`, and resets `peak` without the lock. The server pool counts `answered` and `overloads` under its own lock.
    """

    def __init__(self, limit: int):
        #: Requests that may be in flight at a time.
        self.limit = limit
        #: Requests that are in flight.
        self.in_flight = 0
        #: The most requests in flight since the tuner last reset it.
        self.peak = 0
        #: Requests that have ended, answered or not.
        self.finished = 0
        #: Requests that the server answered, rejections included.
        self.answered = 0
        #: Requests that the server was too busy for: 429 or a timeout.
        self.overloads = 0
        self._lock = threading.Lock()
        self._request_slots = threading.Condition(self._lock)
        self._worker_slots = threading.Condition(self._lock)

    def acquire(self) -> None:
        """Wait until a request may start."""
        with self._lock:
            while self.in_flight >= self.limit:
                self._request_slots.wait()
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)

    def release(self) -> None:
        """End a request."""
        with self._lock:
            self.in_flight -= 1
            self.finished += 1
            if self.in_flight < self.limit:
                self._request_slots.notify()

    def await_worker_slot(self, number: int) -> None:
        """Wait until the worker of this number, counted from 0, is one of the first `limit`.

        Only these take items, so no more than `limit` items have their images in memory.
        """
        if number >= self.limit:
            with self._lock:
                while number >= self.limit:
                    self._worker_slots.wait()

    def resize(self, limit: int) -> None:
        """Change the limit; requests above a lower one end as they would have."""
        with self._lock:
            more = limit - self.limit
            self.limit = limit
            if more > 0:
                self._request_slots.notify(more)
                self._worker_slots.notify_all()
