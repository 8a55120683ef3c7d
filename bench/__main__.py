"""Measure captionqa beside the clients that people would use instead; print one table and write JSON.

make bench                              all parts (an hour, half of it for styles)
make bench ARGS="--quick"               small numbers, about two minutes: shows whether it works, not how fast
make bench ARGS="--parts client,vllm"   some of the parts that docs/performance.md lists
make bench ARGS="--parts styles --photograph-ms 128,20"             the simulator of styles with costs that are given
make bench ARGS="--parts gpu --model Qwen/Qwen3-VL-4B-Instruct"     a real model, for a machine with a GPU
"""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.parts.cache import cache
from bench.parts.gpu import about, gpu
from bench.parts.preprocessing import front, resize
from bench.parts.scale import scale
from bench.parts.simulated import ceiling, client, shards
from bench.parts.startup import startup
from bench.parts.styles import styles
from bench.parts.vllm import batch, vllm
from bench.report import Row, table, write
from bench.running import Bench, say
from bench.sizes import FULL, QUICK

#: Those of a run without --parts.
PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "client": client,
    "ceiling": ceiling,
    "shards": shards,
    "vllm": vllm,
    "batch": batch,
    "resize": resize,
    "front": front,
    "cache": cache,
    "styles": styles,
    "scale": scale,
    "startup": startup,
}
#: The parts without vLLM, which takes a minute to start.
QUICK_PARTS = ("client", "ceiling", "shards", "scale", "startup")
#: A part for another machine.
GPU_PART = "gpu"
ALL_PARTS = {**PARTS, GPU_PART: gpu}


def parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ALL_PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no part; the parts are {', '.join(ALL_PARTS)}")
    return names


def photograph_s(text: str) -> tuple[float, float]:
    """Two times in milliseconds with a comma between them, in seconds."""
    try:
        new, cached = (float(number) / 1000 for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no two numbers with a comma between them") from None
    return new, cached


def measured_parts(bench: Bench, names: Iterable[str]) -> Iterator[Row]:
    for name in names:
        started = time.perf_counter()
        yield from ALL_PARTS[name](bench)
        say(f"{name}: done in {time.perf_counter() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", type=parts, help="comma-separated; all but gpu by default, with --quick all without vLLM"
    )
    parser.add_argument("--model", help="the hub id or folder that the part gpu serves; by default the demo's model")
    parser.add_argument(
        "--photograph-ms",
        type=photograph_s,
        metavar="NEW,CACHED",
        help="what the part styles simulates for a new and for a cached photograph; by default what vLLM takes",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: shows whether it works, not how fast")
    parser.add_argument("--rounds", type=int, help="how often each row is measured")
    parser.add_argument("--json", type=Path, default=Path("output/bench.json"), help="the file for all figures")
    parser.add_argument("--folder", type=Path, help="the folder for temporary files, if /tmp is too small")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    names = options.parts or (QUICK_PARTS if options.quick else [*PARTS])
    if options.rounds:
        rounds = dict.fromkeys(("rounds", "simulator_rounds", "server_rounds"), options.rounds)
        sizes = replace(sizes, **rounds)
    rows: list[Row] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # no server outlives the run
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="captionqa-bench-") as folder:
        bench = Bench(sizes, Path(folder), options.model, options.photograph_ms)
        try:
            rows.extend(measured_parts(bench, names))
        finally:
            print(table(rows))
            more = {"served": about(options.model or "demo, widened")} if GPU_PART in names else {}
            write(options.json, rows, command=shlex.join(sys.argv), quick=options.quick, **more)
            say(f"all figures are in {options.json}")


if __name__ == "__main__":
    main()
