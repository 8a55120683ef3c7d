"""The soak with a real vLLM that is killed three times: every image ends with a right caption, journaled once."""

import shutil
import threading
from collections import Counter

import pandas as pd
import psutil
import pytest
import yaml
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.caption_plan import plan_captions
from captionqa.files import read_json_lines
from captionqa.server import endpoint
from captionqa.server.endpoint import State
from projects import DEMO_MODEL, ROOT

pytestmark = pytest.mark.vllm

COPIES = 4
#: {journaled answers: the process to kill then}: vLLM's first one, one of its two API servers, or the engine.
KILLS = {50: "server", 110: "API server", 170: "engine"}


@pytest.fixture
def job(demo_config, live_server, live_folder, tmp_path):
    """One chunk over copies of the demo's images, each asked for by itself, on the shared server."""
    dataset = tmp_path / "images"
    for copy in range(COPIES):
        shutil.copytree(ROOT / "resources" / "demo" / "images", dataset / str(copy))
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    client = {"concurrency": 8, "deduplicate": False}
    config = check({**demo_config, "output_dir": str(tmp_path / "out"), "client": client}, schema)
    layout, settings = Layout(config.output_dir, DEMO_MODEL), caption_settings(config, DEMO_MODEL, "SIMPLE")
    plan = plan_captions(dataset, 1, layout)
    return ChunkJob(
        name="0-of-1",
        items=tmp_path / plan.item_lists(layout, "captions")[0],
        result=tmp_path / plan.results(layout.captions_work("simple"), fingerprint(settings))[0],
        journal=tmp_path / "journal",
        progress=tmp_path / "progress.json",
        server=Layout(str(live_folder), DEMO_MODEL).server,
        dataset=dataset,
        settings=settings,
        client=config.client,
        lease_timeout_s=600,
        own_servers=True,
    )


def journaled(job, kind):
    return [line["id"] for path in job.journal.glob("*.jsonl") for line in read_json_lines(path) if kind in line]


#: The process titles that vLLM gives to those that are no first process.
TITLES = {"API server": "APIServer", "engine": "EngineCore"}


def kill_now_and_then(job, killed, families, over):
    """Kill a process of vLLM once for each number of journaled answers in KILLS, each time in another generation.

    `families` gets all processes of each generation that lost one.

    An item that is in flight at two crashes is blamed for them, so a kill waits for the suspects of the one before.
    """
    for count, kind in KILLS.items():
        while not over.wait(0.1):
            (ready,) = endpoint.read_all(job.server)
            answered, suspects = journaled(job, "answer"), journaled(job, "crashed")
            is_next = ready.state is State.READY and ready.generation not in (number for _, number in killed)
            if is_next and len(answered) >= count and {*suspects} <= {*answered}:
                break
        else:
            return
        _, server = psutil.Process(ready.pid).children()  # the first is the server's reaper
        families.append([server, *server.children(recursive=True)])
        titled = (child for child in server.children() if TITLES.get(kind, "") in " ".join(child.cmdline()))
        victim = server if kind == "server" else next(titled)
        victim.kill()
        killed.append((kind, ready.generation))


def test_a_vllm_whose_server_one_of_its_api_servers_and_engine_are_killed_costs_no_caption(job):
    killed, families, over = [], [], threading.Event()
    (before,) = endpoint.read_all(job.server)
    killer = threading.Thread(target=kill_now_and_then, args=(job, killed, families, over), daemon=True)
    killer.start()
    try:
        ChunkRun(job).run()
    finally:
        over.set()
        killer.join()
    assert [kind for kind, _ in killed] == list(KILLS.values())
    (ready,) = endpoint.read_all(job.server)
    first = killed[0][1]
    assert [generation for _, generation in killed] == [first, first + 1, first + 2]
    assert ready.generation == first + 3
    assert ready.crashes == before.crashes + 3
    reasons = [restart["reason"] for restart in ready.restarts[len(before.restarts) :]]
    assert reasons == [f"its process ended with {how}" for how in ("signal SIGKILL", "exit code 1", "exit code 1")]
    assert all(len(family) >= 4 for family in families)  # vLLM's first process, two API servers and the engine
    assert [process for family in families for process in family if process.is_running()] == []

    header, *lines = read_json_lines(job.result)
    truth = pd.read_csv(ROOT / "resources" / "demo" / "truth.csv").set_index("image")
    items = {f"{copy}/{image}" for copy in range(COPIES) for image in truth.index}
    assert {line["id"] for line in lines} == items
    assert [line for line in lines if "failure" in line] == []
    assert Counter(journaled(job, "answer")) == Counter(dict.fromkeys(items, 1))
    assert set(Counter(journaled(job, "crashed")).values()) <= {1}
    assert header["asked"] == len(items)
    right = [
        all(truth.loc[line["id"].partition("/")[2], part] in line["answer"]["text"] for part in ("color", "shape"))
        for line in lines
    ]
    assert sum(right) >= 0.95 * len(right)
