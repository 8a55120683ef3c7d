"""The status of a run: each item counted once, from the output folder alone."""

import os
import socket
from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import JournalSegment, segment_of
from captionqa.config.answer_files import journal_segment
from captionqa.config.layout import Layout
from captionqa.config.settings import answer_fingerprint, caption_settings, qa_settings
from captionqa.dataset.places import place
from captionqa.driver.status import FileStatus, RunStatus, read_status, status_text
from captionqa.files import read_json_lines, write_json
from captionqa.run.lease import LeaseKeeper
from captionqa.server.endpoint import Endpoint, State

NAMES = [f"image{number}.png" for number in range(40)]
CONFIG = Path("my.yaml")


@pytest.fixture
def config(make_config):
    return make_config({"qa": None})


@pytest.fixture
def layout(config):
    return Layout(config.output_dir, "tiny")


@pytest.fixture
def planned(images, jobs):
    """The jobs of four chunks of 41 images, one of which cannot be read; nothing was asked yet."""
    images.add(*NAMES)
    (images.path / "broken.png").write_bytes(b"no image")
    found = jobs("captions", 4)
    assert len(found) == 4
    return found


@pytest.fixture
def asked(planned, server):
    """The same, all of them asked."""
    for job in planned:
        ChunkRun(job).run()
    return planned


def size(job):
    return sum(1 for _ in read_json_lines(job.items))


def counts(file):
    return file.answered, file.failed, file.journaled, file.to_do


def test_without_a_plan_it_says_how_to_start(config, layout):
    status = read_status(config, layout)
    assert status.files == []
    assert status.unplanned == ["captions"]
    text = status_text(status, CONFIG)
    assert text.splitlines()[1:] == ["nothing was planned yet; start with: captionqa run my.yaml"]


def test_a_plan_alone_is_all_to_do(config, layout, planned):
    (file,) = read_status(config, layout).files
    assert (file.name, file.chunks, file.finished_chunks, file.items) == ("captions SIMPLE", 4, 0, 41)
    assert counts(file) == (0, 0, 0, 41)


def test_what_is_finished_journaled_and_to_do_is_told_apart(config, layout, asked):
    (file,) = read_status(config, layout).files
    assert (file.finished_chunks, counts(file)) == (4, (40, 1, 0, 0))

    failing = next(job for job in asked if any("failure" in line for line in read_json_lines(job.result)))
    in_journal, lost = [job for job in asked if job is not failing][:2]
    in_journal.result.unlink()
    lost.result.unlink()
    for item in read_json_lines(lost.items):
        journal_segment(lost.journal, segment_of(place(item["id"]))).unlink(missing_ok=True)
    (file,) = read_status(config, layout).files
    assert (file.finished_chunks, file.items) == (2, 41)
    assert counts(file) == (40 - size(in_journal) - size(lost), 1, size(in_journal), size(lost))

    failing.result.unlink()
    (file,) = read_status(config, layout).files
    assert file.failed == 0  # an item that failed is not in the journal
    assert file.to_do == size(lost) + 1


def test_answers_of_other_settings_do_not_count(make_config, layout, asked):
    changed = make_config({"qa": None, "captions": {"max_tokens": 7}})
    (file,) = read_status(changed, layout).files
    assert (file.finished_chunks, counts(file)) == (0, (0, 0, 0, 41))


def test_an_item_counts_once_and_a_crash_is_no_answer(config, layout, planned):
    (work,) = {job.journal for job in planned}
    settings_now = answer_fingerprint(caption_settings(config, "tiny", "SIMPLE"))

    def journal(name, outcome):
        opened = JournalSegment(work, segment_of(place(name)), settings_now, wait=pytest.fail)
        opened.append({"id": name, **outcome})
        opened.close()

    for outcome in ({"answer": {"text": "old"}}, {"answer": {"text": "new"}}):
        journal(NAMES[0], outcome)
    journal(NAMES[1], {"crashed": "generation 1"})
    journal("removed.png", {"answer": {"text": "of an image that is no longer there"}})
    (file,) = read_status(config, layout).files
    assert counts(file) == (0, 0, 1, 40)


def test_questions_have_a_line_of_their_own(make_config, images, jobs, server):
    images.add(*NAMES[:4])
    config = make_config({"captions": {"prompt_styles": ["SIMPLE", "LONG"]}})
    rows = [(f"q{number}", "What?\nA. x\nB. y", "A", [NAMES[number % 4]]) for number in range(12)]
    frame = pd.DataFrame(rows, columns=["qid", "question", "answer", "image"])
    frame.to_parquet(config.qa.question_path)
    first, *_ = jobs("qa", 4)
    ChunkRun(first).run()
    second = jobs("qa", 4)[1]
    ChunkRun(second).run()
    second.result.unlink()
    status = read_status(config, Layout(config.output_dir, "tiny"))
    (file,) = status.files
    assert (file.name, file.items, file.answered, file.journaled) == ("qa", 12, size(first), size(second))
    assert status.unplanned == ["captions"]
    assert "captions: not planned yet" in status_text(status, CONFIG)

    jobs("captions", 2)
    names = [file.name for file in read_status(config, Layout(config.output_dir, "tiny")).files]
    assert names == ["captions SIMPLE", "captions LONG", "qa"]


@pytest.mark.parametrize("style", [True, False])
def test_failures_are_those_of_a_final_file_of_the_present_settings(make_config, layout, images, jobs, style):
    images.add("a.png")
    config = make_config({"qa" if style else "captions": None})
    if style:
        jobs("captions", 1)
        settings_now, path = caption_settings(config, "tiny", "SIMPLE"), layout.captions("simple", "_provenance")
    else:
        frame = pd.DataFrame({"qid": ["q"], "question": "What?", "answer": "A", "image": "a.png"})
        frame.to_parquet(config.qa.question_path)
        jobs("qa", 1)
        settings_now, path = qa_settings(config, "tiny"), layout.qa("provenance")
    stored = {"settings": settings_now, "counts": {"failures_by_reason": {"timeout": 2}}}
    write_json(path, stored)
    (file,) = read_status(config, layout).files
    assert file.failures_by_reason == {"timeout": 2}
    assert Path(file.failures_path) == Path(path.replace("provenance", "failures"))
    write_json(path, stored | {"settings": settings_now | {"max_tokens": 7}})
    (file,) = read_status(config, layout).files
    assert file.failures_by_reason == {}


def test_it_says_whether_a_run_works_on_the_folder(config, layout, planned):
    assert "no run works on this folder now; go on with: captionqa run my.yaml" in status_text(
        read_status(config, layout), CONFIG
    )
    keeper = LeaseKeeper(layout.server)
    keeper.start()
    try:
        text = status_text(read_status(config, layout), CONFIG)
    finally:
        keeper.release()
    assert f"a run works on this folder now: process {os.getpid()} on {socket.gethostname()}" in text
    assert "go on with" not in text


def test_a_run_is_to_go_on_until_it_is_merged(config, layout, asked):
    assert "go on with: captionqa run my.yaml" in status_text(read_status(config, layout), CONFIG)
    write_json(layout.captions("simple"), {})
    assert status_text(read_status(config, layout), CONFIG).endswith("no run works on this folder now")


def test_each_server_has_a_line(config, layout):
    ready = Endpoint(0, "request", "settings", "tiny", State.STARTING, pid=1, host="node9", job="4711")
    ready.publish(layout.server)
    ready.record_restart("it hung")
    ready.state, ready.url = State.READY, "http://node9:8000"
    ready.publish(layout.server)
    gone = Endpoint(1, "request", "settings", "tiny", State.DEAD, reason="its process ended with exit code 3")
    gone.publish(layout.server)
    lines = status_text(read_status(config, layout), CONFIG).splitlines()
    assert lines[-2:] == [
        "server 0: ready at http://node9:8000 (Slurm job 4711), for 0 s, restarts: 1",
        "server 1: ended: its process ended with exit code 3",
    ]


def test_every_state_of_a_server_has_its_words(config, layout):
    for replica, state in enumerate(State):
        Endpoint(replica, "request", "settings", "tiny", state).publish(layout.server)
    text = status_text(read_status(config, layout), CONFIG)
    assert len([line for line in text.splitlines() if line.startswith("server ")]) == len(State)


def test_the_numbers_stand_below_each_other():
    files = [
        FileStatus("captions SIMPLE", 128, 12, 250_000, 23_000, 438, 1_020, False, {}, "simple_failures.json"),
        FileStatus("qa", 4, 4, 60, 58, 2, 0, True, {"timeout": 2, "ungradable_ground_truth": 4}, "qa_failures.json"),
    ]
    lease = {"pid": 7, "host": "login1"}
    text = status_text(RunStatus("out", "tiny", files, unplanned=[], lease=lease, view=None, servers=[]), CONFIG)
    assert text == (
        "output folder out, model tiny\n"
        "                       chunks     items   answered   in journal   failed     to do\n"
        "  captions SIMPLE   12 of 128   250,000     23,000        1,020      438   225,542\n"
        "  qa                   4 of 4        60         58            0        2         0\n"
        "  qa, failures in its final file: 2 timeout, 4 ungradable_ground_truth  qa_failures.json\n"
        "  answered, failed: in finished chunks; in journal: answered, in chunks that are not finished yet\n"
        "a run works on this folder now: process 7 on login1"
    )
