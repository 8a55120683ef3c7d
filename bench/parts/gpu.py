"""The part `gpu`: a real model on a machine with a GPU, so that whoever has one can send figures.

    make bench ARGS="--parts gpu --model Qwen/Qwen3-VL-4B-Instruct"

Photographs of 1 and 4 megapixels, and the latter shrunk by a preset, on one API server and on as many as half of the
cores hold. Without a GPU it runs as well, by default with the demo's widened model, and shows ratios alone.
"""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.request import urlopen

from captionqa.server.chosen_options import CORES_PER_API_SERVER, MOST_API_SERVERS
from captionqa.server.hardware import hardware
from captionqa.server.probe import EngineLoad, engine_load

from bench import clients, servers
from bench.clients import Target
from bench.processes import VLLM, Outcome
from bench.report import Row
from bench.running import MODEL, Bench, Run, say

#: Width of photographs of about 1 and 4 megapixels, whose height is three quarters of it, and their size in kB.
PHOTOGRAPHS = {"1 megapixel": (1184, 350), "4 megapixels": (2304, 1400)}
#: (photographs, client.images.max_pixels) of the rows.
KINDS = (("1 megapixel", "auto"), ("4 megapixels", "auto"), ("4 megapixels", "qwen_readme"))
ANSWER_TOKENS = 150
SAMPLE_S = 0.5
#: The weights may have to be fetched.
START_TIMEOUT_S = 3600.0
NO_GPU = "a CPU cannot show a GPU's rate: compare the rows of this table with one another only"
UTILIZATION = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


def gpu(bench: Bench) -> list[Row]:
    """A real model: photographs of two sizes, as they are and shrunk, on one API server and on several."""
    if (name := gpu_name()) is None:
        say(NO_GPU)
    count = bench.sizes.photographs if name is None else bench.sizes.gpu_photographs
    folders = {what: bench.images(*size, count) for what, size in PHOTOGRAPHS.items()}

    def run(row: Row, url: str, what: str, limit: str) -> Run:
        target = Target(url, "bench", *folders[what], count, ANSWER_TOKENS)

        def ask() -> Outcome:
            with sampled(url) as seen:
                asked = clients.captionqa(target, bench.folder / "gpu", images={"max_pixels": limit})
            row.figures |= seen
            return asked

        return ask

    rows: list[Row] = []
    model = model_folder(bench.model, bench.folder)
    for number in api_server_counts():
        with server(model, bench.folder / f"vllm-gpu-{number}.log", number) as running:
            added = [Row("gpu", row_name(*kind, number), limit=row_name(kind[0], "auto", 1)) for kind in KINDS]
            runs = {row.name: run(row, running[0], *kind) for row, kind in zip(added, KINDS, strict=True)}
            for row in added:
                runs[row.name]()  # vLLM's first requests of a size are slow
            bench.with_servers(added, runs, [running] * len(added), count, bench.sizes.server_rounds)
            rows += added
    return rows


def gpu_name() -> str | None:
    """The first GPU of this machine; None without one."""
    return hardware(os.cpu_count() or 1, is_cpu_build=False, gpus=1)


def api_server_counts() -> tuple[int, int]:
    """One, and as many as half of the cores hold beside the engine, the clients having the other half; at least two."""
    held = ((os.cpu_count() or 1) // 2 - 1) // CORES_PER_API_SERVER
    return 1, max(2, min(held, MOST_API_SERVERS))


def row_name(photographs: str, limit: str, api_servers: int) -> str:
    preset = "" if limit == "auto" else f", max_pixels: {limit}"
    return f"{photographs}{preset}, {api_servers} API server{'' if api_servers == 1 else 's'}"


def options(api_servers: int, has_gpu: bool) -> list[str]:
    """vLLM's options; each round sends the same images, so no cache may keep them."""
    counted = [*servers.NO_CACHES, "--api-server-count", str(api_servers)]
    # out of the engine, where a CPU would take most of its time for it
    return counted if has_gpu else [*counted, "--no-mm-device-do-normalize"]


def about(model: str) -> dict[str, Any]:
    """What the figures were measured on, for the JSON."""
    name = gpu_name()
    version = subprocess.run(
        [VLLM, "-c", "from importlib.metadata import version; print(version('vllm'))"],
        capture_output=True,
        text=True,
    )
    found = {"gpu": name, "model": model, "vllm": version.stdout.strip() or "unknown"}
    return found if name else found | {"note": NO_GPU}


@contextmanager
def sampled(url: str) -> Iterator[dict[str, float]]:
    """Look at a server while the block runs; then the mapping has the means of its requests and of the GPU's use."""
    figures: dict[str, float] = {}
    loads: list[EngineLoad] = []
    busy: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_S):
            with suppress(OSError), urlopen(f"{url}/metrics", timeout=10) as answer:
                if load := engine_load(answer.read().decode()):
                    loads.append(load)
            with suppress(OSError, ValueError, subprocess.SubprocessError):
                found = subprocess.run(UTILIZATION, capture_output=True, text=True, timeout=10, check=True)
                busy.append(float(found.stdout.split()[0]))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield figures
    finally:
        over.set()
        thread.join()
        if loads:
            figures["in engine"] = mean(load.requests for load in loads)
            figures["of it waiting"] = mean(load.waiting for load in loads)
        if busy:
            figures["GPU busy %"] = mean(busy)


@contextmanager
def server(model: str, log: Path, api_servers: int) -> Iterator[servers.Running]:
    """Run the real server; the weights of a hub id are fetched, unless HF_HUB_OFFLINE says that they are there."""
    has_gpu = gpu_name() is not None
    offline = os.environ.get("HF_HUB_OFFLINE", "0")
    with servers.vllm(
        model, log, options(api_servers, has_gpu), not has_gpu, START_TIMEOUT_S, HF_HUB_OFFLINE=offline
    ) as running:
        yield running


def model_folder(model: str | None, folder: Path) -> str:
    """The model to serve: the one that was named, else the demo's with a real model's preprocessing."""
    return model or str(servers.wide_model(MODEL, folder / "wide-model-gpu"))
