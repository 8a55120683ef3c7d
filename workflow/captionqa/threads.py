"""Mapping a function over items in order, with threads only where the function waits for the file system."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

#: Items that are worked on in one go.
BLOCK_ITEMS = 1000
#: Threads are used once a call has waited this long, as calls do on a network file system.
WAITED_S = 0.1
THREADS = 8

T = TypeVar("T")
R = TypeVar("R")


def blocks(things: Iterable[T], size: int = BLOCK_ITEMS) -> Iterator[list[T]]:
    """The same items in lists of `size`; the last list may be shorter."""
    iterator = iter(things)
    while block := list(islice(iterator, size)):
        yield block


def map_in_order(function: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Like `map`. Once a call has waited, threads work ahead of the caller by a bounded number of items.

    Where no call waits, as on a local disk, threads would only compete for the interpreter.
    """
    rest = iter(things)
    for thing in rest:
        started_s, worked_s = time.perf_counter(), time.thread_time()
        result = function(thing)
        waited_s = time.perf_counter() - started_s - (time.thread_time() - worked_s)
        yield result
        if waited_s > WAITED_S:
            break
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(THREADS) as threads:
        for thing in rest:
            ahead.append(threads.submit(function, thing))
            if len(ahead) > 2 * THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
