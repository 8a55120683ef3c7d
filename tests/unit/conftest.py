"""Fixtures of the unit tests: configurations, pictures, real servers with faults, leases and processes."""

import asyncio
import copy
import io
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import captionqa
import hypothesis
import psutil
import pytest
import stand_in_server
import yaml
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.question_captions import QuestionCaptions
from captionqa.client.server_trial import TRIAL_TEXT
from captionqa.config.check import check
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.final_files import final_files
from captionqa.dataset.question_plan import plan_questions
from captionqa.files import read_json_lines
from captionqa.run.lease import LeaseKeeper
from captionqa.server.endpoint import Endpoint, State
from PIL import Image

from bench.counters import Counters
from bench.simulator import Settings, serve

WORKFLOW = Path(captionqa.__file__).resolve().parents[1]
STAND_IN = Path(stand_in_server.__file__).resolve()
PATIENCE_S = 30.0
HANGING_S = 60

hypothesis.settings.register_profile(
    "captionqa",
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("captionqa")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def own_log():
    """Undo what a command that runs in this process sets up to print on the terminal."""
    logger = logging.getLogger("captionqa")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(scope="session")
def workflow_folder():
    return WORKFLOW


@pytest.fixture(scope="session")
def stand_in_path():
    return STAND_IN


@pytest.fixture(scope="session")
def schema():
    return yaml.safe_load((WORKFLOW / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))


def _merge(base, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)
    return base


@pytest.fixture
def raw_config(tmp_path):
    """An unchecked configuration of both tasks with the changes merged in."""

    def make(changes=None):
        base = {
            "output_dir": str(tmp_path / "output"),
            "models": {"tiny": {"path": "org/tiny"}},
            "captions": {"dataset_path": str(tmp_path / "images")},
            "qa": {"question_path": str(tmp_path / "questions.parquet"), "dataset_path": str(tmp_path / "images")},
            "client": {
                "concurrency": 4,
                "request_timeout_s": 20,
                "max_attempts": 3,
                "backoff_s": 0.01,
                "server_wait_s": 30,
            },
        }
        return _merge(base, changes or {})

    return make


@pytest.fixture
def make_config(raw_config, schema):
    """A checked configuration with the changes merged in."""
    return lambda changes=None: check(raw_config(changes), schema)


@pytest.fixture(scope="session")
def encode():
    """The bytes of a Pillow image in a format."""

    def to_bytes(image, kind="PNG", **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return to_bytes


@pytest.fixture
def images(tmp_path, encode):
    """A folder and a way to put pictures, all different, into it."""
    folder = tmp_path / "images"
    folder.mkdir()

    class Images:
        path = folder
        count = 0

        def add(self, *names):
            for name in names:
                self.count += 1
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode(Image.new("RGB", (8, 8), (self.count % 256, self.count // 256, 7))))
            return folder

    return Images()


class StandIn:
    """A running stand-in server, what it was asked, and its faults."""

    def __init__(self, url, folder):
        self.url = url
        #: Lets the server read files in a folder.
        self.read_from = None
        #: Says where the model is from.
        self.serve_root = None
        #: The images that it keeps.
        self.kept = None
        self._faults = folder / "faults.json"
        self._requests = folder / "requests.jsonl"

    def fail(self, fault, **options):
        self.set(fault=fault, **options)

    def set(self, **faults):
        self._faults.write_text(json.dumps(faults))

    def heal(self):
        self._faults.unlink(missing_ok=True)

    @property
    def asked(self):
        """The requests for items, in their order."""
        return [request for request in self._all() if TRIAL_TEXT not in request["text"]]

    @property
    def trials(self):
        """The requests that only tried whether the server answers."""
        return [request for request in self._all() if TRIAL_TEXT in request["text"]]

    def _all(self):
        if not self._requests.exists():
            return []
        return [json.loads(line) for line in self._requests.read_text().splitlines()]


class QuickStandIn(stand_in_server.Handler):
    """Small answers leave at once instead of waiting for an acknowledgement."""

    disable_nagle_algorithm = True


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The stand-in server, listening on a free port from a thread of this process."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    running = StandIn("", folder)
    monkeypatch.setenv("STAND_IN_FAULTS", str(running._faults))
    monkeypatch.setenv("STAND_IN_REQUESTS", str(running._requests))
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    server = stand_in_server.Server(("127.0.0.1", 0), QuickStandIn)
    server.model, server.seen = "tiny", {}
    running.read_from = partial(setattr, server, "media_folder")
    running.serve_root = partial(setattr, server, "root")
    running.kept = server.kept
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    running.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield running
    server.shutdown()
    server.server_close()


@pytest.fixture
def scripted():
    """A real HTTP server whose answers the test gives one by one; the last one is repeated.

    An answer is (status, headers, body), or a function of the handler and the request that does what it likes. What
    was asked is in `requests` as (headers, body). Trials of the client have an answer of their own, `trial`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.guard:
                if TRIAL_TEXT in str(body):
                    answer = server.trial
                else:
                    server.requests.append((dict(self.headers), body))
                    answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            if callable(answer):
                return answer(self, body)
            status, headers, data = answer
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.guard, server.requests, server.answers = threading.Lock(), [], []
    server.trial = (200, {}, {"choices": [{"message": {"content": "White."}}]})
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def simulator():
    """Start simulators of the benchmark on a thread of this process; gives their base URLs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = []

    def start(**settings):
        listener = socket.create_server(("127.0.0.1", 0))
        started = serve(Settings(**settings), listener, Counters(1))
        servers.append(asyncio.run_coroutine_threadsafe(started, loop).result(10))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server in servers:
        loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def server_folder(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    return folder


@pytest.fixture
def publish(server_folder):
    """Write the endpoint file of a replica."""

    def write(url, replica=0, state=State.READY, **fields):
        entry = Endpoint(
            replica=replica, request_id="request", settings="settings", model="tiny", state=state, url=url, **fields
        )
        entry.publish(server_folder)
        return entry

    return write


@pytest.fixture
def server(publish, stand_in):
    """The stand-in server, published as healthy."""
    publish(stand_in.url)
    return stand_in


@pytest.fixture
def jobs(tmp_path, images, make_config, server_folder):
    """The chunk jobs of one final file as the driver would plan them now; of questions that of a context."""

    def make(task="captions", chunks=1, changes=None, context=""):
        config = make_config(changes)
        layout = Layout(config.output_dir, "tiny")
        if task == "captions":
            plan = plan_captions(Path(config.captions.dataset_path), chunks, layout, config.captions.columns)
        else:
            plan = plan_questions(
                Path(config.qa.question_path), images.path, chunks, layout, allow_urls=config.qa.allow_urls
            )
        files = final_files(config, layout, task)
        file = next(file for file in files if file.context is None or file.context.suffix == context)
        results = file.results(config, layout)
        links = file.context and CaptionLinks.of(config, layout, file.context)
        return [
            ChunkJob(
                name=f"{index}-of-{chunks}",
                items=Path(items),
                result=Path(result),
                journal=file.files.journal,
                progress=tmp_path / "progress" / f"{index}.json",
                server=server_folder,
                dataset=data_root(config.section(task).data_path),
                settings=file.settings,
                client=config.client,
                lease_timeout_s=600,
                own_servers=False,
                captions=links and QuestionCaptions.read(config, layout, file.context, Path(items), links.paths[index]),
            )
            for (index, _, _), items, result in zip(plan.chunks, plan.item_lists(layout, task), results, strict=True)
        ]

    return make


@pytest.fixture(scope="session")
def journal_ids():
    """The items that a chunk job's journal has lines of, one for each line."""

    def read(job):
        return [line["id"] for path in sorted(job.journal.glob("*.jsonl")) for line in read_json_lines(path)]

    return read


@pytest.fixture
def keeper(server_folder):
    """A living driver's lease in the server's folder."""
    lease = LeaseKeeper(server_folder)
    lease.start()
    yield lease
    lease.release()


@pytest.fixture
def refused_url():
    """The address of a port on which nothing listens, and nothing will while the test runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def free_port():
    """A port that is free, and that the system gives to no process that asks for any, as other tests do."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for port in random.sample([number for number in range(10_000, 60_000) if not low <= number <= high], 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("100 ports outside of net.ipv4.ip_local_port_range are taken")


@pytest.fixture(scope="session")
def eventually():
    """Wait until a condition gives something true, and return that."""

    def wait(condition, what="the condition"):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come true")

    return wait


@pytest.fixture
def end_hanging():
    """End a test whose work grows out of all proportion, such as that of a regular expression that backtracks."""

    def give_up(number, frame):
        raise AssertionError(f"no end after {HANGING_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANGING_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def gone():
    """Whether a process has ended, buried or not."""

    def ended(process):
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return ended


@pytest.fixture
def start_python():
    """Start Python processes that see the package; each is ended with the test."""
    started = []

    def start(code, *arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(WORKFLOW), str(STAND_IN.parent)]), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def without_privileges():
    """Code to begin a Python process with: root reads every file, this one only what its mode lets it."""
    return """
import os, sys
if os.geteuid() == 0 and "AS_ANYBODY" not in os.environ:
    privileges = "-dac_override,-dac_read_search"
    os.environ["AS_ANYBODY"] = "1"
    os.execvp("setpriv", ["setpriv", "--bounding-set", privileges, *sys.orig_argv])
"""
