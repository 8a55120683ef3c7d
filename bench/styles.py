"""Several prompt styles, and questions, about the same images: their chunk jobs, started as the workflow does."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionqa.client.image_pace import BYTES_PER_PX
from captionqa.run.job_times import seconds, union
from captionqa.server.chosen_options import IMAGE_CACHE_GB

from bench import clients, ours
from bench.clients import Target
from bench.data import PART

STYLES = ("SIMPLE", "SHORT", "LONG")
#: Chunks of each style, and the most client jobs at a time, as in profiles/local.
CHUNKS, JOBS = 4, 4
POLL_S = 0.05


@dataclass(frozen=True)
class Asking:
    """What is asked about the images, and whether the jobs keep together."""

    styles: Sequence[str] = STYLES
    questions: Path | None = None
    together: bool = True


def cache_option(images: int, tokens: int, pixel_grid_px: int) -> tuple[str, str]:
    """vLLM's option for an image cache that holds this many images of `tokens` tokens each."""
    return IMAGE_CACHE_GB, f"{images * tokens * pixel_grid_px**2 * BYTES_PER_PX / 2**30:.6f}"


def ask(target: Target, folder: Path, asking: Asking, cache: Sequence[str], **client: Any) -> tuple[list[str], dict]:
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
    jobs = ours.prepare_all(folder, raw, options=cache)
    most = JOBS
    if asking.together:
        jobs.sort(key=lambda job: job[1])
        most -= JOBS % len({name for name, _ in jobs})
    argvs = [
        [clients.OURS, "-m", "bench.ours", "--folder", str(folder), "--file", name, "--chunk", str(chunk)]
        for name, chunk in jobs
    ]
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
    left, running = list(argvs), []
    try:
        while left or running:
            while left and len(running) < most:
                running.append(clients.start(left.pop(0)))
            ended = [process for process in running if process.poll() is not None]
            running = [process for process in running if process not in ended]
            for process in ended:
                yield clients.figures_of(process)
            time.sleep(POLL_S)
    finally:
        for process in running:
            with suppress(OSError):
                clients.end(process)


def request_s(
    target: Target, folder: Path, server: clients.Running, cache: Sequence[str], **client: Any
) -> tuple[float, float]:
    """The seconds of a server's busiest thread for a request with a new image, and for one with an image of its cache.

    The cache holds all images of `target`, and none when this begins.
    """
    spent: list[dict[int, float]] = [clients.thread_seconds(server)]
    for style in STYLES[:2]:
        ask(target, folder, Asking([style]), cache, **client)
        spent.append(clients.thread_seconds(server))
    first = {thread: total - spent[0].get(thread, 0.0) for thread, total in spent[1].items()}
    busiest = max(first, key=first.__getitem__)
    return first[busiest] / target.count, (spent[2][busiest] - spent[1][busiest]) / target.count
