"""A gate around the requests in flight, and what went through it."""

import threading


class Gate:
    """Lets `limit` requests be in flight at a time; safe to share between threads.

    `left` counts the requests that are over, `answered` those of them with an answer, `overloads` those that the server
    had no time for; `peak` is the most that were in flight since it was last set.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.in_flight = self.peak = self.left = self.answered = self.overloads = 0
        lock = threading.Lock()
        self._slots, self._seats = threading.Condition(lock), threading.Condition(lock)

    def enter(self) -> None:
        with self._slots:
            while self.in_flight >= self.limit:
                self._slots.wait()
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)

    def leave(self) -> None:
        with self._slots:
            self.in_flight -= 1
            self.left += 1
            if self.in_flight < self.limit:
                self._slots.notify()

    def await_seat(self, number: int) -> None:
        """Wait until the thread of this number is one of the `limit` that may have an item, and images in memory."""
        if number >= self.limit:
            with self._seats:
                while number >= self.limit:
                    self._seats.wait()

    def resize(self, limit: int) -> None:
        with self._slots:
            more = limit - self.limit
            self.limit = limit
            if more > 0:
                self._slots.notify(more)
                self._seats.notify_all()
