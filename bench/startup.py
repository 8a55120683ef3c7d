"""How long a new chunk job takes until its first request, and how much of that its imports take."""

import re
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

from bench import clients, ours

_FIRST = re.compile(r"^simulator:first_request_time_seconds\S* (\S+)$", re.MULTILINE)
_IMPORT = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \|( *)(\S+)$", re.MULTILINE)
#: What a chunk job imports before its first request.
MODULES = "captionqa.client.chunk_run, captionqa.run.job_log, captionqa.config.settings, PIL.JpegImagePlugin"
#: How many packages are listed.
SLOWEST = 6


def first_request_s(folder: Path, images: Path) -> float:
    """The seconds from the start of a chunk job's process until the server has its first request."""
    with clients.simulator() as url:
        ours.prepare(folder, ours.configuration(folder, images, url, "simulator", 64))
        started = time.time()
        clients.figures_of(clients.start([clients.OURS, "-m", "bench.ours", "--folder", str(folder), "--chunk", "0"]))
        with urlopen(f"{url}/metrics") as answer:
            first = _FIRST.search(answer.read().decode())
    return float(first[1]) - started


def bare_python_s() -> float:
    started = time.perf_counter()
    subprocess.run([clients.OURS, "-c", "pass"], check=True)
    return time.perf_counter() - started


def import_budget_ms() -> dict[str, float]:
    """The milliseconds of a chunk job's imports: all together, and the own time of the slowest packages."""
    command = [clients.OURS, "-X", "importtime", "-c", f"import {MODULES}"]
    done = subprocess.run(
        command, env=clients.environment(), cwd=clients.ROOT, capture_output=True, text=True, check=True
    )
    by_package: dict[str, float] = {}
    for own_us, _, _, name in _IMPORT.findall(done.stderr):
        package = name.partition(".")[0]
        by_package[package] = by_package.get(package, 0.0) + int(own_us) / 1000
    slowest = sorted(by_package, key=by_package.get, reverse=True)[:SLOWEST]
    return {"imports ms": sum(by_package.values())} | {f"{name} ms": by_package[name] for name in slowest}
