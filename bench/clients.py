"""The clients that are measured: the bare load generator, those that people would use instead, and captionqa."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import PART
from bench.peers import conversation
from bench.processes import OURS, PEERS, VLLM, Outcome, end, figures_of, start
from bench.servers import NO_CACHES, VLLM_ENVIRONMENT


@dataclass(frozen=True)
class Target:
    """A server and the work for it."""

    url: str
    model: str
    images: Path
    image_kb: float
    count: int
    max_tokens: int
    #: The vLLM as a server of captionqa's own; None asks it as an existing one.
    own: ours.OwnServer | None = None


def bare_load(target: Target, concurrency: int) -> Outcome:
    argv = [PEERS, "-m", "bench.load", "--url", target.url, "--requests", str(target.count)]
    argv += ["--concurrency", str(concurrency), "--image-kb", str(target.image_kb)]
    return argv, figures_of(start(argv))


def peer(name: str, target: Target, concurrency: int) -> Outcome:
    argv = [PEERS, "-m", "bench.peers", name, "--url", target.url, "--model", target.model]
    argv += ["--images", str(target.images), "--count", str(target.count), "--concurrency", str(concurrency)]
    argv += ["--max-tokens", str(target.max_tokens)]
    return argv, figures_of(start(argv))


def vllm_serve(target: Target, concurrency: int, folder: Path, tokenizer: Path) -> Outcome:
    """vLLM's `bench serve` on the same files, as data URLs: from a path it would make a PNG, ten times as large.

    Its time does not include reading the files, so it does less of the work than the other clients.
    """
    listed = folder / "custom_image.jsonl"
    with open(listed, "w") as file:
        for path in _files(target):
            image, text = conversation(path)[0]["content"]
            file.write(json.dumps({"prompt": text["text"], "image_files": [image["image_url"]["url"]]}) + "\n")
    argv = [VLLM, "-m", "bench.vllm_peers", "serve", "--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    argv += ["--base-url", target.url, "--model", target.model, "--tokenizer", str(tokenizer)]
    argv += ["--dataset-name", "custom_image", "--dataset-path", str(listed)]
    argv += ["--num-prompts", str(target.count), "--custom-output-len", str(target.max_tokens)]
    argv += ["--max-concurrency", str(concurrency), "--temperature", "0", "--disable-tqdm"]
    figures = figures_of(start(argv))
    return argv, {**figures, "wall_s": figures["own_wall_s"]}


def vllm_run_batch(target: Target, folder: Path, model: Path) -> Outcome:
    """vLLM's `run-batch` on the same files, with its own engine, whose start its time does not include."""
    source, answers = folder / "batch.jsonl", folder / "batch_answers.jsonl"
    with open(source, "w") as file:
        for path in _files(target):
            body = {"model": target.model, "messages": conversation(path), "max_tokens": target.max_tokens}
            row = {"custom_id": path.name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps({**row, "body": {**body, "temperature": 0}}) + "\n")
    argv = [VLLM, "-m", "bench.vllm_peers", "run-batch", "-i", str(source), "-o", str(answers), "--model", str(model)]
    argv += [*NO_CACHES, "--served-model-name", target.model, "--max-model-len", "8192", "--enforce-eager"]
    argv += ["--limit-mm-per-prompt", '{"image": 1, "video": 0}', "--generation-config", "vllm"]
    return argv, figures_of(start(argv, **VLLM_ENVIRONMENT))


def captionqa(target: Target, folder: Path, jobs: int = 1, **client: Any) -> Outcome:
    """`jobs` chunk jobs of captionqa at once, measured from the first start to the last end.

    Of questions and of rows of parquet files all chunks have some, of images the first of each PART alone.
    """
    shutil.rmtree(folder, ignore_errors=True)
    chunks = jobs if "questions" in client or any(target.images.glob("*.parquet")) else jobs * PART
    raw = ours.configuration(
        folder, target.images, target.url, target.model, target.max_tokens, chunks=chunks, **client
    )
    argvs = [job.command(OURS) for job in ours.prepare(folder, raw, target.own)]
    processes = list(map(start, argvs))
    try:
        figures = [figures_of(process) for process in processes]
    finally:
        for process in processes:
            end(process)
    total = {
        "images": sum(one["images"] for one in figures),
        "cpu_s": sum(one["cpu_s"] for one in figures),
        "wall_s": max(one["end"] for one in figures) - min(one["start"] for one in figures),
        "peak_mb": max(one["peak_mb"] for one in figures),
    }
    if total["images"] != target.count:
        raise RuntimeError(f"captionqa has answers to {total['images']} of {target.count} items; see {folder}")
    return argvs[0], total


def _files(target: Target) -> list[Path]:
    return sorted(target.images.glob("*.jpg"))[: target.count]
