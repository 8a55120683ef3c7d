"""Whole runs on data that is elsewhere: a data set of the hub, and images at addresses."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from hub_server import serve_hub
from projects import draw_image
from shard_files import write_parquet

pytestmark = pytest.mark.slow

CAPTIONS, QUESTIONS = "hf://datasets/lab/birds/test", "hf://datasets/lab/birds/qa/*.parquet"
#: A public address, which a network of the test's own has, and where a server of files listens in it.
HOST, PORT = "93.184.216.34", "8080"
#: Runs a command in this network, with a server of the files in a folder that notes what it is asked.
IN_A_NETWORK = f"""
ip link set lo up
ip addr add {HOST}/32 dev lo
{sys.executable} -m http.server --bind {HOST} --directory "$0/pictures" {PORT} 2>> "$0/fetched.log" >&2 &
server=$!
"$@"
status=$?
kill $server
exit $status
"""


@pytest.fixture
def pictures(project):
    """{name: bytes} of different pictures, which are files in the project's folder `pictures`."""
    folder = project.folder / "pictures"
    for number in range(4):
        draw_image(folder / f"{number}.png", number)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def hub(project, monkeypatch):
    with serve_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(project.folder / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield hub


def test_a_data_set_of_the_hub_is_captioned_and_asked_at_a_commit_that_is_kept(project, pictures, hub, monkeypatch):
    def shard(*names):
        return write_parquet(project.folder / "made.parquet", {name: pictures[name] for name in names}).read_bytes()

    cell = {"bytes": pictures["0.png"], "path": None}
    rows = [{"qid": "q1", "question": "What?", "answer": "x", "image": cell}]
    files = {"data/test-0.parquet": shard("0.png", "1.png"), "qa/val.parquet": pd.DataFrame(rows).to_parquet()}
    hub.repositories["lab/birds"] = {"main": files}
    project.config["captions"] |= {"dataset_path": CAPTIONS, "prompt_styles": ["SIMPLE"]}
    project.config["qa"] = {"question_path": QUESTIONS}
    project.run()
    assert set(project.captions()) == {"0.png", "1.png"}
    assert set(project.qa("results")) == {"q1"}
    assert project.captions("simple", "_provenance")["hub_commits"] == {CAPTIONS: hub.commit("lab/birds", "main")}
    assert project.qa("provenance")["hub_commits"] == {QUESTIONS: hub.commit("lab/birds", "main")}
    assert len(project.requests()) == 3

    files["data/test-1.parquet"] = shard("2.png", "3.png")
    project.forget_requests()
    project.run()
    assert set(project.captions()) == set(pictures)
    assert len(project.requests()) == 2, "a new commit asks only for images that are new"

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    assert "captionqa: nothing to do: " in project.run()
    assert hub.asked == []


@pytest.fixture
def network(project):
    """A project whose runs see no network but one of their own, with a server of its pictures at a public address."""
    unshare = ("unshare", "--map-root-user", "--net")
    if not shutil.which("ip") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        if "network" in os.environ.get("CAPTIONQA_DEMAND", ""):
            pytest.fail("a network of the test's own needs the programs unshare and ip, and the right to make one")
        pytest.skip("needs the programs unshare and ip, and the right to make a network")
    project.prefix = (*unshare, "sh", "-c", IN_A_NETWORK, str(project.folder))
    return project


def test_images_at_addresses_are_fetched_by_the_jobs_and_never_from_this_machine(network, pictures):
    images = {
        "q1": f"http://{HOST}:{PORT}/0.png",
        "q2": f"http://{HOST}:{PORT}/1.png",
        "gone": f"http://{HOST}:{PORT}/gone.png",
        "private": "http://127.0.0.1/0.png",
    }
    rows = [{"qid": qid, "question": "What?", "answer": "x", "image": url} for qid, url in images.items()]
    pd.DataFrame(rows).to_json(network.folder / "urls.jsonl", orient="records", lines=True)
    del network.config["captions"]
    network.config["client"] |= {"max_failed_fraction": 0.5}
    network.config["qa"] = {"question_path": "urls.jsonl"}
    assert "addresses are not fetched: download the images" in network.run(check=False)
    assert network.requests() == []

    network.config["qa"] |= {"allow_urls": True}
    network.run()
    assert set(network.qa("results")) == {"q1", "q2"}
    failures = network.qa("failures")
    assert {qid: failure["reason"] for qid, failure in failures.items()} == {
        "gone": "missing_image",
        "private": "unreadable_image",
    }
    assert "private or reserved address 127.0.0.1" in failures["private"]["detail"]
    assert len({image for request in network.requests() for image in request["images"]}) == 2
    fetched = [line.split()[6] for line in (network.folder / "fetched.log").read_text().splitlines() if "GET" in line]
    assert sorted(fetched) == ["/0.png", "/1.png", "/gone.png"]
    assert "captionqa: nothing to do: " in network.run()
