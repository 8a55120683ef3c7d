"""The part `cache`: several questions on each image, and what vLLM's caches make of their order and identity."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import clients, ours, servers
from bench.clients import Target
from bench.data import QUESTIONS, make_questions
from bench.report import OURS, Row
from bench.running import ANSWER_TOKENS, MODEL, VLLM_CONCURRENCY, Bench, Run

#: Makes an image 256 tokens, which is nearer to a real model than the demo model's 16.
MORE_TOKENS = ("--mm-processor-kwargs", '{"size": {"shortest_edge": 1024, "longest_edge": 65536}}')
#: Both caches hold a few dozen images, a part of the data set, as they would of a hundred thousand images.
SMALL_CACHES = (
    "--max-model-len",
    "2048",
    "--mm-processor-cache-gb",
    "0.01",
    "--block-size",
    "32",
    "--num-gpu-blocks-override",
    "512",
)
#: Both caches hold about a hundred images, less than the data set, so that each round begins without its images.
CACHES = (
    "--max-model-len",
    "2048",
    "--mm-processor-cache-gb",
    "0.035",
    "--block-size",
    "32",
    "--num-gpu-blocks-override",
    "1024",
)
#: The side of the square that the demo's model encodes as one token.
TOKEN_PX = 16


def cache(bench: Bench) -> list[Row]:
    """Several questions on each image: without vLLM's caches, with them, and with them in a scattered order.

    And on photographs, which are sent with each question, or once and then by their identity.
    """
    names = ("caches off", "caches on, grouped by image", "caches on, scattered")
    rows = [Row("cache", f"{OURS}, {name}", limit=f"{OURS}, {names[0]}") for name in names]
    images, image_kb = bench.images(512, 40, bench.sizes.cache_images)
    grouped, scattered = make_questions(images, bench.folder / "questions")
    count = len(QUESTIONS) * bench.sizes.cache_images

    def run(url: str, questions: Path) -> Run:
        target = Target(url, "bench", questions.parent, image_kb, count, ANSWER_TOKENS)
        return partial(
            clients.captionqa, target, bench.folder / "cache", concurrency=VLLM_CONCURRENCY, questions=questions
        )

    with (
        servers.vllm(MODEL, bench.folder / "vllm-off.log", (*MORE_TOKENS, *servers.NO_CACHES)) as off,
        servers.vllm(MODEL, bench.folder / "vllm-on.log", (*MORE_TOKENS, *SMALL_CACHES)) as on,
    ):
        running, files = (off, on, on), (grouped, grouped, scattered)
        runs = {row.name: run(url, file) for row, (url, *_), file in zip(rows, running, files, strict=True)}
        for row in rows[:2]:
            runs[row.name]()  # vLLM's first requests are slow
        bench.with_servers(rows, runs, running, count, bench.sizes.server_rounds)
    return rows + _named(bench)


def _named(bench: Bench) -> list[Row]:
    """Questions about small images and about photographs, with each request or by their identity where held.

    The client shrinks photographs to what fits the server, its default, or sends them as they are.
    """
    options = (*MORE_TOKENS, *CACHES)
    own = ours.OwnServer(options, servers.vllm_version())
    rows: list[Row] = []
    asked: dict[str, tuple[Target, Path, dict[str, Any]]] = {}
    count = len(QUESTIONS) * bench.sizes.cache_images
    grid = {"pixel_grid_px": TOKEN_PX}
    for title, side_px, size_kb, sent in (
        ("512 pixels", 512, 40, grid),
        ("photographs", 2048, 1200, grid),
        ("photographs as they are", 2048, 1200, {**grid, "max_pixels": None}),
    ):
        images, image_kb = bench.images(side_px, size_kb, bench.sizes.cache_images)
        questions, _ = make_questions(images, bench.folder / f"questions of {title}")
        target = Target("", "bench", questions.parent, image_kb, count, ANSWER_TOKENS, own)
        limit = f"{OURS}, {title}, with each question"
        for name, kind in ((limit, "off"), (f"{OURS}, {title}, by identity", "auto")):
            rows.append(Row("cache", name, limit=limit))
            asked[name] = target, questions, {"image_uuid": kind, "images": sent}
    with servers.vllm(MODEL, bench.folder / "vllm-named.log", options, own=own) as running:

        def run(target: Target, questions: Path, client: dict[str, Any]) -> Run:
            return partial(
                clients.captionqa,
                replace(target, url=running[0]),
                bench.folder / "cache",
                concurrency=VLLM_CONCURRENCY,
                questions=questions,
                **client,
            )

        runs = {name: run(*what) for name, what in asked.items()}
        runs[rows[0].name]()  # vLLM's first requests are slow
        bench.with_servers(rows, runs, [running] * len(rows), count, bench.sizes.server_rounds)
    return rows
