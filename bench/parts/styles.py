"""The part `styles`: chunk jobs of several styles, and of questions, about the same images."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from captionqa.client.image_pace import BYTES_PER_PX
from captionqa.config.vllm_options import IMAGE_CACHE_GB
from captionqa.run.job_times import seconds, union

from bench import ours, servers
from bench.clients import Target
from bench.counters import PROMPT_TOKENS
from bench.data import PART, make_questions_in_place
from bench.processes import OURS as PYTHON
from bench.processes import Outcome, end, figures_of, start
from bench.report import OURS, Row
from bench.running import ANSWER_TOKENS, MAX_TOKENS, MODEL, SIMULATED_GPU, VLLM_CONCURRENCY, Bench

STYLES = ("SIMPLE", "SHORT", "LONG")
#: Chunks of each style, and the most client jobs at a time, as in profiles/local.
CHUNKS, JOBS = 4, 4
POLL_S = 0.05
#: The side of the square that is one token: Qwen3-VL's, which is the default, and that of the widened model.
GRID_PX, WIDE_TOKEN_PX = 32, 128
#: Of a photograph of 2048 x 1536 pixels, in the widened model.
PHOTOGRAPH_TOKENS = 192
#: What one style may take on the simulator; all rows together take about twelve times as long.
SIMULATED_S = 120
#: With fewer, the jobs of a chunk would hardly wait for each other.
LEAST_IMAGES = 300
#: The simulated API server keeps one image out of this many.
IMAGES_PER_CACHED = 10


@dataclass(frozen=True)
class Asking:
    """What is asked about the images, and whether the jobs keep together."""

    styles: Sequence[str] = STYLES
    questions: Path | None = None
    together: bool = True


def styles(bench: Bench) -> list[Row]:
    """One and three styles over the same photographs, and questions too, with an image cache for some of them.

    On vLLM, and on the simulator with the costs of a new and of a cached photograph as measured on vLLM. Where these
    are given, on the simulator alone.
    """
    if bench.photograph_s is not None:
        return _simulated(bench, bench.photograph_s, bench.sizes.style_images)
    rows, cost_s = _on_vllm(bench)
    return rows + _simulated(bench, cost_s, simulated_images(bench.sizes.style_images, cost_s[0]))


def _on_vllm(bench: Bench) -> tuple[list[Row], tuple[float, float]]:
    """The rows of vLLM, and the seconds that a new and a cached photograph took."""
    sizes = bench.sizes
    images, image_kb = bench.images(2048, 1200, sizes.style_photographs)
    model = servers.wide_model(MODEL, bench.folder / "wide-model-styles")
    cache = cache_option(sizes.style_photographs // 3, PHOTOGRAPH_TOKENS, WIDE_TOKEN_PX)
    options = (*cache, "--no-mm-device-do-normalize", "--allowed-local-media-path", str(bench.folder))
    with servers.vllm(model, bench.folder / "vllm-styles.log", options) as running:
        target = Target(running[0], "bench", images, image_kb, sizes.style_photographs, ANSWER_TOKENS)
        grid = {"images": {"pixel_grid_px": WIDE_TOKEN_PX}, "concurrency": VLLM_CONCURRENCY}
        count = sizes.style_photographs // 6
        few = replace(target, images=_some(images, count), count=count)
        cost_s = request_s(few, bench.folder / "styles-cost", running, cache, **grid)
        rows = _asked(bench, "", target, cache, **grid)
    rows[0].figures |= {"API server ms a new photograph": 1000 * cost_s[0], "a cached one": 1000 * cost_s[1]}
    return rows, cost_s


def _simulated(bench: Bench, cost_s: tuple[float, float], count: int) -> list[Row]:
    """The rows of the simulator with `count` images, of which a new and a cached one take `cost_s`, in seconds."""
    images, image_kb = bench.images(512, 40, count)
    kept = max(1, count // IMAGES_PER_CACHED)
    front = ("--preprocess-s", str(cost_s[0]), "--cached-images", str(kept), "--cached-s", str(cost_s[1]))
    with servers.simulator(*SIMULATED_GPU, *front) as url:
        target = Target(url, "simulator", images, image_kb, count, MAX_TOKENS)
        rows = _asked(bench, ", simulated", target, cache_option(kept, PROMPT_TOKENS, GRID_PX))
    for row in rows:
        row.figures |= {"simulated images": count, "of them in the cache": kept}
    return rows


def simulated_images(most: int, new_image_s: float) -> int:
    """How many images are simulated: at most `most`, fewer where one style of them took longer than SIMULATED_S.

    They are never fewer than LEAST_IMAGES, whatever that takes, unless `most` is.
    """
    return min(most, max(LEAST_IMAGES, int(SIMULATED_S / new_image_s)))


def _some(images: Path, count: int) -> Path:
    """A folder of the first images of another."""
    folder = images.with_name(f"{images.name}-{count}")
    folder.mkdir()
    for path in sorted(images.iterdir())[:count]:
        os.link(path, folder / path.name)
    return folder


def _asked(bench: Bench, kind: str, target: Target, cache: Sequence[str], **client: Any) -> list[Row]:
    """The rows of one server."""
    questions = bench.folder / f"questions of styles{kind}.parquet"
    make_questions_in_place(target.images, questions)
    what = {
        "one style": (1, Asking(STYLES[:1])),
        "three styles, each by itself": (3, Asking(together=False)),
        "three styles together": (3, Asking()),
        "three styles and questions, each by itself": (7, Asking(questions=questions, together=False)),
        "three styles and questions together": (7, Asking(questions=questions)),
    }
    rows: list[Row] = []
    for name, (requests, asking) in what.items():
        row = Row("styles", f"{OURS}, {name}{kind}", limit=f"{OURS}, one style{kind}")
        asked = replace(target, count=requests * target.count)
        before = servers.counters(target.url)
        run = partial(ask, asked, bench.folder / "styles", asking, cache, **client)
        rows += bench.interleaved([row], {row.name: run}, rounds=1)
        found = servers.counters(target.url)
        used = {name: found[name] - before[name] for name in ("mm_cache_hits", "mm_cache_queries")}
        row.figures["image hits"] = used["mm_cache_hits"] / used["mm_cache_queries"]
        row.figures["time of one style"] = requests * median(rows[0].images_per_s) / median(row.images_per_s)
    return rows


def cache_option(images: int, tokens: int, pixel_grid_px: int) -> tuple[str, str]:
    """vLLM's option for an image cache that holds this many images of `tokens` tokens each."""
    return IMAGE_CACHE_GB, f"{images * tokens * pixel_grid_px**2 * BYTES_PER_PX / 2**30:.6f}"


def ask(target: Target, folder: Path, asking: Asking, cache: Sequence[str], **client: Any) -> Outcome:
    """Run all chunk jobs, JOBS at once; the time is that in which at least one of them ran.

    Jobs that keep together start by chunks, in whole groups, others by styles. `cache` is the server's option for its
    image cache.
    """
    shutil.rmtree(folder, ignore_errors=True)
    raw = ours.configuration(
        folder,
        target.images,
        target.url,
        target.model,
        target.max_tokens,
        chunks=CHUNKS * PART,
        share_images=asking.together,
        image_transport="file",
        **client,
    )
    raw["captions"]["prompt_styles"] = list(asking.styles)
    if asking.questions is not None:
        raw["qa"] = {
            "dataset_path": str(target.images),
            "question_path": str(asking.questions),
            "max_tokens": target.max_tokens,
            "chunks": CHUNKS * PART,
        }
    jobs = ours.prepare(folder, raw, options=cache)
    most = JOBS
    if asking.together:
        jobs.sort(key=lambda job: job.number)
        most -= JOBS % len({job.file for job in jobs})
    argvs = [job.command(PYTHON) for job in jobs]
    figures = list(_run(argvs, most))
    total = {
        "images": sum(one["images"] for one in figures),
        "cpu_s": sum(one["cpu_s"] for one in figures),
        "wall_s": seconds(union((one["start"], one["end"]) for one in figures)),
        "peak_mb": max(one["peak_mb"] for one in figures),
    }
    if total["images"] != target.count:
        raise RuntimeError(f"captionqa has answers to {total['images']} of {target.count} items; see {folder}")
    return argvs[0], total


def _run(argvs: Sequence[list[str]], most: int) -> Iterator[dict[str, Any]]:
    """The figures of all jobs, `most` at a time; the next one starts when one ends."""
    left, running = list(argvs), list[subprocess.Popen[str]]()
    try:
        while left or running:
            while left and len(running) < most:
                running.append(start(left.pop(0)))
            ended = [process for process in running if process.poll() is not None]
            running = [process for process in running if process not in ended]
            for process in ended:
                yield figures_of(process)
            time.sleep(POLL_S)
    finally:
        for process in running:
            with suppress(OSError):
                end(process)


def request_s(
    target: Target, folder: Path, server: servers.Running, cache: Sequence[str], **client: Any
) -> tuple[float, float]:
    """The seconds of a server's busiest thread for a request with a new image, and for one with an image of its cache.

    The cache holds all images of `target`, and none when this begins.
    """
    spent: list[dict[int, float]] = [servers.thread_seconds(server)]
    for style in STYLES[:2]:
        ask(target, folder, Asking([style]), cache, **client)
        spent.append(servers.thread_seconds(server))
    first = {thread: total - spent[0].get(thread, 0.0) for thread, total in spent[1].items()}
    busiest = max(first, key=first.__getitem__)
    return first[busiest] / target.count, (spent[2][busiest] - spent[1][busiest]) / target.count
