"""The load log: it continues through restarts of one server and starts anew for another start request."""

import time

from captionqa.server import load_log
from captionqa.server.load_log import LoadLog
from captionqa.server.probe import EngineLoad


def test_looks_are_kept_with_their_time_and_given_back(server_folder):
    log, load = LoadLog(server_folder, 0, "request"), EngineLoad(5, 100, 2, 0.5, 1, 90)
    before = time.time()
    assert log.add(load) is load
    assert log.add(None) is None
    (looks,) = load_log.read_all(server_folder)
    (look,) = looks
    assert abs(look.pop("time") - before) < 600
    assert look == {"requests": 5, "tokens": 100, "waiting": 2, "cache_used": 0.5, "preemptions": 1, "finished": 90}


def test_a_job_that_starts_again_goes_on_and_another_server_begins_anew(server_folder):
    for replica, request in ((0, "request"), (0, "request"), (1, "request")):
        LoadLog(server_folder, replica, request).add(EngineLoad(replica, 0))
    assert [[look["requests"] for look in looks] for looks in load_log.read_all(server_folder)] == [[0, 0], [1]]
    LoadLog(server_folder, 0, "another").add(EngineLoad(7, 0))
    assert [[look["requests"] for look in looks] for looks in load_log.read_all(server_folder)] == [[7], [1]]


def test_a_look_that_cannot_be_kept_does_not_end_the_watch(server_folder):
    log = LoadLog(server_folder / "gone", 0, "request")
    assert log.add(EngineLoad(1, 1)) == EngineLoad(1, 1)
