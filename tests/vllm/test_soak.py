"""The soak with a real vLLM that is killed three times: every image ends with a right caption, journaled once."""

import shutil
import threading
from collections import Counter

import pandas as pd
import pytest
import yaml
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.caption_plan import plan_captions
from captionqa.files import read_json_lines
from captionqa.server import endpoint
from projects import DEMO_MODEL, ROOT, server_of

pytestmark = pytest.mark.vllm

COPIES = 4
#: What is killed in each chunk: vLLM's first process, one of its two API servers, or the engine.
KINDS = ("server", "API server", "engine")
#: The answers of a chunk that are journaled before: a quarter.
ANSWERS_BEFORE = 20


@pytest.fixture
def jobs(demo_config, live_server, live_folder, tmp_path):
    """A chunk for each kind, over copies of the demo's images, each asked for by itself, on the shared server."""
    dataset = tmp_path / "images"
    for copy in range(COPIES):
        shutil.copytree(ROOT / "resources" / "demo" / "images", dataset / str(copy))
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    client = {"concurrency": 8, "deduplicate": False}
    config = check({**demo_config, "output_dir": str(tmp_path / "out"), "client": client}, schema)
    layout, settings = Layout(config.output_dir, DEMO_MODEL), caption_settings(config, DEMO_MODEL, "SIMPLE")
    plan = plan_captions(dataset, len(KINDS), layout)
    results = plan.results(layout.captions_work("simple"), fingerprint(settings))
    return [
        ChunkJob(
            name=f"{number}-of-{len(KINDS)}",
            items=tmp_path / items,
            result=tmp_path / result,
            journal=tmp_path / "journal" / str(number),
            progress=tmp_path / f"progress-{number}.json",
            server=Layout(str(live_folder), DEMO_MODEL).server,
            dataset=dataset,
            settings=settings,
            client=config.client,
            lease_timeout_s=600,
            own_servers=True,
        )
        for number, (items, result) in enumerate(zip(plan.item_lists(layout, "captions"), results, strict=True))
    ]


def journaled(job, kind):
    return [line["id"] for path in job.journal.glob("*.jsonl") for line in read_json_lines(path) if kind in line]


#: The process titles that vLLM gives to those that are no first process.
TITLES = {"API server": "APIServer", "engine": "EngineCore"}


@pytest.fixture
def may_send(monkeypatch):
    """While it is not set, requests wait before they are sent.

    vLLM's other processes answer on until the supervisor sees that its first one is gone: hundreds of images.
    """
    may_send = threading.Event()
    may_send.set()
    complete = CompletionClient.complete

    def complete_when_allowed(client, *request):
        assert may_send.wait(120)
        return complete(client, *request)

    monkeypatch.setattr(CompletionClient, "complete", complete_when_allowed)
    return may_send


def kill_once(job, kind, killed, families, may_send, over):
    """Kill a process of vLLM once a part of the chunk is answered; the rest is sent when the supervisor has seen that.

    `killed` gets the generation, and `families` all its processes.
    """
    while len(journaled(job, "answer")) < ANSWERS_BEFORE:
        if over.wait(0.1):
            return
    may_send.clear()
    (ready,) = endpoint.read_all(job.server)
    server = server_of(ready.pid)
    families.append([server, *server.children(recursive=True)])
    titled = (child for child in server.children() if TITLES.get(kind, "") in " ".join(child.cmdline()))
    victim = server if kind == "server" else next(titled)
    victim.kill()
    killed.append(ready.generation)
    while endpoint.read_all(job.server)[0].generation == ready.generation and not over.wait(0.1):
        pass
    may_send.set()


def test_a_vllm_whose_server_one_of_its_api_servers_and_engine_are_killed_costs_no_caption(jobs, may_send):
    killed, families, over = [], [], threading.Event()
    (before,) = endpoint.read_all(jobs[0].server)
    for job, kind in zip(jobs, KINDS, strict=True):
        killer = threading.Thread(target=kill_once, args=(job, kind, killed, families, may_send, over), daemon=True)
        killer.start()
        try:
            ChunkRun(job).run()
        finally:
            over.set()
            killer.join()
            over.clear()
    (ready,) = endpoint.read_all(jobs[0].server)
    assert killed == list(range(killed[0], killed[0] + len(KINDS)))
    assert ready.generation == killed[-1] + 1
    assert ready.crashes == before.crashes + len(KINDS)
    reasons = [restart["reason"] for restart in ready.restarts[len(before.restarts) :]]
    assert reasons == [f"its process ended with {how}" for how in ("signal SIGKILL", "exit code 1", "exit code 1")]
    assert all(len(family) >= 4 for family in families)  # vLLM's first process, two API servers and the engine
    assert [process for family in families for process in family if process.is_running()] == []

    truth = pd.read_csv(ROOT / "resources" / "demo" / "truth.csv").set_index("image")
    items = {f"{copy}/{image}" for copy in range(COPIES) for image in truth.index}
    chunks = [list(read_json_lines(job.result)) for job in jobs]
    lines = [line for _, *of_chunk in chunks for line in of_chunk]
    assert {line["id"] for line in lines} == items
    assert [line for line in lines if "failure" in line] == []
    answered = Counter(name for job in jobs for name in journaled(job, "answer"))
    assert answered == Counter(dict.fromkeys(items, 1))
    crashed = [journaled(job, "crashed") for job in jobs]
    assert set(Counter(name for names in crashed for name in names).values()) <= {1}
    assert sum(header["asked"] for header, *_ in chunks) == len(items)
    right = [
        all(truth.loc[line["id"].partition("/")[2], part] in line["answer"]["text"] for part in ("color", "shape"))
        for line in lines
    ]
    assert sum(right) >= 0.95 * len(right)
