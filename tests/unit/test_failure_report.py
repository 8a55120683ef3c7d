"""The failure report of a run: each reason once, with where to look."""

import os
import subprocess
import sys
import time
from pathlib import Path

import captionqa
import pytest
from captionqa.config.layout import Layout
from captionqa.driver.failure_report import failure_messages, restarts
from captionqa.files import write_json
from captionqa.server.endpoint import Endpoint


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "output"), "tiny")
    write_json(layout.server_files.run, {"server_needed": True, "slurm": None})
    return layout


@pytest.fixture
def fail(layout):
    """Store that a job failed for a reason."""

    def write(name, reason):
        error = {"error": f"{name} failed: {reason}\n  log: {name}.log", "name": name, "reason": reason}
        write_json(layout.job_error(name), error | {"log": f"{name}.log"})

    return write


@pytest.fixture
def server(layout):
    """Publish a server that was restarted for these reasons."""

    def publish(*reasons, replica=0):
        entry = Endpoint(replica, "request", "settings", "tiny")
        for reason in reasons:
            entry.record_restart(reason)
        entry.publish(layout.server)

    return publish


def test_a_run_without_trouble_has_nothing_to_say(layout, server):
    assert failure_messages(layout) == []
    server()
    assert failure_messages(layout) == []


def test_chunks_that_failed_by_one_reason_are_one_sentence(layout, fail):
    for number in range(9):
        fail(f"chunk {number}-of-9", "the server is gone for good")
    fail("merge", "two results do not fit")
    many, one = failure_messages(layout)
    assert many.splitlines()[0] == "9 jobs failed: the server is gone for good"
    assert many.splitlines()[1] == "  chunk 0-of-9, log: chunk 0-of-9.log"
    assert many.splitlines()[-1] == "  and 4 more, logs beside these"
    assert one == "merge failed: two results do not fit\n  log: merge.log"


def test_what_the_driver_had_to_say_stands_beside_it(layout, fail):
    fail("chunk", "no answer")
    write_json(layout.job_error("server"), {"error": "the server is gone for good: it crashed"})
    assert failure_messages(layout) == [
        "chunk failed: no answer\n  log: chunk.log",
        "the server is gone for good: it crashed",
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_dead_server_is_told_once_though_the_driver_and_the_jobs_saw_it(layout, fail, jobs):
    gone = "the server is gone for good: server 0: its Slurm job 7 was cancelled"
    for number in range(jobs):
        fail(f"chunk {number}-of-2", f"{gone}.")
    write_json(layout.job_error("server"), {"error": f"{gone}\n  server's log: server-0.log"})
    (message,) = failure_messages(layout)
    assert message.count(gone) == 1
    assert all(f"log: chunk {number}-of-2.log" in message for number in range(jobs))


def test_of_several_models_the_servers_log_is_that_of_the_models_whose_jobs_failed(layout, tmp_path):
    first, *others = layout.of_models(["tiny", "second", "third"])
    for each in (first, *others):
        Path(each.server_log()).parent.mkdir(parents=True)
        Path(each.server_log()).write_text("vLLM said something\n")
    for of_model in others:
        for number in range(2):
            stop = "from pathlib import Path\nfrom captionqa.config.layout import Layout\n"
            stop += "from captionqa.errors import CaptionqaError\nfrom captionqa.run.job_log import job_log\n"
            log = str(tmp_path / f"{of_model.model}-{number}.log")
            stop += f"with job_log({log!r}, 'chunk {number}', {of_model!r}):\n"
            stop += "    raise CaptionqaError('the server is gone for good')"
            environment = {**os.environ, "PYTHONPATH": str(captionqa.WORKFLOW)}
            assert subprocess.run([sys.executable, "-c", stop], env=environment, check=False).returncode == 1
    (message,) = failure_messages(layout)
    assert message.splitlines()[0] == "4 jobs failed: the server is gone for good"
    assert [line for line in message.splitlines() if "server's log" in line] == [
        f"  server's log: {each.server_log()}" for each in others
    ]


def test_restarts_are_told_by_reason_with_the_log(layout, server):
    server("it crashed", "it hung", "it crashed")
    server("it hung", replica=1)
    server(replica=2)
    first, second = restarts(layout)
    assert first.startswith("server 0 was started again 3 times, the last time at 20")
    assert "it crashed (2 times); it hung\n" in first
    assert first.endswith(f"server's log: {layout.server_log(0)}")
    assert second.startswith("server 1 was started again once, at ")
    assert failure_messages(layout) == [first, second]


def test_the_time_of_a_restart_is_in_the_form_and_the_zone_of_the_servers_log(layout, monkeypatch):
    monkeypatch.setenv("TZ", "India-5:30")
    time.tzset()
    try:
        restart = {"number": 1, "time": "2026-01-02T03:04:05+00:00", "generation": 1, "reason": "it crashed"}
        Endpoint(0, "request", "settings", "tiny", restarts=[restart]).publish(layout.server)
        (row,) = restarts(layout)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row.startswith("server 0 was started again once, at 2026-01-02 08:34:05: it crashed\n")


def test_the_restarts_of_a_run_before_are_no_news(layout, server):
    server("it crashed")
    write_json(layout.server_files.run, {"server_needed": False, "slurm": None})
    assert restarts(layout) == []
