"""Starting what is measured: servers, the load generator and clients, each in its own process and environment."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
from captionqa.server.key_guard import KEY_VARIABLE, KeyGuard

from bench import ours
from bench.data import PART
from bench.meter import parse
from bench.peers import conversation

ROOT = ours.ROOT
OURS = str(ROOT / ".venv" / "bin" / "python")
PEERS = str(ROOT / ".venv-bench" / "bin" / "python")
VLLM = str(ROOT / ".venv-vllm" / "bin" / "python")
#: Even on a busy machine, the work of each client takes less than a quarter of this.
CLIENT_TIMEOUT_S = 600
VLLM_START_TIMEOUT_S = 900
END_TIMEOUT_S = 30
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "workflow")])
#: Each round sends the same images, which a cache would make cheaper from the second round on.
NO_CACHES = ("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0")
VLLM_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
#: In the names of the processes of several API servers; a single one is the main process.
API_SERVER = "APIServer"
#: A vLLM's base URL, its main process, and the seconds that it took to start.
Running = tuple[str, psutil.Process, float]
_COUNTER = re.compile(
    r"^vllm:((?:prefix|mm)_cache_(?:hits|queries)|(?:prompt|generation)_tokens)_total\{.*\} (\S+)$", re.MULTILINE
)


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


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": PATHS, "PYTHONUNBUFFERED": "1", "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}


def start(argv: Sequence[str], output: Any = subprocess.PIPE, **changes: str) -> subprocess.Popen:
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment() | changes, stdout=output, stderr=subprocess.STDOUT, text=True
    )


def figures_of(process: subprocess.Popen, timeout_s: float = CLIENT_TIMEOUT_S) -> dict[str, Any]:
    """Wait for a client and return its figures.

    Raises:
        RuntimeError: the client failed or hung.
        ValueError: the client printed no figures.
    """
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{shlex.join(process.args)} was ended since it took more than {timeout_s:.0f} s") from None
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(f"{shlex.join(process.args)} failed: {output[-2000:]}")
    return parse(output)


def end(process: subprocess.Popen) -> None:
    """End a process and all that it started, unless the process has ended by itself."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


@contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """Run a simulator; gives its base URL."""
    process = start([PEERS, "-m", "bench.simulator", *arguments])
    try:
        line = process.stdout.readline()
        if "http" not in line:
            raise RuntimeError(f"the simulator did not start: {line}{process.stdout.read()}")
        yield line.split()[-1]
    finally:
        end(process)
        process.stdout.close()


@contextmanager
def vllm(
    model: Path | str,
    log: Path,
    options: Sequence[str] = NO_CACHES,
    eager: bool = True,
    start_timeout_s: float = VLLM_START_TIMEOUT_S,
    own: ours.OwnServer | None = None,
    **environment: str,
) -> Iterator[Running]:
    """Run a vLLM with the demo's settings; `environment` is added to its own.

    With `own` it is behind the guard and the key of a server of captionqa's.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    argv = [VLLM, "-m", "vllm.entrypoints.cli.main", "serve", "--model", str(model), "--served-model-name", "bench"]
    argv += ["--port", port, "--host", "127.0.0.1", "--max-model-len", "8192", *(["--enforce-eager"] * eager)]
    argv += ["--limit-mm-per-prompt", '{"image": 1, "video": 0}', "--generation-config", "vllm"]
    argv += ["--disable-uvicorn-access-log", *options]
    key = {}
    if own is not None:
        argv += ["--middleware", f"{KeyGuard.__module__}.{KeyGuard.__qualname__}"]
        key = {KEY_VARIABLE: ours.KEY}
    started = time.perf_counter()
    with open(log, "w") as output:
        process = start(argv, output, **VLLM_ENVIRONMENT, **key, **environment)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _healthy(url):
            if process.poll() is not None or time.perf_counter() - started > start_timeout_s:
                raise RuntimeError(f"vLLM did not start; its log is {log}: {log.read_text()[-1000:]}")
            time.sleep(0.5)
        yield url, psutil.Process(process.pid), time.perf_counter() - started
    finally:
        end(process)


def vllm_version() -> str:
    """The version of the vLLM that is measured."""
    words = [VLLM, "-c", "from importlib import metadata; print(metadata.version('vllm'))"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def counters(url: str) -> dict[str, float]:
    """A server's counters of tokens and of its caches so far."""
    with urlopen(Request(f"{url}/metrics", headers={"Authorization": f"Bearer {ours.KEY}"})) as answer:
        return {name: float(value) for name, value in _COUNTER.findall(answer.read().decode())}


def server_figures(running: Running) -> dict[str, float]:
    """A vLLM's counters so far.

    `cpu_s` are the CPU seconds of all its processes, `main_cpu_s` those of its API servers, which do HTTP and
    preprocess images. `prefix_cache_hits` and `prefix_cache_queries` are in tokens, `mm_cache_hits` and
    `mm_cache_queries` in images; `prompt_tokens` and `generation_tokens` count tokens.
    """
    url, server, _ = running
    members = [server, *server.children(recursive=True)]
    spent = [sum(member.cpu_times()[:2]) for member in members]
    api_servers = [cpu_s for member, cpu_s in zip(members, spent, strict=True) if API_SERVER in member.name()]
    return counters(url) | {"cpu_s": sum(spent), "main_cpu_s": sum(api_servers) or spent[0]}


def thread_seconds(running: Running) -> dict[int, float]:
    """{thread: its CPU seconds so far} of the main process of a vLLM, which is its API server where it has one."""
    return {thread.id: thread.user_time + thread.system_time for thread in running[1].threads()}


@contextmanager
def core_of_its_own(server: psutil.Process) -> Iterator[None]:
    """Pin a server to the last core, and all that is started meanwhile to the others.

    On a machine with one core nothing is pinned.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield
        return
    for member in (server, *server.children(recursive=True)):
        _keep_on(member, cores[-1:])
    os.sched_setaffinity(0, cores[:-1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _keep_on(process: psutil.Process, cores: Sequence[int]) -> None:
    for thread in process.threads():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, cores)


def bare_load(target: Target, concurrency: int) -> tuple[list[str], dict[str, Any]]:
    argv = [PEERS, "-m", "bench.load", "--url", target.url, "--requests", str(target.count)]
    argv += ["--concurrency", str(concurrency), "--image-kb", str(target.image_kb)]
    return argv, figures_of(start(argv))


def peer(name: str, target: Target, concurrency: int) -> tuple[list[str], dict[str, Any]]:
    argv = [PEERS, "-m", "bench.peers", name, "--url", target.url, "--model", target.model]
    argv += ["--images", str(target.images), "--count", str(target.count), "--concurrency", str(concurrency)]
    argv += ["--max-tokens", str(target.max_tokens)]
    return argv, figures_of(start(argv))


def wide_model(demo: Path, folder: Path) -> Path:
    """Make the model of bench.vllm_model from the demo's, and return its folder."""
    maker = start([VLLM, "-m", "bench.vllm_model", str(demo), str(folder)])
    output, _ = maker.communicate(timeout=CLIENT_TIMEOUT_S)
    if maker.returncode:
        raise RuntimeError(f"the model for large pictures was not written: {output[-2000:]}")
    return folder


def vllm_serve(target: Target, concurrency: int, folder: Path, tokenizer: Path) -> tuple[list[str], dict[str, Any]]:
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


def vllm_run_batch(target: Target, folder: Path, model: Path) -> tuple[list[str], dict[str, Any]]:
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


def captionqa(target: Target, folder: Path, jobs: int = 1, **client: Any) -> tuple[list[str], dict[str, Any]]:
    """`jobs` chunk jobs of captionqa at once, measured from the first start to the last end.

    Of questions and of rows of parquet files all chunks have some, of images the first of each PART alone.
    """
    shutil.rmtree(folder, ignore_errors=True)
    chunks = jobs if "questions" in client or any(target.images.glob("*.parquet")) else jobs * PART
    raw = ours.configuration(
        folder, target.images, target.url, target.model, target.max_tokens, chunks=chunks, **client
    )
    chunks = ours.prepare(folder, raw, target.own)
    argvs = [[OURS, "-m", "bench.ours", "--folder", str(folder), "--chunk", str(number)] for number in range(chunks)]
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
