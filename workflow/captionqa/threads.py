"""Threads: work in order, with several threads only where it has to wait."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

#: What is looked at in one go.
BLOCK_ITEMS = 1000


#: On a network file system each look at a file is a wait: from a block on that waited so long, several threads wait.
WAITED_S = 0.1


THREADS = 8


T = TypeVar("T")


R = TypeVar("R")


def blocks(things: Iterable[T], size: int = BLOCK_ITEMS) -> Iterator[list[T]]:
    iterator = iter(things)
    while block := list(islice(iterator, size)):
        yield block


def map_in_order(function: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Like `map`, once something has to wait in several threads, which work no further ahead than memory allows.

    Where nothing waits, as for a disk of this machine, threads would only take the interpreter from each other.
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
