"""The images that a chunk job has read: what is sent for each, so that an image that servers hold is not read again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from captionqa.dataset.item_entry import Stamp

#: The images that are remembered, those that were used last.
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image as it was read."""

    #: Of the file that was read.
    stamp: Stamp
    #: By which the journal knows it.
    digest: str
    #: By which servers know what is sent for it.
    uuid: str


class KnownImages:
    """Images by their names and the number of pixels that they are shrunk to; safe to share between threads.

    `_lock` guards what is remembered.
    """

    def __init__(self, holders: Callable[[Sequence[str]], tuple[int, int]]):
        """`holders` gives how many servers hold the images of these identities, and how many are ready."""
        self._holders = holders
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int | None], KnownImage] = OrderedDict()

    def held(self, name: str, budget_px: int | None, stamp: Stamp) -> KnownImage | None:
        """An image that all servers hold as it was read from a file of this stamp; None where there is none."""
        key = name, budget_px
        with self._lock:
            known = self._known.get(key)
            if known is None or known.stamp != stamp:
                return None
            self._known.move_to_end(key)
        return known if self.is_held(known.uuid) else None

    def is_held(self, uuid: str) -> bool:
        """Whether all servers hold what is sent for an image."""
        holding, ready = self._holders([uuid])
        return 0 < holding == ready

    def is_held_somewhere(self, name: str, budget_px: int | None) -> bool:
        """Whether some server holds an image as it was last read."""
        with self._lock:
            known = self._known.get((name, budget_px))
        return known is not None and self._holders([known.uuid])[0] > 0

    def add(self, name: str, budget_px: int | None, image: KnownImage) -> None:
        with self._lock:
            self._known[name, budget_px] = image
            self._known.move_to_end((name, budget_px))
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
