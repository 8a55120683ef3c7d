"""The part `startup`: how long a new chunk job takes until its first request, and how much of that its imports take."""

import re
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

from bench import ours
from bench.ours import ROOT
from bench.processes import OURS, environment, figures_of, start
from bench.report import Row
from bench.running import Bench
from bench.servers import simulator

_FIRST = re.compile(r"^simulator:first_request_time_seconds\S* (\S+)$", re.MULTILINE)
_IMPORT = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \|( *)(\S+)$", re.MULTILINE)
#: What a chunk job imports before its first request.
MODULES = "captionqa.client.chunk_run, captionqa.run.job_log, captionqa.config.settings, PIL.JpegImagePlugin"
#: How many packages are listed.
SLOWEST = 6


def startup(bench: Bench) -> list[Row]:
    """The time from the start of a chunk job's process to its first request, and its imports."""
    images, _ = bench.images(1024, 200, 8)
    rounds = max(3, bench.sizes.rounds)
    firsts = sorted(first_request_s(bench.folder / f"startup-{n}", images) for n in range(rounds))
    bare = sorted(bare_python_s() for _ in range(rounds))
    figures = {"s": firsts[rounds // 2], "least s": firsts[0], "bare Python s": bare[rounds // 2]}
    return [
        Row("startup", "process start to first request", figures=figures),
        Row("startup", "imports", figures=import_budget_ms()),
    ]


def first_request_s(folder: Path, images: Path) -> float:
    """The seconds from the start of a chunk job's process until the server has its first request."""
    with simulator() as url:
        (job,) = ours.prepare(folder, ours.configuration(folder, images, url, "simulator", 64))
        started = time.time()
        figures_of(start(job.command(OURS)))
        with urlopen(f"{url}/metrics") as answer:
            first = _FIRST.search(answer.read().decode())
    if first is None:
        raise RuntimeError("the simulator does not tell the time of its first request")
    return float(first[1]) - started


def bare_python_s() -> float:
    started = time.perf_counter()
    subprocess.run([OURS, "-c", "pass"], check=True)
    return time.perf_counter() - started


def import_budget_ms() -> dict[str, float]:
    """The milliseconds of a chunk job's imports: all together, and the own time of the slowest packages."""
    command = [OURS, "-X", "importtime", "-c", f"import {MODULES}"]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    by_package: dict[str, float] = {}
    for own_us, _, _, name in _IMPORT.findall(done.stderr):
        package = name.partition(".")[0]
        by_package[package] = by_package.get(package, 0.0) + int(own_us) / 1000
    slowest = sorted(by_package, key=by_package.__getitem__, reverse=True)[:SLOWEST]
    return {"imports ms": sum(by_package.values())} | {f"{name} ms": by_package[name] for name in slowest}
