"""The worker of the math-verify helper: reads pairs of expressions from stdin and says whether they are the same.

math_verify.py runs this file by its path, with -P: it needs the standard library and math-verify alone, and its own
folder, whose math_verify.py would be taken for the package, must not be on the module path.

A request is a line of JSON, [wanted, given, CPU time limit in seconds]; the reply is a line too: 1 or 0, or "gave up"
where the kernel ended the worker. The first line says "ready".
"""

import json
import logging
import os
import resource
import signal
import sys
from typing import TextIO

from math_verify import parse, verify

#: Address space of the helper and of each worker.
MEMORY_BYTES = 4 * 1024**3
#: SymPy and math-verify cache what they parse, so a worker grows; after this number of requests a new one takes over.
REQUESTS_PER_WORKER = 10_000


def main() -> None:
    """Fork workers, one after the other, until one has answered all requests from stdin."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no reply
    _same("x+1", "1+x")  # loads and caches what every worker needs
    print("ready", file=replies, flush=True)
    while worker := os.fork():
        status = os.waitpid(worker, 0)[1]
        if not status:
            return
        if status != os.EX_TEMPFAIL << 8:
            print("gave up", file=replies, flush=True)
    _answer_requests(replies)


def _answer_requests(replies: TextIO) -> None:
    """The worker's life: return at the end of stdin; exit with EX_TEMPFAIL where a new worker is to take over."""
    for _ in range(REQUESTS_PER_WORKER):
        if not (line := sys.stdin.readline()):
            return
        wanted, given, limit_s = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, limit_s)  # its signal, unhandled, ends the worker wherever it is
        try:
            same = _same(wanted, given)
        except MemoryError:
            os._exit(os.EX_SOFTWARE)
        except Exception:  # whatever SymPy stumbles over is not shown to be the same
            same = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(int(same), file=replies, flush=True)
    os._exit(os.EX_TEMPFAIL)


def _same(wanted: str, given: str) -> bool:
    """What math-verify says, without its own time limits."""
    return bool(
        verify(
            parse(f"${wanted}$", parsing_timeout=None), parse(f"${given}$", parsing_timeout=None), timeout_seconds=None
        )
    )


if __name__ == "__main__":
    main()
