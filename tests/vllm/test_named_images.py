"""Images by their identity alone on a real vLLM: the same answers, and each image that it does not hold is sent.

The client believes that every server holds every image, and takes a vLLM of two API servers, each with a cache of its
own, for two servers of one each. So images are missed that no server has seen, and some that only the other API server
holds.
"""

import dataclasses
import shutil
from collections import Counter

import pandas as pd
import pytest
import yaml
from captionqa.client import item_processor
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.held_images import HeldImages
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.question_plan import plan_questions
from captionqa.files import read_json_lines
from captionqa.server import generation_key
from projects import DEMO_MODEL, ROOT

pytestmark = pytest.mark.vllm

IMAGES = 8
QUESTIONS = 4


@pytest.fixture
def two_servers(live, tmp_path):
    """A folder in which the shared vLLM is published as two replicas of one API server each."""
    layout, ready = live
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    (folder / "lease.json").write_bytes((layout.server / "lease.json").read_bytes())
    at = ready.argv.index("--api-server-count")
    assert ready.argv[at + 1] == "2"
    assert ready.argv[ready.argv.index("--mm-processor-cache-gb") + 1] != "0"
    for replica in (0, 1):
        server = dataclasses.replace(ready, replica=replica, argv=ready.argv[:at] + ready.argv[at + 2 :])
        server.publish(folder)
        generation_key.write(folder, server, generation_key.read(layout.server, ready))
    return folder


@pytest.fixture
def shapes(demo_config, live_dataset):
    """The demo's images, where the shared vLLM may read them."""
    return shutil.copytree(demo_config["qa"]["dataset_path"], live_dataset / "shapes", dirs_exist_ok=True)


@pytest.fixture
def ask(demo_config, two_servers, shapes, tmp_path):
    """Ask the demo's questions about some of its images: {qid: text}."""
    asked = pd.read_parquet(demo_config["qa"]["question_path"]).query("source == 'one image'")
    texts = asked["question"].drop_duplicates().head(QUESTIONS)
    images = sorted({image for (image,) in asked["image"] if image.startswith("jpg/")})[:IMAGES]  # sent untouched
    rows = [(f"{image} {number}", text, image, "A") for image in images for number, text in enumerate(texts)]
    pd.DataFrame(rows, columns=["qid", "question", "image", "answer"]).to_parquet(tmp_path / "questions.parquet")
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())

    def run(kind, transport):
        client = {"image_uuid": kind, "image_transport": transport, "max_attempts": 1, "concurrency": 4}
        raw = {**demo_config, "output_dir": str(tmp_path / f"{kind}-{transport}"), "client": client}
        questions = str(tmp_path / "questions.parquet")
        raw["qa"] = {**demo_config["qa"], "dataset_path": str(shapes), "question_path": questions}
        raw["captions"] = {**demo_config["captions"], "dataset_path": str(shapes)}
        config = check(raw, schema)
        layout, settings = Layout(config.output_dir, DEMO_MODEL), qa_settings(config, DEMO_MODEL)
        plan = plan_questions(tmp_path / "questions.parquet", shapes, 1, layout)
        (result,) = plan.results(layout.qa_work(""), fingerprint(settings))
        job = ChunkJob(
            name="0-of-1",
            items=tmp_path / plan.item_lists(layout, "qa")[0],
            result=tmp_path / result,
            journal=tmp_path / f"journal-{kind}-{transport}",
            progress=tmp_path / "progress.json",
            server=two_servers,
            dataset=shapes,
            settings=settings,
            client=config.client,
            lease_timeout_s=600,
            own_servers=True,
        )
        ChunkRun(job).run()
        _, *lines = read_json_lines(job.result)
        return {line["id"]: line["answer"]["text"] for line in lines}

    return run


@pytest.mark.parametrize("transport", ["bytes", "file"])
def test_the_answers_are_those_of_the_images_and_a_miss_costs_no_attempt(ask, transport, monkeypatch):
    counts = Counter()
    add, forget = HeldImages.add, HeldImages.forget

    def counted_add(held, server, uuids, tokens, alone):
        counts["alone" if alone else "sent"] += 1
        add(held, server, uuids, tokens, alone)

    def counted_forget(held, server, uuids):
        counts["missed"] += 1
        forget(held, server, uuids)

    monkeypatch.setattr(HeldImages, "holds", lambda held, server, uuids: held.is_on)
    monkeypatch.setattr(HeldImages, "add", counted_add)
    monkeypatch.setattr(HeldImages, "forget", counted_forget)
    monkeypatch.setattr(item_processor, "WORTH_WAITING_BYTES", 0)
    sent = ask("off", "bytes")
    counts.clear()
    assert ask("auto", transport) == sent
    assert len(sent) == IMAGES * QUESTIONS
    assert counts["alone"] + counts["sent"] == len(sent)
    assert counts["alone"] > 0
    assert counts["missed"] > 0
