"""Chunk jobs on the same images keep together, and none waits for long for one that stands still."""

import dataclasses
import logging
import os
import pickle
import signal
import sys
import threading

import pandas as pd
import pytest
import stand_in_server
from captionqa.client import image_pace as pace_module
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.image_leads import ImageLeads
from captionqa.client.image_pace import (
    LOOK_S,
    MARGIN,
    MAX_PATIENCE_S,
    MAX_WINDOW,
    MIN_IN_FLIGHT,
    MIN_WINDOW,
    PATIENCE_S,
    REACH,
    START_S,
    ImagePace,
    ServerCache,
)
from captionqa.client.item_stream import ItemStream, following
from captionqa.config.prompts import STYLES
from captionqa.config.settings import caption_settings
from captionqa.run import positions as positions_module
from captionqa.run.positions import NEW_JOBS_S, OTHER_IMAGES_S, PositionFile, PositionWatch
from captionqa.server import generation_key
from captionqa.server.endpoint import State
from PIL import Image

COUNT = 120
#: The stand-in's answers have 10 prompt tokens each, for an image of 10,240 pixels and 12 bytes each.
IMAGE_BYTES = 10 * 32 * 32 * 12
WINDOW = 10
CONCURRENCY = 3
RUN = """
import os, pickle, sys, time
from captionqa.client.chunk_run import ChunkRun
with open(sys.argv[1], "rb") as file:
    run = ChunkRun(pickle.load(file))
open(sys.argv[1] + ".ready", "w").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
run.run()
"""


@pytest.fixture
def many_images(images):
    images.add(*(f"{number}.png" for number in range(COUNT)))


@pytest.fixture
def kept(publish, stand_in):
    """A server whose image cache holds MARGIN * WINDOW images."""
    publish(stand_in.url, argv=["--mm-processor-cache-gb", str(MARGIN * WINDOW * (IMAGE_BYTES + 1) / 2**30)])
    return stand_in


@pytest.fixture
def job_of(jobs, tmp_path):
    """The chunk job of a prompt style, with this many requests in flight."""

    def make(style, concurrency=CONCURRENCY, together=True):
        changes = {"captions": {"prompt_styles": [style]}, "client": {"concurrency": concurrency}}
        (job,) = jobs(changes=changes)
        position = tmp_path / "positions" / f"{style}.json" if together else None
        return dataclasses.replace(job, position=position, progress=tmp_path / "progress" / f"{style}.json")

    return make


@pytest.fixture
def start_jobs(start_python, tmp_path, eventually):
    """Start chunk jobs, each in a process of its own, at the same moment."""

    def start(*jobs):
        paths = [tmp_path / f"{job.progress.stem}.pickle" for job in jobs]
        processes = []
        for job, path in zip(jobs, paths, strict=True):
            path.write_bytes(pickle.dumps(job))
            processes.append(start_python(RUN, path, tmp_path / "go"))
        eventually(lambda: all(path.with_name(f"{path.name}.ready").exists() for path in paths))
        (tmp_path / "go").touch()
        return processes

    return start


def answered(job):
    _, lines = read_chunk(job.result)
    return sum("answer" in line for line in lines)


def asked_by(server, style):
    """The images that a style's job asked about, in the order of the requests."""
    return [request["images"][0] for request in server.asked if STYLES[style] in request["text"]]


def hits(server, kept):
    """How many requests found their image in a cache of the last `kept` images."""
    cache, found = {}, 0
    for request in server.asked:
        (image,) = request["images"]
        found += cache.pop(image, False)
        cache[image] = True
        if len(cache) > kept:
            del cache[next(iter(cache))]
    return found


def finish(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("together", [True, False])
def test_jobs_of_different_speeds_find_the_images_of_one_another(
    many_images, kept, job_of, start_jobs, eventually, together
):
    kept.set(delay_s=1.5)
    jobs = [job_of("SHORT", 12, together), job_of("SIMPLE", 1, together), job_of("LONG", 2, together)]
    processes = start_jobs(*jobs)
    eventually(lambda: all(asked_by(kept, style) for style in ("SHORT", "SIMPLE", "LONG")))
    kept.set(delay_s=0.02)
    finish(*processes)
    assert list(map(answered, jobs)) == [COUNT] * 3
    # with a cache for all images it would be 2 * COUNT; on a busy machine one job may begin too late to be waited for
    assert (hits(kept, MARGIN * WINDOW) > 0.75 * COUNT) == together
    assert not list((jobs[0].journal.parents[3] / "positions").glob("*"))


def test_a_killed_job_is_waited_for_once(many_images, kept, job_of, start_jobs, eventually, monkeypatch, caplog):
    monkeypatch.setattr(pace_module, "PATIENCE_S", 0.3)
    kept.set(delay_s=1)
    slow, fast = job_of("SIMPLE", 1), job_of("SHORT", 8)
    (killed,) = start_jobs(slow)
    eventually(lambda: slow.position.exists() and asked_by(kept, "SIMPLE"))
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    kept.set(delay_s=0.02)
    run = ChunkRun(fast)
    with caplog.at_level(logging.INFO, logger=pace_module.__name__):
        run.run()
    assert slow.position.exists()
    assert answered(fast) == COUNT
    waits = run._pace.waits
    assert waits.left == {"SIMPLE"}
    assert 1 <= waits.count <= 2  # the second once its window is known
    assert [record.message for record in caplog.records if "goes on without the job SIMPLE" in record.message]
    assert not fast.position.exists()


def test_a_late_job_takes_up_the_place_of_the_others(many_images, kept, job_of, start_jobs, eventually, monkeypatch):
    """The first one, which is half way then, is answered on only once the late one has asked."""
    kept.set(delay_s=0.05)
    first, late = job_of("SIMPLE", 2), job_of("SHORT", 2)
    late_asks, right_answer = threading.Event(), stand_in_server.right_answer

    def answer(text, digests):
        if STYLES["SHORT"] in text:
            late_asks.set()
        elif len(asked_by(kept, "SIMPLE")) > COUNT // 2:
            late_asks.wait(60)
        return right_answer(text, digests)

    monkeypatch.setattr(stand_in_server, "right_answer", answer)
    (process,) = start_jobs(first)
    eventually(lambda: len(asked_by(kept, "SIMPLE")) > COUNT // 2)
    ChunkRun(late).run()
    finish(process)
    order = asked_by(kept, "SIMPLE")
    place = order.index(asked_by(kept, "SHORT")[0])
    assert place > REACH * WINDOW
    assert answered(first) == answered(late) == COUNT
    # from there on each image is sent by both, one soon after the other
    assert hits(kept, MARGIN * WINDOW) > 0.75 * (COUNT - place)


def test_a_job_that_fails_is_waited_for_by_nobody(many_images, kept, job_of, start_jobs, eventually, publish):
    kept.set(delay_s=0.5)
    job = job_of("SIMPLE", 1)
    (process,) = start_jobs(job)
    eventually(job.position.exists)
    publish(kept.url, state=State.DEAD, reason="its job was cancelled")
    assert "ServerDeadError" in process.communicate(timeout=60)[1]
    assert not job.position.exists()


class Quick:
    """The progress of a job whose requests take no time."""

    done = 10**6

    def request_s(self):
        return 0.0


QUICK = Quick()


class Clock:
    """Seconds that pass only where the test says so."""

    now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds=LOOK_S):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace_of(tmp_path, clock, job_of, images):
    """The pace of a job in a chunk, which knows how large its images are."""
    images.add("any.png")

    def make(name, chunk="0-of-1"):
        path = tmp_path / "positions" / f"{name}.json"
        cache = ServerCache(tmp_path / "server", job_of("SIMPLE").settings)
        cache.add(10)
        cache._bytes = MARGIN * WINDOW * IMAGE_BYTES
        return ImagePace(PositionFile(path, chunk), PositionWatch(path, chunk, clock), cache, clock)

    return make


def test_a_job_goes_on_while_the_file_system_shows_neither_the_servers_nor_the_other_jobs(tmp_path, make_config):
    cache = ServerCache(tmp_path, caption_settings(make_config(), "tiny", "SIMPLE"))
    cache.add(10)
    unreadable = tmp_path / "endpoint-0.json"
    unreadable.mkdir()
    assert cache.window() is None
    unreadable.rmdir()
    assert cache.window() == MAX_WINDOW
    no_folder = tmp_path / ("x" * 300) / "own.json"  # the system refuses the name: it cannot be looked into
    assert list(PositionWatch(no_folder, "0-of-1").read()) == []


class Stuck(Exception):
    """A wait that nothing ends."""


def sent_by(pace, clock, first=0, waits=0, segment=0):
    """How many images a job sends, from one on, until it has waited this often in vain."""
    left = [waits]

    def wait(seconds):
        if not left[0]:
            raise Stuck
        left[0] -= 1
        clock.wait(seconds)

    for number in range(first, 10 * COUNT):
        clock.wait(0.001)
        try:
            pace.admit((segment, number), 0, QUICK, wait)
        except Stuck:
            return number - first
    return 10 * COUNT - first


def test_nobody_waits_beyond_its_patience_for_a_job_that_stands_still(pace_of, clock):
    behind, ahead = pace_of("behind"), pace_of("ahead")
    behind.admit((0, 0), 0, QUICK, clock.wait)
    assert sent_by(ahead, clock) == WINDOW + 1
    assert sent_by(ahead, clock, WINDOW + 1, waits=int(PATIENCE_S / LOOK_S) + 1) == 10 * COUNT - WINDOW - 1
    assert ahead.waits.left == {"behind"}


def test_a_job_of_slow_requests_is_given_more_time(pace_of, clock):
    behind, ahead = pace_of("behind"), pace_of("ahead")
    behind.admit((0, 0), 0, QUICK, clock.wait)
    sent_by(ahead, clock)
    clock.wait(PATIENCE_S * 1.5)
    assert not ahead._look(PATIENCE_S)
    assert not ahead._look(10 * PATIENCE_S)
    clock.wait(MAX_PATIENCE_S)
    assert ahead._look(10 * PATIENCE_S)


def test_nobody_waits_for_a_job_that_began_too_late(pace_of, clock):
    ahead, behind = pace_of("ahead"), pace_of("behind")
    for number in range((REACH + 1) * WINDOW):
        ahead.admit((0, number), 0, QUICK, clock.wait)
    for number in range(3):
        behind.admit((0, number), 0, QUICK, clock.wait)
    clock.wait(NEW_JOBS_S)
    assert sent_by(ahead, clock, (REACH + 1) * WINDOW) > COUNT


@pytest.mark.parametrize(("other", "expected"), [("0-of-2", WINDOW + 1), ("1-of-2", MIN_WINDOW + 1)])
def test_chunks_that_run_at_the_same_time_share_the_cache(pace_of, clock, other, expected):
    behind, beside, ahead = pace_of("behind", "0-of-2"), pace_of("beside", other), pace_of("ahead", "0-of-2")
    behind.admit((0, 0), 0, QUICK, clock.wait)
    beside.admit((512 if other == "1-of-2" else 0, 0), 0, QUICK, clock.wait)
    assert sent_by(ahead, clock) == expected


def test_jobs_on_other_images_are_waited_for_by_nobody_and_seldom_looked_at(pace_of, clock, monkeypatch):
    ahead, reads, read = pace_of("ahead", "1-of-2"), [], positions_module._read
    for name, chunk, segment in (("before", "0-of-2", 500), ("after", "4-of-5", 900), ("beside", "2-of-4", 512)):
        pace_of(name, chunk).admit((segment, 0), 0, QUICK, clock.wait)
    monkeypatch.setattr(positions_module, "_read", lambda path: reads.append(path.stem) or read(path))
    before = clock.now
    for number in range(MIN_WINDOW):
        ahead.admit((512, number), 0, QUICK, clock.wait)
        ahead._look(0.0)
        clock.wait(LOOK_S)
    assert set(reads) == {"before", "after", "beside"}
    assert reads.count("after") == reads.count("beside") > 4 * reads.count("before")
    assert reads.count("before") <= 1 + (clock.now - before) / OTHER_IMAGES_S


@pytest.mark.parametrize(("other", "is_limited"), [("0-of-2", True), ("1-of-2", False)])
def test_only_a_job_beside_others_on_its_images_has_few_requests_in_flight(pace_of, clock, other, is_limited):
    pace, later = pace_of("pace", "0-of-2"), pace_of("later", other)
    later.admit((512 if other == "1-of-2" else 9, 0), 0, QUICK, clock.wait)
    clock.wait(START_S)
    later.admit((512 if other == "1-of-2" else 9, 1), 0, QUICK, clock.wait)
    pace.admit((0, 0), 0, QUICK, clock.wait)
    pace._look(0.0)
    assert (pace._most_in_flight < sys.maxsize) == is_limited


def test_answers_that_are_there_are_not_held_up_by_the_few_requests_in_flight(pace_of, clock):
    pace, outcomes = pace_of("pace"), Quick()
    outcomes.done = 0

    def wait(seconds):
        clock.wait(seconds)
        outcomes.done = pace._items

    for number in range(100 * MIN_IN_FLIGHT):
        pace.admit((0, number), 0, outcomes, wait)
    assert clock.now < 1.0


def test_items_that_wait_for_the_request_of_another_take_no_slot(pace_of, clock):
    pace, outcomes = pace_of("pace"), Quick()
    outcomes.done = 0
    for number in range(3 * MIN_IN_FLIGHT):
        pace.admit((0, number // 32), 0, outcomes, clock.wait, held_back=lambda: 2 * MIN_IN_FLIGHT)
    with pytest.raises(Stuck):
        pace.admit((0, 3), 0, outcomes, lambda _: (_ for _ in ()).throw(Stuck), held_back=lambda: 2 * MIN_IN_FLIGHT)


def test_questions_that_wait_for_an_image_leave_the_slots_to_others(
    many_images, images, encode, publish, stand_in, jobs, make_config, server_folder, monkeypatch, tmp_path
):
    monkeypatch.setenv("VLLM_API_KEY", "key")
    cache_gb = MARGIN * WINDOW * IMAGE_BYTES / 2**30
    entry = publish(stand_in.url, versions={"vllm": "0.32.0"}, argv=["--mm-processor-cache-gb", str(cache_gb)])
    generation_key.write(server_folder, entry, "key")
    names = [f"large {number}.png" for number in range(8)]
    for name in names:
        (images.path / name).write_bytes(encode(Image.frombytes("RGB", (200, 200), os.urandom(120_000))))
    rows = [(f"{name} {n}", f"What is in {n}?", name, "A") for name in names for n in range(30)]
    table = pd.DataFrame(rows, columns=["qid", "question", "image", "answer"])
    table.to_parquet(make_config().qa.question_path)
    (job,) = jobs("qa", changes={"client": {"concurrency": "auto"}})
    stand_in.set(delay_s=0.3)
    pace, most = tmp_path / "positions" / "qa.json", [0]
    end = ImageLeads.end

    def ended(leads, images, in_vain):
        most[0] = max(most[0], len(leads._waiting))
        return end(leads, images, in_vain)

    monkeypatch.setattr(ImageLeads, "end", ended)
    ChunkRun(dataclasses.replace(job, own_servers=True, position=pace)).run()
    assert answered(job) == len(rows)
    assert most[0] > 2, "images that were on their way at the same time, of 30 questions each"


def test_a_torn_record_is_passed_over(pace_of, clock, tmp_path):
    behind, ahead = pace_of("behind"), pace_of("ahead")
    behind.admit((0, 0), 0, QUICK, clock.wait)
    path = tmp_path / "positions" / "behind.json"
    path.write_bytes(path.read_bytes().replace(b"[0,0]", b"[0,9]"))
    assert sent_by(ahead, clock) > COUNT


def test_questions_on_an_image_count_as_one_image(pace_of, clock):
    behind, ahead = pace_of("behind"), pace_of("ahead")
    behind.admit((0, "a"), 0, QUICK, clock.wait)
    for image in "abcdefghijk":
        for _ in range(4):
            ahead.admit((0, image), 0, QUICK, clock.wait)
    with pytest.raises(Stuck):
        ahead.admit((0, "l"), 0, QUICK, lambda _: (_ for _ in ()).throw(Stuck))


def test_a_list_that_begins_in_the_middle_has_all_its_items(jobs, many_images):
    (job,) = jobs()
    stream = ItemStream(job.items)
    plain = [entry["id"] for _, _, entries in stream.segments() for entry in entries]
    segments = [number for number, _, entries in stream.segments() for _ in entries]
    middle = segments[COUNT // 2]
    cut = stream.images_before(middle)

    def jump(left, last):
        return middle if last == segments[0] else following(left, last)

    jumped = [entry["id"] for _, _, entries in stream.segments(jump) for entry in entries]
    first = segments.count(segments[0])
    assert jumped == plain[:first] + plain[cut:] + plain[first:cut]
    assert len(plain) == COUNT
