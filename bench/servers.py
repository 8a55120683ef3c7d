"""The servers that are measured: the simulator and vLLM, and what they spend."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
from captionqa.server.key_guard import KEY_VARIABLE, KeyGuard

from bench import ours
from bench.processes import CLIENT_TIMEOUT_S, PEERS, VLLM, end, start

VLLM_START_TIMEOUT_S = 900
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


@contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """Run a simulator; gives its base URL."""
    process = start([PEERS, "-m", "bench.simulator", *arguments])
    assert process.stdout is not None  # `start` makes a pipe
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
            return bool(answer.status == 200)
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


def wide_model(demo: Path, folder: Path) -> Path:
    """Make the model of bench.vllm_model from the demo's, and return its folder."""
    maker = start([VLLM, "-m", "bench.vllm_model", str(demo), str(folder)])
    output, _ = maker.communicate(timeout=CLIENT_TIMEOUT_S)
    if maker.returncode:
        raise RuntimeError(f"the model for large pictures was not written: {output[-2000:]}")
    return folder
