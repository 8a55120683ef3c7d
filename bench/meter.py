"""What a client's work costs: wall and CPU seconds and peak memory, measured in the client's own process."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MARK = "BENCH "


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Measure the block and print the figures as one line of JSON for `parse`; the block adds `images`."""
    figures: dict[str, Any] = {}
    cpu, wall, start = time.process_time(), time.perf_counter(), time.time()
    yield figures
    figures |= {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
        "start": start,
        "end": time.time(),
    }
    sys.stdout.flush()
    print(MARK + json.dumps(figures), flush=True)


def _peak_mb() -> float:
    """The peak resident memory of this process in MB; getrusage may give that of the process that forked it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def parse(output: str) -> dict[str, Any]:
    """The figures that `measured` printed among other output."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError(f"the client printed no figures: {output[-2000:]}")
    figures: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return figures
