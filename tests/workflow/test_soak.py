"""The soak: a server that spoils a tenth of its answers, a driver that is killed again and again, images that change
places while they are read, and bits that flip in the journals; nothing is lost.

CAPTIONQA_SOAK_SEED makes it another soak.
"""

import hashlib
import json
import os
import random
import signal

import pandas as pd
import pytest
from captionqa.client.journal import read_lines
from captionqa.errors import Reason
from PIL import Image
from projects import MODEL, PATIENCE_S
from stand_in_server import right_answer

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CAPTIONQA_SOAK_SEED", 20_261))
IMAGES, COPIES, QUESTIONS = 1700, 50, 750
CAPTION_TEXT = "<image>Describe this image in detail."
KILLS = 5
#: With each kill.
FLIPS, SWAPS = 6, 10
FAULTS = {"random": 0.1, "seed": SEED}


@pytest.fixture
def soak(project):
    """The project with 2,500 items and random faults; `soak.request` gives each item's (text, image digests).

    `soak.digests` gives each image's.
    """
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
    project.digests = digests
    project.request = {name: (CAPTION_TEXT, digest) for name, digest in digests.items()}
    for qid, question, names in zip(rows["qid"], rows["question"], rows["image"], strict=True):
        project.request[qid] = ("<image>" * len(names) + question, *(digests[name] for name in names))
    project.config["captions"] |= {"dataset_path": "many", "prompt_styles": ["SIMPLE"], "chunks": 2}
    project.config["qa"] |= {"dataset_path": "many", "chunks": 1}
    project.config["client"] = {"concurrency": 32, "backoff_s": 0.05, "request_timeout_s": 2, "max_attempts": 8}
    project.config["models"][MODEL]["server"]["max_restarts"] = 50
    project.faults(**FAULTS)
    return project


def served(project):
    """How many requests the servers have had so far."""
    path = project.folder / "requests.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def swap(folder, pairs):
    """Let images change places, as `mv` does it."""
    for first, second in pairs:
        (folder / first).rename(folder / "aside")
        (folder / second).rename(folder / first)
        (folder / "aside").rename(folder / second)


def flip_bits(project, chance):
    """Turn single bits of the journals around, where they are on the disk."""
    journals = [path for path in journal_files(project) if path.stat().st_size]
    for path in chance.choices(journals, k=FLIPS):
        with open(path, "r+b") as file:
            place = chance.randrange(path.stat().st_size)
            byte = os.pread(file.fileno(), 1, place)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), place)


def has_begun(project, driver):
    """Whether a driver has the lease, so that the jobs of the driver before end."""
    lease = project.out / "work" / MODEL / "server" / "lease.json"
    return lease.exists() and json.loads(lease.read_text())["pid"] == driver.pid


def disturb(project, chance):
    """Start the run and end it at random points by random signals; returns the images that changed places meanwhile.

    They are put back after each kill, and then the journals are damaged. What goes on without its driver gets no
    answers: it would leave too little to the runs that follow.
    """
    swapped = set()
    for point in sorted(chance.sample(range(200, 2000), KILLS)):
        names = chance.sample(sorted(project.digests), 2 * SWAPS)
        pairs = list(zip(names[::2], names[1::2], strict=True))
        driver = project.start()
        project.wait_for(lambda driver=driver: has_begun(project, driver))
        project.faults(**FAULTS)
        project.wait_for(lambda point=point: served(project) >= point - 150)
        swap(project.folder / "many", pairs)
        swapped.update(names)
        project.wait_for(lambda point=point: served(project) >= point)
        number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        if number == signal.SIGINT:
            os.killpg(driver.pid, number)  # as a terminal does
        else:
            driver.send_signal(number)
        project.faults(**FAULTS, hold=0)
        assert driver.wait(PATIENCE_S) != 0
        swap(project.folder / "many", reversed(pairs))
        flip_bits(project, chance)
    return swapped


def journal_files(project):
    return sorted(project.out.glob(f"work/{MODEL}/**/journal/*.jsonl"))


def journal_lines(project, report_damage=lambda number: None):
    for path in journal_files(project):
        yield from (line for line in read_lines(path, report_damage) if "answer" in line)


def test_a_soak_of_faults_and_kills_ends_as_an_undisturbed_run(soak):
    swapped = disturb(soak, random.Random(SEED))
    soak.faults(**FAULTS)
    soak.run()
    damaged = []
    list(journal_lines(soak, damaged.append))
    assert damaged

    captions, failed_captions = soak.captions(), soak.captions(suffix="_failures")
    results, failed_questions = soak.qa("results"), soak.qa("failures")
    assert sorted([*captions, *failed_captions, *results, *failed_questions]) == sorted(soak.request)
    reasons = {failure["reason"] for failure in [*failed_captions.values(), *failed_questions.values()]}
    # an image that changes places is missing for a moment
    possible = {Reason.REQUEST_REJECTED, Reason.SERVER_ERROR, Reason.EMPTY_OUTPUT, Reason.TIMEOUT, Reason.MISSING_IMAGE}
    assert reasons <= possible

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
    # what was disturbed may be asked for again; a flipped line break damages two lines
    lost = soak.request.keys() - {line["id"] for line in journaled}
    assert len(lost) <= 2 * KILLS * FLIPS
    disturbed = {soak.digests[name] for name in swapped}
    disturbed.update(digest for item in lost for digest in soak.request[item][1:])
    whole = {item for item, (_, *images) in soak.request.items() if not disturbed.intersection(images)}
    assert len(whole) > len(soak.request) / 2
    assert sorted(line["id"] for line in journaled if line["id"] in whole) == sorted(whole)
    for line in journaled:  # a copy in another chunk is asked for once more
        key = soak.request[line["id"]]
        last_journaled[key] = max(last_journaled.get(key, 0.0), line["time"])
    again = {key for key, then in last_journaled.items() if last_asked[key] > then + 0.001}
    assert not again.intersection(soak.request[item] for item in whole)
    assert not soak.processes()
