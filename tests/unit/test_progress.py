"""Progress: each finished item is counted once, shown in a line for a person, and added up over the chunks."""

import json
import logging

import pytest
from captionqa.files import read_json
from captionqa.run import progress
from captionqa.run.progress import Progress, duration, progress_line, totals


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def chunk(tmp_path, clock):
    return Progress(tmp_path / "progress" / "chunk.json", 10, clock)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (18_720, "5 h 12 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_the_rate_counts_only_what_was_not_known_before():
    line = progress_line({"done": 600, "failed": 3, "reused": 500, "shared": 0}, total=1000, seconds=50)
    assert line == "600/1,000 items (60 %), 2.0 items/s, 3 min 20 s left, 500 already answered, 3 failed"


@pytest.mark.parametrize(
    ("done", "total", "reused", "shared", "seconds", "line"),
    [
        (0, 10, 0, 0, 5, "0/10 items (0 %)"),
        (10, 10, 10, 0, 5, "10/10 items (100 %), 10 already answered"),
        (10, 10, 0, 0, 5, "10/10 items (100 %), 2.0 items/s"),
        (0, 0, 0, 0, 0, "0/0 items (100 %)"),
        (3, 10, 0, 0, 0, "3/10 items (30 %)"),
        (10, 10, 10, 1, 5, "10/10 items (100 %), 10 already answered, 1 duplicate (answer shared)"),
        (10, 10, 10, 2, 5, "10/10 items (100 %), 10 already answered, 2 duplicates (answer shared)"),
    ],
)
def test_a_line_says_no_more_than_is_known(done, total, reused, shared, seconds, line):
    counts = {"done": done, "failed": 0, "reused": reused, "shared": shared}
    assert progress_line(counts, total, seconds) == line


def test_answered_failed_and_reused_items_are_done(chunk):
    chunk.answered, chunk.failed, chunk.reused = 3, 2, 1
    assert chunk.done == 6


def test_beats_write_now_and_then_and_the_last_one_always(chunk, clock, tmp_path):
    path = tmp_path / "progress" / "chunk.json"

    def counts():
        return {key: value for key, value in read_json(path).items() if not key.endswith("_s")}

    chunk.report()
    assert not path.exists()
    clock.now += progress.FILE_INTERVAL_S
    chunk.answered = 3
    chunk.report()
    assert counts() == {"total": 10, "done": 3, "failed": 0, "reused": 0, "shared": 0}
    chunk.failed = 7
    chunk.report()
    assert read_json(path)["done"] == 3
    chunk.report(last=True)
    assert counts() == {"total": 10, "done": 10, "failed": 7, "reused": 0, "shared": 0}


def test_the_log_gets_a_line_now_and_then(chunk, clock, caplog):
    with caplog.at_level(logging.INFO, logger="captionqa.run.progress"):
        chunk.report()
        assert caplog.messages == []
        chunk.answered = 5
        clock.now += progress.LOG_INTERVAL_S
        chunk.report()
        chunk.report()
    assert caplog.messages == ["5/10 items (50 %), 0.5 items/s, 10 s left"]


def test_totals_add_up_the_chunks_and_pass_over_what_cannot_be_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"done": 3, "failed": 1, "reused": 0, "shared": 0}))
    (tmp_path / "b.json").write_text(json.dumps({"done": 4, "failed": 0, "reused": 4, "shared": 0}))
    (tmp_path / "c.json").write_text('{"done": 7, "fai')
    assert totals(tmp_path) == {"done": 7, "failed": 1, "reused": 4, "shared": 0}
    assert totals(tmp_path / "nowhere") == {"done": 0, "failed": 0, "reused": 0, "shared": 0}
