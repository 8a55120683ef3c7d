"""The parts `vllm` and `batch`: captionqa beside vLLM's own clients, on a real vLLM with the demo's model."""

from dataclasses import replace
from functools import partial
from statistics import median

from bench import clients, ours, servers
from bench.processes import Outcome
from bench.report import OURS, Row
from bench.running import MAX_TOKENS, MODEL, VLLM_CONCURRENCY, Bench, Run

#: As many as vLLM runs at a time.
BATCH_CONCURRENCY = 256


def vllm(bench: Bench) -> list[Row]:
    """Whether captionqa reaches the rate of vLLM's own benchmark."""
    names = ("vLLM bench serve", f"{OURS}, one job", "openai", "vLLM run-batch")
    rows = [Row("vllm", name, limit=names[0], is_peer=OURS not in name) for name in names]
    folder = bench.folder
    with servers.vllm(MODEL, folder / "vllm.log") as running:
        url, _, start_s = running
        target = bench.target(url, bench.sizes.vllm_images, "bench")
        clients.vllm_serve(replace(target, count=min(16, target.count)), VLLM_CONCURRENCY, folder, MODEL)
        bench.with_servers(
            rows[:-1],
            {
                names[0]: partial(clients.vllm_serve, target, VLLM_CONCURRENCY, folder, MODEL),
                names[1]: partial(clients.captionqa, target, folder / "vllm-job", concurrency=VLLM_CONCURRENCY),
                names[2]: partial(clients.peer, "openai", target, VLLM_CONCURRENCY),
            },
            [running] * 3,
            target.count,
            bench.sizes.rounds,
        )
    bench.interleaved(rows[-1:], {names[3]: partial(clients.vllm_run_batch, target, folder, MODEL)}, rounds=1)
    if bench.sizes.workflow_images:
        rows.append(_whole_workflow(bench, start_s, median(rows[0].images_per_s)))
    return rows


def _whole_workflow(bench: Bench, start_s: float, images_per_s: float) -> Row:
    """The whole workflow with its own server, compared with server start plus images at vLLM's own rate."""
    count, folder = bench.sizes.workflow_images, bench.folder / "whole"
    images, _ = bench.images(1024, 200, count)
    raw = ours.configuration(folder, images, "", str(MODEL), MAX_TOKENS, concurrency=VLLM_CONCURRENCY)
    raw["models"]["bench"] = {
        "path": str(MODEL),
        "server": {
            "env": servers.VLLM_ENVIRONMENT,
            "extra_args": ["--enforce-eager", *servers.NO_CACHES],
            "limit_images_per_prompt": 1,
        },
    }
    wall_s, _ = ours.run_workflow(folder, raw)
    floor_s = start_s + count / images_per_s
    figures = {"images": count, "wall s": wall_s, "server start s": start_s, "of start + images": wall_s / floor_s}
    return Row("vllm", f"{OURS}, whole workflow", figures=figures)


def batch(bench: Bench) -> list[Row]:
    """vLLM's `run-batch`, which has no HTTP, against file references with few and with many requests in flight.

    The server waits without work while `run-batch` starts an engine of its own and runs.
    """
    few, many = VLLM_CONCURRENCY, BATCH_CONCURRENCY
    names = ("vLLM run-batch", f"{OURS}, {few} file references at once", f"{OURS}, {many} file references at once")
    rows = [Row("batch", name, limit=names[0], is_peer=OURS not in name) for name in names]
    options = (*servers.NO_CACHES, "--allowed-local-media-path", str(bench.folder))
    with servers.vllm(MODEL, bench.folder / "vllm-batch.log", options) as running:
        target = bench.target(running[0], bench.sizes.vllm_images, "bench")
        engine_ms: list[float] = []

        def run_batch() -> Outcome:
            argv, figures = clients.vllm_run_batch(target, bench.folder, MODEL)
            engine_ms.append(1000 * figures["engine_cpu_s"] / figures["images"])
            return argv, figures

        def run(count: int) -> Run:
            job = bench.folder / "batch"
            return partial(clients.captionqa, target, job, concurrency=count, image_transport="file")

        runs = {names[0]: run_batch, names[1]: run(few), names[2]: run(many)}
        for row in rows[1:]:
            runs[row.name]()  # vLLM's first requests are slow
        for _ in range(bench.sizes.server_rounds):
            bench.interleaved(rows[:1], runs, rounds=1)
            bench.with_servers(rows[1:], runs, [running] * 2, target.count, rounds=1)
        rows[0].figures["engine CPU ms each"] = median(engine_ms)
    return rows
