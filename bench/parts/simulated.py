"""The parts `client`, `ceiling` and `shards`: clients against the simulator, so that they alone are measured."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import clients
from bench.clients import Target
from bench.data import make_parquets, make_tars
from bench.report import OURS, Row
from bench.running import MODEL, SIMULATED_GPU, SLOTS, Bench, Run
from bench.servers import simulator


def client(bench: Bench) -> list[Row]:
    """Against a simulated fast GPU: whether one chunk job keeps it full, and whether four that share it do."""
    with simulator(*SIMULATED_GPU) as url:
        target = bench.target(url, bench.sizes.client_images)
        rows, runs = _beside(bench, target, "client", jobs=(1, 4))
        return bench.interleaved(rows, runs, bench.sizes.simulator_rounds)


def ceiling(bench: Bench) -> list[Row]:
    """Against the simulator without any delay: what an image costs the client itself."""
    with simulator() as url:
        target = bench.target(url, bench.sizes.ceiling_images)
        rows, runs = _beside(bench, target, "ceiling", jobs=(1,))
        row = Row("ceiling", "vLLM bench serve", limit="bare load generator", is_peer=True)
        runs[row.name] = partial(clients.vllm_serve, target, SLOTS, bench.folder, MODEL)
        by_file = Row("ceiling", f"{OURS}, file references", limit=row.limit)
        runs[by_file.name] = partial(clients.captionqa, target, bench.folder / "ceiling", image_transport="file")
        return bench.interleaved([*rows, by_file, row], runs, bench.sizes.simulator_rounds)


def shards(bench: Bench) -> list[Row]:
    """The fast GPU again: whether one chunk job keeps it full from tars and parquet files, and at what cost."""
    names = [f"{OURS}, {kind}" for kind in ("files", "tars", "parquet")]
    rows = [Row("shards", name, limit=names[0]) for name in names]
    with simulator(*SIMULATED_GPU) as url:
        target = bench.target(url, bench.sizes.client_images)
        folders = [target.images, bench.folder / "tars", bench.folder / "parquets"]
        make_tars(target.images, folders[1])
        make_parquets(target.images, folders[2])

        def run(images: Path) -> Run:
            return partial(clients.captionqa, replace(target, images=images), bench.folder / "shards")

        runs = dict(zip(names, map(run, folders), strict=True))
        return bench.interleaved(rows, runs, bench.sizes.simulator_rounds)


def _beside(bench: Bench, target: Target, part: str, jobs: tuple[int, ...]) -> tuple[list[Row], dict[str, Run]]:
    """The bare load generator as the limit, captionqa with default settings, and the peers with SLOTS in flight."""
    limit = "bare load generator"
    few = replace(target, count=bench.sizes.sequential_images)
    runs: dict[str, Run] = {limit: partial(clients.bare_load, target, SLOTS)}
    for number in jobs:
        name = f"{OURS}, {'one job' if number == 1 else f'{number} jobs'}"
        runs[name] = partial(clients.captionqa, target, bench.folder / part, number)
    runs["openai"] = partial(clients.peer, "openai", target, SLOTS)
    runs["datatrove"] = partial(clients.peer, "datatrove", target, SLOTS)
    runs["requests, one at a time"] = partial(clients.peer, "requests", few, 1)
    rows = [Row(part, name, limit=limit, is_peer=name != limit and OURS not in name) for name in runs]
    return rows, runs
