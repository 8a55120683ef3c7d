"""The soak: a server that spoils a tenth of its answers, a driver that is killed again and again; nothing is lost."""

import hashlib
import os
import random
import signal

import pandas as pd
import pytest
from captionqa.errors import Reason
from captionqa.files import read_json_lines
from PIL import Image
from projects import MODEL
from stand_in_server import right_answer

pytestmark = pytest.mark.slow

SEED = 20_261
IMAGES, COPIES, QUESTIONS = 3400, 100, 1500
CAPTION_TEXT = "<image>Describe this image in detail."
KILLS = 5


@pytest.fixture
def soak(project):
    """The project with 5,000 items and random faults; `soak.request` gives each item's (text, image digests)."""
    folder = project.folder / "many"
    folder.mkdir()
    digests = {}
    for number in range(IMAGES):
        path = folder / f"{number}.png"
        Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(path)
    for number in range(COPIES):
        (folder / f"copy of {number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    for path in folder.iterdir():
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    rows = pd.DataFrame(
        {
            "qid": [f"q{number}" for number in range(QUESTIONS)],
            "question": [f"Is it {number % 7}?\nA. yes\nB. no" for number in range(QUESTIONS)],
            "answer": ["A", "B"] * (QUESTIONS // 2),
            "image": [[f"{number % 500}.png", f"{number % 300}.png"][: 1 + number % 2] for number in range(QUESTIONS)],
        }
    )
    rows.to_parquet(project.folder / "questions.parquet")
    project.request = {name: (CAPTION_TEXT, digest) for name, digest in digests.items()}
    for qid, question, names in zip(rows["qid"], rows["question"], rows["image"], strict=True):
        project.request[qid] = ("<image>" * len(names) + question, *(digests[name] for name in names))
    project.config["captions"] |= {"dataset_path": "many", "prompt_styles": ["SIMPLE"], "chunks": 2}
    project.config["qa"] |= {"dataset_path": "many", "chunks": 1}
    project.config["client"] = {"concurrency": 32, "backoff_s": 0.05, "request_timeout_s": 2, "max_attempts": 8}
    project.config["models"][MODEL]["server"]["max_restarts"] = 50
    project.faults(random=0.1, seed=SEED)
    return project


def served(project):
    """How many requests the servers have had so far."""
    path = project.folder / "requests.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_now_and_then(project, chance):
    """Start the run and end it at random points by random signals."""
    for point in sorted(chance.sample(range(200, 4800), KILLS)):
        driver = project.start()
        project.wait_for(lambda point=point: served(project) >= point)
        number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        if number == signal.SIGINT:
            os.killpg(driver.pid, number)  # as a terminal does
        else:
            driver.send_signal(number)
        assert driver.wait(60) != 0


def journal_lines(project):
    for path in project.out.glob(f"work/{MODEL}/**/journal/*.jsonl"):
        yield from (line for line in read_json_lines(path) if "answer" in line)


def test_a_soak_of_faults_and_kills_ends_as_an_undisturbed_run(soak):
    kill_now_and_then(soak, random.Random(SEED))
    soak.run()

    captions, failed_captions = soak.captions(), soak.captions(suffix="_failures")
    results, failed_questions = soak.qa("results"), soak.qa("failures")
    assert sorted([*captions, *failed_captions, *results, *failed_questions]) == sorted(soak.request)
    reasons = {failure["reason"] for failure in [*failed_captions.values(), *failed_questions.values()]}
    assert reasons <= {Reason.REQUEST_REJECTED, Reason.SERVER_ERROR, Reason.EMPTY_OUTPUT}

    soak.faults()
    if reasons:
        soak.captionqa("retry-failed")
        soak.run()
    right = {item: right_answer(text, images) for item, (text, *images) in soak.request.items()}
    assert soak.captions() == {
        item: text for item, text in sorted(right.items()) if item in captions or item in failed_captions
    }
    assert {qid: record["model_output"] for qid, record in soak.qa("results").items()} == {
        item: text for item, text in right.items() if item in results or item in failed_questions
    }
    assert soak.captions(suffix="_failures") == soak.qa("failures") == {}

    last_asked, last_journaled = {}, {}
    for request in soak.requests():
        key = request["text"], *request["images"]
        last_asked[key] = max(last_asked.get(key, 0.0), request["time"])
    journaled = list(journal_lines(soak))
    assert sorted(line["id"] for line in journaled) == sorted(soak.request)
    for line in journaled:  # a copy in another chunk is asked for once more
        key = soak.request[line["id"]]
        last_journaled[key] = max(last_journaled.get(key, 0.0), line["time"])
    assert [key for key, then in last_journaled.items() if last_asked[key] > then + 0.001] == []
    assert not soak.processes()
