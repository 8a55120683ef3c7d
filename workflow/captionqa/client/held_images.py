"""The images that each server is known to hold: those may be sent by their identity alone.

vLLM's cache drops what was used least recently (LRU), and so does what is known of it. Where an image turns out to be
gone, all that were used before it are taken for gone too: other clients fill the same cache.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from captionqa.server.endpoint import Endpoint
from captionqa.server.image_cache import image_cache_bytes, takes_uuids

#: Of the images in a cache, one of so many may be on its way: an image can take four times BYTES_PER_PIXEL (as floating
#: point numbers), and a request that waited for it comes only after others.
MAX_SIZES = 8
#: How many images may be on their way to a server before the first answer, which tells their size.
FIRST_ROOM = 16
#: So many more misses than hits show that a server does not hold what it should, as behind a balancer of load.
MAX_MISSES = 20
#: The least that vLLM keeps of a pixel: a byte for each of three colours, in each of the two frames of a still image.
BYTES_PER_PIXEL = 6


class HeldImages:
    """What is known of the servers' caches; safe to share between threads.

    `_lock` guards all that changes here. A new generation of a server holds nothing.
    """

    def __init__(self, is_on: bool, pixel_grid_px: int):
        """`pixel_grid_px` is the side of the square that the model encodes as one token.

        With `is_on` False no server is known to hold anything or to take uuids.
        """
        #: Whether anything is known of servers at all.
        self.is_on = is_on
        self._bytes_per_token = pixel_grid_px**2 * BYTES_PER_PIXEL
        self._lock = threading.Lock()
        #: {replica: what its present generation holds}
        self._caches: dict[int, _Cache] = {}

    def takes_uuids(self, server: Endpoint) -> bool:
        """Whether images may have their identity beside them in requests to a server."""
        return self.is_on and takes_uuids(server)

    def room(self, server: Endpoint) -> int:
        """How many images a server keeps for long enough that a second request about each finds it."""
        if not self.is_on:
            return 0
        with self._lock:
            return self._cache(server).room()

    def holds(self, server: Endpoint, uuids: Sequence[str]) -> bool:
        """Whether a server is known to hold all of these images, at least one."""
        if not self.is_on or not uuids:
            return False
        with self._lock:
            cache = self._cache(server)
            return cache.misses < MAX_MISSES and all(uuid in cache.sizes for uuid in uuids)

    def add(self, server: Endpoint, uuids: Sequence[str], prompt_tokens: int, alone: bool) -> None:
        """A server answered about these images, in a prompt of so many tokens; `alone` if it got no more than these."""
        if not uuids or not self.is_on:
            return
        size = self._bytes_per_token * max(1, prompt_tokens) // len(uuids)
        with self._lock:
            cache = self._cache(server)
            cache.use(uuids, size)
            if alone:
                cache.misses = max(0, cache.misses - 1)

    def forget(self, server: Endpoint, uuids: Sequence[str]) -> None:
        """A server does not hold all of these images."""
        with self._lock:
            cache = self._cache(server)
            cache.misses += 1
            cache.drop(uuids)

    def _cache(self, server: Endpoint) -> "_Cache":
        generation = server.request_id, server.generation
        known = self._caches.get(server.replica)
        if known is None or known.generation != generation:
            known = self._caches[server.replica] = _Cache(generation, image_cache_bytes(server))
        return known


class _Cache:
    """What one generation of a server holds."""

    def __init__(self, generation: tuple[str, int], capacity: int):
        self.generation = generation
        #: {uuid: its size in bytes}, the least recently used first
        self.sizes: OrderedDict[str, int] = OrderedDict()
        #: Misses above hits.
        self.misses = 0
        self._capacity = capacity
        self._total = 0

    def use(self, uuids: Iterable[str], size: int) -> None:
        for uuid in uuids:
            self._total += size - self.sizes.pop(uuid, 0)
            self.sizes[uuid] = size
        while self._total > self._capacity:
            self._total -= self.sizes.popitem(last=False)[1]

    def room(self) -> int:
        if self.misses >= MAX_MISSES or not self._capacity:
            return 0
        if not self.sizes:
            return FIRST_ROOM
        return int(self._capacity * len(self.sizes) / (MAX_SIZES * self._total))

    def drop(self, uuids: Iterable[str]) -> None:
        """Drop these images, and those that were used before the first of them."""
        gone = {uuid for uuid in uuids if uuid in self.sizes}
        if not gone:
            return
        while next(iter(self.sizes)) not in gone:
            self._total -= self.sizes.popitem(last=False)[1]
        for uuid in gone:
            self._total -= self.sizes.pop(uuid)
