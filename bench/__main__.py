"""Measure captionqa beside the clients that people would use instead; print one table and write JSON.

make bench                              all parts (half an hour)
make bench ARGS="--quick"               small numbers, about two minutes: shows whether it works, not how fast
make bench ARGS="--parts client,vllm"   some of the parts that docs/performance.md lists
make bench ARGS="--parts gpu --model Qwen/Qwen3-VL-4B-Instruct"     a real model, for a machine with a GPU
"""

import argparse
import itertools
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import clients, gpu, ours, scale, startup, styles
from bench.clients import Target
from bench.counters import PROMPT_TOKENS
from bench.data import QUESTIONS, make_images, make_parquets, make_questions, make_questions_in_place, make_tars
from bench.report import OURS, Row, server_use, table, write
from bench.sizes import FULL, QUICK, Sizes

MODEL = ours.ROOT / "resources" / "demo" / "model"
#: Requests that the simulator runs at once.
SLOTS = 64
#: What each takes: with the slots, the simulator is like a GPU that answers 128 requests a second.
LATENCY_S = 0.5
MAX_TOKENS = 64
MEGAPIXEL = 1 << 20
#: How many API servers are simulated.
API_SERVERS = (1, 2, 4, 8)
#: Requests in flight; more gain nothing from vLLM on a few CPU cores.
VLLM_CONCURRENCY = 32
#: As many as vLLM runs at a time.
BATCH_CONCURRENCY = 256
ANSWER_TOKENS = 16
#: The side of the square that is one token: Qwen3-VL's, which is the default, and that of the widened model.
GRID_PX, WIDE_TOKEN_PX = 32, 128
#: Of a photograph of 2048 x 1536 pixels, in the widened model.
PHOTOGRAPH_TOKENS = 192
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
CACHES = ("--max-model-len", "2048", "--mm-processor-cache-gb", "0.035", "--block-size", "32")
CACHES = (*CACHES, "--num-gpu-blocks-override", "1024")
#: The side of the square that the demo's model encodes as one token.
TOKEN_PX = 16

Run = Callable[[], tuple[list[str], dict[str, Any]]]


class Bench:
    """The parts, each a method that returns its rows; all write below one folder."""

    def __init__(self, sizes: Sizes, folder: Path, model: str | None = None):
        """`model` is what the part `gpu` serves, by default the demo's."""
        self._sizes = sizes
        self._folder = folder
        self._model = model

    def client(self) -> list[Row]:
        """Against a simulated fast GPU: whether one chunk job keeps it full, and whether four that share it do."""
        with clients.simulator("--slots", str(SLOTS), "--latency-s", str(LATENCY_S)) as url:
            target = self._target(url, self._sizes.client_images)
            rows, runs = self._beside(target, "client", jobs=(1, 4))
            return self._interleaved(rows, runs, self._sizes.simulator_rounds)

    def ceiling(self) -> list[Row]:
        """Against the simulator without any delay: what an image costs the client itself."""
        with clients.simulator() as url:
            target = self._target(url, self._sizes.ceiling_images)
            rows, runs = self._beside(target, "ceiling", jobs=(1,))
            row = Row("ceiling", "vLLM bench serve", limit="bare load generator", is_peer=True)
            runs[row.name] = lambda: clients.vllm_serve(target, SLOTS, self._folder, MODEL)
            by_file = Row("ceiling", f"{OURS}, file references", limit=row.limit)
            job = self._folder / "ceiling"
            runs[by_file.name] = lambda: clients.captionqa(target, job, image_transport="file")
            return self._interleaved([*rows, by_file, row], runs, self._sizes.simulator_rounds)

    def shards(self) -> list[Row]:
        """The fast GPU again: whether one chunk job keeps it full from tars and parquet files, and at what cost."""
        names = [f"{OURS}, {kind}" for kind in ("files", "tars", "parquet")]
        rows = [Row("shards", name, limit=names[0]) for name in names]
        with clients.simulator("--slots", str(SLOTS), "--latency-s", str(LATENCY_S)) as url:
            target = self._target(url, self._sizes.client_images)
            folders = [target.images, self._folder / "tars", self._folder / "parquets"]
            make_tars(target.images, folders[1])
            make_parquets(target.images, folders[2])

            def run(images: Path) -> Run:
                return lambda: clients.captionqa(replace(target, images=images), self._folder / "shards")

            runs = dict(zip(names, map(run, folders), strict=True))
            return self._interleaved(rows, runs, self._sizes.simulator_rounds)

    def vllm(self) -> list[Row]:
        """Against a real vLLM with the demo's model."""
        names = ("vLLM bench serve", f"{OURS}, one job", "openai", "vLLM run-batch")
        rows = [Row("vllm", name, limit=names[0], is_peer=OURS not in name) for name in names]
        with clients.vllm(MODEL, self._folder / "vllm.log") as running:
            url, _, start_s = running
            target = replace(self._target(url, self._sizes.vllm_images), model="bench")
            clients.vllm_serve(replace(target, count=min(16, target.count)), VLLM_CONCURRENCY, self._folder, MODEL)
            job = self._folder / "vllm-job"
            self._with_server(
                rows[:-1],
                {
                    names[0]: lambda: clients.vllm_serve(target, VLLM_CONCURRENCY, self._folder, MODEL),
                    names[1]: lambda: clients.captionqa(target, job, concurrency=VLLM_CONCURRENCY),
                    names[2]: lambda: clients.peer("openai", target, VLLM_CONCURRENCY),
                },
                [running] * 3,
                target.count,
                self._sizes.rounds,
            )
        self._interleaved(rows[-1:], {names[3]: lambda: clients.vllm_run_batch(target, self._folder, MODEL)}, rounds=1)
        if self._sizes.workflow_images:
            rows.append(self._whole_workflow(start_s, median(rows[0].images_per_s)))
        return rows

    def _whole_workflow(self, start_s: float, images_per_s: float) -> Row:
        """The whole workflow with its own server, compared with server start plus images at vLLM's own rate."""
        count, folder = self._sizes.workflow_images, self._folder / "whole"
        images, _ = self._images(1024, 200, count)
        raw = ours.configuration(folder, images, "", str(MODEL), MAX_TOKENS, concurrency=VLLM_CONCURRENCY)
        raw["models"]["bench"] = {
            "path": str(MODEL),
            "server": {
                "env": clients.VLLM_ENVIRONMENT,
                "extra_args": ["--enforce-eager", *clients.NO_CACHES],
                "limit_images_per_prompt": 1,
            },
        }
        wall_s, _ = ours.run_workflow(folder, raw)
        floor_s = start_s + count / images_per_s
        figures = {"images": count, "wall s": wall_s, "server start s": start_s, "of start + images": wall_s / floor_s}
        return Row("vllm", f"{OURS}, whole workflow", figures=figures)

    def batch(self) -> list[Row]:
        """vLLM's `run-batch`, which has no HTTP, against file references with few and with many requests in flight.

        The server waits without work while `run-batch` starts an engine of its own and runs.
        """
        few, many = VLLM_CONCURRENCY, BATCH_CONCURRENCY
        names = ("vLLM run-batch", f"{OURS}, {few} file references at once", f"{OURS}, {many} file references at once")
        rows = [Row("batch", name, limit=names[0], is_peer=OURS not in name) for name in names]
        options = (*clients.NO_CACHES, "--allowed-local-media-path", str(self._folder))
        with clients.vllm(MODEL, self._folder / "vllm-batch.log", options) as running:
            target = replace(self._target(running[0], self._sizes.vllm_images), model="bench")
            engine_ms: list[float] = []

            def batch() -> tuple[list[str], dict[str, Any]]:
                argv, figures = clients.vllm_run_batch(target, self._folder, MODEL)
                engine_ms.append(1000 * figures["engine_cpu_s"] / figures["images"])
                return argv, figures

            def run(count: int) -> Run:
                job = self._folder / "batch"
                return lambda: clients.captionqa(target, job, concurrency=count, image_transport="file")

            runs = {names[0]: batch, names[1]: run(few), names[2]: run(many)}
            for row in rows[1:]:
                runs[row.name]()  # vLLM's first requests are slow
            for _ in range(self._sizes.server_rounds):
                self._interleaved(rows[:1], runs, rounds=1)
                self._with_server(rows[1:], runs, [running] * 2, target.count, rounds=1)
            rows[0].figures["engine CPU ms each"] = median(engine_ms)
        return rows

    def resize(self) -> list[Row]:
        """2048-pixel photographs, as they are and shrunk, on a vLLM whose preprocessing is the bottleneck."""
        names = (f"{OURS}, as they are", f"{OURS}, shrunk to 1 megapixel")
        rows = [Row("resize", name, limit=names[0]) for name in names]
        model = clients.wide_model(MODEL, self._folder / "wide-model")
        # keeps normalizing out of the engine, which costs a GPU nothing but takes a CPU most of its time
        options = (*clients.NO_CACHES, "--no-mm-device-do-normalize")
        with clients.vllm(model, self._folder / "vllm-resize.log", options) as running:
            url, server, _ = running
            images, image_kb = self._images(2048, 1200, self._sizes.photographs)
            target = Target(url, "bench", images, image_kb, self._sizes.photographs, ANSWER_TOKENS)

            def run(limit_px: int | None) -> Run:
                return lambda: clients.captionqa(
                    target, self._folder / "resize", concurrency=VLLM_CONCURRENCY, images={"max_pixels": limit_px}
                )

            runs = {names[0]: run(None), names[1]: run(MEGAPIXEL)}
            with clients.core_of_its_own(server):
                runs[names[1]]()  # vLLM's first requests are slow
                self._with_server(rows, runs, [running] * len(rows), target.count, self._sizes.server_rounds)
        return rows

    def front(self) -> list[Row]:
        """The same photographs on one and on two API servers, and on up to eight simulated ones with the measured cost.

        Server and client may use all cores.
        """
        names = (f"{OURS}, one API server", f"{OURS}, two API servers")
        rows = [Row("front", name, limit=names[0]) for name in names]
        model = clients.wide_model(MODEL, self._folder / "wide-model-front")
        options = (*clients.NO_CACHES, "--no-mm-device-do-normalize", "--allowed-local-media-path", str(self._folder))
        images, image_kb = self._images(2048, 1200, self._sizes.photographs)

        def run(url: str, of: str = "bench") -> Run:
            target = Target(url, of, images, image_kb, self._sizes.photographs, ANSWER_TOKENS)
            job = self._folder / "front"
            return lambda: clients.captionqa(target, job, concurrency=VLLM_CONCURRENCY, image_transport="file")

        with (
            clients.vllm(model, self._folder / "vllm-front-1.log", options) as one,
            clients.vllm(model, self._folder / "vllm-front-2.log", (*options, "--api-server-count", "2")) as two,
        ):
            runs = {row.name: run(url) for row, (url, *_) in zip(rows, (one, two), strict=True)}
            for row in rows:
                runs[row.name]()  # vLLM's first requests are slow
            before = clients.thread_seconds(one)
            self._with_server(rows, runs, (one, two), self._sizes.photographs, self._sizes.server_rounds)
            spent = [total - before.get(thread, 0.0) for thread, total in clients.thread_seconds(one).items()]
        preprocess_s = max(spent) / self._sizes.photographs / self._sizes.server_rounds
        rows[0].figures["of it one thread"] = 1000 * preprocess_s
        for count in API_SERVERS:
            row = Row("front", f"{OURS}, {count} simulated", limit=f"{OURS}, {API_SERVERS[0]} simulated")
            engine = ("--slots", str(SLOTS), "--latency-s", str(LATENCY_S))
            front = ("--api-servers", str(count), "--preprocess-s", str(preprocess_s))
            with clients.simulator(*engine, *front) as url:
                rows += self._interleaved([row], {row.name: run(url, "simulator")}, rounds=1)
        return rows

    def gpu(self) -> list[Row]:
        """A real model: photographs of two sizes, as they are and shrunk, on one API server and on several."""
        if (name := gpu.gpu_name()) is None:
            say(gpu.NO_GPU)
        count = self._sizes.photographs if name is None else self._sizes.gpu_photographs
        folders = {what: self._images(*size, count) for what, size in gpu.PHOTOGRAPHS.items()}

        def run(row: Row, url: str, what: str, limit: str) -> Run:
            target = Target(url, "bench", *folders[what], count, gpu.ANSWER_TOKENS)

            def ask() -> tuple[list[str], dict[str, Any]]:
                with gpu.sampled(url) as seen:
                    asked = clients.captionqa(target, self._folder / "gpu", images={"max_pixels": limit})
                row.figures |= seen
                return asked

            return ask

        rows: list[Row] = []
        model = gpu.model_folder(self._model, self._folder)
        for number in gpu.api_server_counts():
            with gpu.server(model, self._folder / f"vllm-gpu-{number}.log", number) as running:
                added = [
                    Row("gpu", gpu.row_name(*kind, number), limit=gpu.row_name(kind[0], "auto", 1))
                    for kind in gpu.KINDS
                ]
                runs = {row.name: run(row, running[0], *kind) for row, kind in zip(added, gpu.KINDS, strict=True)}
                for row in added:
                    runs[row.name]()  # vLLM's first requests of a size are slow
                self._with_server(added, runs, [running] * len(added), count, self._sizes.server_rounds)
                rows += added
        return rows

    def cache(self) -> list[Row]:
        """Several questions on each image: without vLLM's caches, with them, and with them in a scattered order.

        And on photographs, which are sent with each question, or once and then by their identity.
        """
        names = ("caches off", "caches on, grouped by image", "caches on, scattered")
        rows = [Row("cache", f"{OURS}, {name}", limit=f"{OURS}, {names[0]}") for name in names]
        images, image_kb = self._images(512, 40, self._sizes.cache_images)
        grouped, scattered = make_questions(images, self._folder / "questions")
        count = len(QUESTIONS) * self._sizes.cache_images

        def run(url: str, questions: Path) -> Run:
            target = Target(url, "bench", questions.parent, image_kb, count, ANSWER_TOKENS)
            return lambda: clients.captionqa(
                target, self._folder / "cache", concurrency=VLLM_CONCURRENCY, questions=questions
            )

        with (
            clients.vllm(MODEL, self._folder / "vllm-off.log", (*MORE_TOKENS, *clients.NO_CACHES)) as off,
            clients.vllm(MODEL, self._folder / "vllm-on.log", (*MORE_TOKENS, *SMALL_CACHES)) as on,
        ):
            servers, files = (off, on, on), (grouped, grouped, scattered)
            runs = {row.name: run(url, file) for row, (url, *_), file in zip(rows, servers, files, strict=True)}
            for row in rows[:2]:
                runs[row.name]()  # vLLM's first requests are slow
            self._with_server(rows, runs, servers, count, self._sizes.server_rounds)
        return rows + self._named()

    def _named(self) -> list[Row]:
        """Questions about small images and about photographs, with each request or by their identity where held.

        The client shrinks photographs to what fits the server, its default, or sends them as they are.
        """
        options = (*MORE_TOKENS, *CACHES)
        own = ours.OwnServer(options, clients.vllm_version())
        rows, asked = [], {}
        count = len(QUESTIONS) * self._sizes.cache_images
        grid = {"pixel_grid_px": TOKEN_PX}
        for title, side_px, size_kb, sent in (
            ("512 pixels", 512, 40, grid),
            ("photographs", 2048, 1200, grid),
            ("photographs as they are", 2048, 1200, {**grid, "max_pixels": None}),
        ):
            images, image_kb = self._images(side_px, size_kb, self._sizes.cache_images)
            questions, _ = make_questions(images, self._folder / f"questions of {title}")
            target = Target("", "bench", questions.parent, image_kb, count, ANSWER_TOKENS, own)
            limit = f"{OURS}, {title}, with each question"
            for name, kind in ((limit, "off"), (f"{OURS}, {title}, by identity", "auto")):
                rows.append(Row("cache", name, limit=limit))
                asked[name] = target, questions, {"image_uuid": kind, "images": sent}
        with clients.vllm(MODEL, self._folder / "vllm-named.log", options, own=own) as running:

            def run(target: Target, questions: Path, client: dict[str, Any]) -> Run:
                return lambda: clients.captionqa(
                    replace(target, url=running[0]),
                    self._folder / "cache",
                    concurrency=VLLM_CONCURRENCY,
                    questions=questions,
                    **client,
                )

            runs = {name: run(*what) for name, what in asked.items()}
            runs[rows[0].name]()  # vLLM's first requests are slow
            self._with_server(rows, runs, [running] * len(rows), count, self._sizes.server_rounds)
        return rows

    def styles(self) -> list[Row]:
        """One and three styles over the same photographs, and questions too, with an image cache for some of them.

        On vLLM, and on the simulator with the costs of a cached and of another photograph as measured on vLLM.
        """
        sizes = self._sizes
        images, image_kb = self._images(2048, 1200, sizes.style_photographs)
        model = clients.wide_model(MODEL, self._folder / "wide-model-styles")
        cache = styles.cache_option(sizes.style_photographs // 3, PHOTOGRAPH_TOKENS, WIDE_TOKEN_PX)
        options = (*cache, "--no-mm-device-do-normalize", "--allowed-local-media-path", str(self._folder))
        with clients.vllm(model, self._folder / "vllm-styles.log", options) as running:
            target = Target(running[0], "bench", images, image_kb, sizes.style_photographs, ANSWER_TOKENS)
            grid = {"images": {"pixel_grid_px": WIDE_TOKEN_PX}, "concurrency": VLLM_CONCURRENCY}
            count = sizes.style_photographs // 6
            few = replace(target, images=self._some(images, count), count=count)
            cost_s = styles.request_s(few, self._folder / "styles-cost", running, cache, **grid)
            rows = self._asked("", target, cache, **grid)
        rows[0].figures |= {"API server ms a new photograph": 1000 * cost_s[0], "a cached one": 1000 * cost_s[1]}
        images, image_kb = self._images(512, 40, sizes.style_images)
        kept = max(1, sizes.style_images // 10)
        front = ("--preprocess-s", str(cost_s[0]), "--cached-images", str(kept), "--cached-s", str(cost_s[1]))
        with clients.simulator("--slots", str(SLOTS), "--latency-s", str(LATENCY_S), *front) as url:
            target = Target(url, "simulator", images, image_kb, sizes.style_images, MAX_TOKENS)
            cache = styles.cache_option(kept, PROMPT_TOKENS, GRID_PX)
            return rows + self._asked(", simulated", target, cache)

    def _some(self, images: Path, count: int) -> Path:
        """A folder of the first images of another."""
        folder = images.with_name(f"{images.name}-{count}")
        folder.mkdir()
        for path in sorted(images.iterdir())[:count]:
            os.link(path, folder / path.name)
        return folder

    def _asked(self, kind: str, target: Target, cache: Sequence[str], **client: Any) -> list[Row]:
        """The rows of `styles` on one server."""
        questions = self._folder / f"questions of styles{kind}.parquet"
        make_questions_in_place(target.images, questions)
        what = {
            "one style": (1, styles.Asking(styles.STYLES[:1])),
            "three styles, each by itself": (3, styles.Asking(together=False)),
            "three styles together": (3, styles.Asking()),
            "three styles and questions, each by itself": (7, styles.Asking(questions=questions, together=False)),
            "three styles and questions together": (7, styles.Asking(questions=questions)),
        }
        rows = []
        for name, (requests, asking) in what.items():
            row = Row("styles", f"{OURS}, {name}{kind}", limit=f"{OURS}, one style{kind}")
            asked = replace(target, count=requests * target.count)
            before = clients.counters(target.url)
            run = partial(styles.ask, asked, self._folder / "styles", asking, cache, **client)
            rows += self._interleaved([row], {row.name: run}, rounds=1)
            found = clients.counters(target.url)
            used = {name: found[name] - before[name] for name in ("mm_cache_hits", "mm_cache_queries")}
            row.figures["image hits"] = used["mm_cache_hits"] / used["mm_cache_queries"]
            row.figures["time of one style"] = requests * median(rows[0].images_per_s) / median(row.images_per_s)
        return rows

    def _with_server(
        self, rows: list[Row], runs: Mapping[str, Run], servers: Sequence[clients.Running], items: int, rounds: int
    ) -> None:
        """Run the rows in turn, and add what an item cost each row's server and how often its caches were hit."""
        spent: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
        for _, (row, server) in itertools.product(range(rounds), list(zip(rows, servers, strict=True))):
            before = clients.server_figures(server)
            self._interleaved([row], runs, rounds=1)
            after = clients.server_figures(server)
            spent[row.name].append({name: after[name] - before[name] for name in after})
        for row in rows:
            if "failed" not in row.figures:
                row.figures |= server_use(spent[row.name], items)

    def scale(self) -> list[Row]:
        """Planning, merging, the dry run and a rerun with nothing to do, as the number of items grows."""
        rows = []
        for items in self._sizes.scale:
            say(f"scale: {items:,} items")
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                rows.append(Row("scale", f"{items:,} items", figures=scale.measure(Path(folder), items)))
        return rows

    def startup(self) -> list[Row]:
        """The time from the start of a chunk job's process to its first request, and its imports."""
        images, _ = self._images(1024, 200, 8)
        rounds = max(3, self._sizes.rounds)
        firsts = sorted(startup.first_request_s(self._folder / f"startup-{n}", images) for n in range(rounds))
        bare = sorted(startup.bare_python_s() for _ in range(rounds))
        figures = {"s": firsts[rounds // 2], "least s": firsts[0], "bare Python s": bare[rounds // 2]}
        return [
            Row("startup", "process start to first request", figures=figures),
            Row("startup", "imports", figures=startup.import_budget_ms()),
        ]

    def _beside(self, target: Target, part: str, jobs: tuple[int, ...]) -> tuple[list[Row], dict[str, Run]]:
        """The bare load generator as the limit, captionqa with default settings, and the peers with SLOTS in flight."""
        limit = "bare load generator"
        few = replace(target, count=self._sizes.sequential_images)
        runs: dict[str, Run] = {limit: lambda: clients.bare_load(target, SLOTS)}
        for number in jobs:
            name = f"{OURS}, {'one job' if number == 1 else f'{number} jobs'}"
            runs[name] = lambda number=number: clients.captionqa(target, self._folder / part, number)
        runs["openai"] = lambda: clients.peer("openai", target, SLOTS)
        runs["datatrove"] = lambda: clients.peer("datatrove", target, SLOTS)
        runs["requests, one at a time"] = lambda: clients.peer("requests", few, 1)
        rows = [Row(part, name, limit=limit, is_peer=name != limit and OURS not in name) for name in runs]
        return rows, runs

    def _interleaved(self, rows: list[Row], runs: Mapping[str, Run], rounds: int | None = None) -> list[Row]:
        """Run each row once, then each once more, and so on, so that a busy minute of the machine affects all alike."""
        for row in itertools.chain.from_iterable([rows] * (rounds or self._sizes.rounds)):
            if "failed" in row.figures:
                continue  # a client that hung once would use up its timeout in each round
            try:
                argv, figures = runs[row.name]()
            except (RuntimeError, ValueError) as error:
                if not row.is_peer:
                    raise
                row.figures["failed"] = str(error).strip().splitlines()[-1]
                say(f"{row.part}: {row.name}: {error}")
                continue
            row.command = shlex.join(argv)
            row.add(figures["images"], figures["wall_s"], figures["cpu_s"])
            row.figures["peak MB"] = round(figures["peak_mb"])
            say(f"{row.part}: {row.name}: {row.images_per_s[-1]:.1f} images/s, {row.cpu_ms[-1]:.2f} ms of CPU each")
        return rows

    def _target(self, url: str, count: int) -> Target:
        images, image_kb = self._images(1024, 200, count)
        return Target(url, "simulator", images, image_kb, count, MAX_TOKENS)

    def _images(self, side_px: int, size_kb: float, count: int) -> tuple[Path, float]:
        folder = self._folder / f"images-{side_px}-{count}"
        if not folder.exists():
            say(f"making {count} images of {side_px} pixels and about {size_kb:.0f} kB")
            make_images(folder, count, side_px, size_kb)
        sizes = [path.stat().st_size for path in folder.iterdir()]
        return folder, sum(sizes) / len(sizes) / 1000


#: Those of a run without --parts.
PARTS = ("client", "ceiling", "shards", "vllm", "batch", "resize", "front", "cache", "styles", "scale", "startup")
#: The parts without vLLM, which takes a minute to start.
QUICK_PARTS = ("client", "ceiling", "shards", "scale", "startup")


#: A part for another machine.
GPU_PART = "gpu"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parts(text: str) -> list[str]:
    names = text.split(",")
    known = (*PARTS, GPU_PART)
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no part; the parts are {', '.join(known)}")
    return names


def measured_parts(bench: Bench, names: Sequence[str]) -> Iterator[Row]:
    for name in names:
        started = time.perf_counter()
        yield from getattr(bench, name)()
        say(f"{name}: done in {time.perf_counter() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", type=parts, help="comma-separated; all but gpu by default, with --quick all without vLLM"
    )
    parser.add_argument("--model", help="the hub id or folder that the part gpu serves; by default the demo's model")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows whether it works, not how fast")
    parser.add_argument("--rounds", type=int, help="how often each row is measured")
    parser.add_argument("--json", type=Path, default=Path("output/bench.json"), help="the file for all figures")
    parser.add_argument("--folder", type=Path, help="the folder for temporary files, if /tmp is too small")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    names = options.parts or (QUICK_PARTS if options.quick else PARTS)
    if options.rounds:
        rounds = dict.fromkeys(("rounds", "simulator_rounds", "server_rounds"), options.rounds)
        sizes = replace(sizes, **rounds)
    rows: list[Row] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # no server outlives the run
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="captionqa-bench-") as folder:
        try:
            rows.extend(measured_parts(Bench(sizes, Path(folder), options.model), names))
        finally:
            print(table(rows))
            more = {"served": gpu.about(options.model or "demo, widened")} if GPU_PART in names else {}
            write(options.json, rows, command=shlex.join(sys.argv), quick=options.quick, **more)
            say(f"all figures are in {options.json}")


if __name__ == "__main__":
    main()
