"""The endpoint file: complete at any time, read in the order of the replicas; the key: for its owner alone."""

import json
import os
import stat
import threading

import pytest
from captionqa.config.server_files import ServerFiles
from captionqa.server import endpoint
from captionqa.server.endpoint import Endpoint, State


def test_what_is_published_is_read_back(publish, server_folder):
    fields = {"generation": 3, "host": "node", "pid": 7, "job": "42", "versions": {"vllm": "1"}, "argv": ["a", "b"]}
    entry = publish("http://node:1", **fields)
    assert endpoint.read(server_folder, 0) == entry
    assert endpoint.read(server_folder, 0).state is State.READY


def test_replicas_come_in_the_order_of_their_numbers(publish, server_folder):
    for replica in (10, 2, 0):
        publish(f"http://node:{replica}", replica=replica)
    assert [entry.replica for entry in endpoint.read_all(server_folder)] == [0, 2, 10]


def test_no_endpoint_is_none(server_folder):
    assert endpoint.read(server_folder, 0) is None
    assert endpoint.read_all(server_folder) == []


def test_a_file_that_cannot_be_read_yet_is_passed_over(publish, server_folder):
    publish("http://node:1", replica=1)
    ServerFiles(server_folder).endpoint(0).write_text('{"replica": 0, "url')
    assert [entry.replica for entry in endpoint.read_all(server_folder)] == [1]


def test_readers_never_see_half_an_endpoint(publish, server_folder):
    publish("http://node:0")
    over = threading.Event()

    def rewrite():
        for generation in range(60):
            publish("http://node:" + "9" * generation, generation=generation)
        over.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not over.is_set():
        assert [entry.url.count("9") in (0, entry.generation) for entry in endpoint.read_all(server_folder)] == [True]
    writer.join()


def test_removing_takes_all_endpoints_and_nothing_else(publish, server_folder):
    publish("http://node:0")
    publish("http://node:1", replica=1)
    endpoint.write_key(server_folder, "secret")
    endpoint.remove_all(server_folder)
    assert endpoint.read_all(server_folder) == []
    assert endpoint.read_key(server_folder) == "secret"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_key_is_for_its_owner_alone(server_folder, umask):
    ServerFiles(server_folder).api_key.write_text("{}")
    before = os.umask(umask)
    try:
        endpoint.write_key(server_folder, "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(ServerFiles(server_folder).api_key.stat().st_mode) == 0o600
    assert endpoint.read_key(server_folder) == "secret"


def test_a_server_without_a_key_has_none(server_folder):
    assert endpoint.read_key(server_folder) is None
    endpoint.write_key(server_folder, None)
    assert endpoint.read_key(server_folder) is None


def test_reasons_name_each_server():
    gone = [
        Endpoint(replica, "request", "settings", "tiny", State.DEAD, reason=reason)
        for replica, reason in enumerate(["it crashed", None, "it hung"])
    ]
    assert endpoint.reasons(gone) == "server 0: it crashed; server 2: it hung"
    assert endpoint.reasons([]) == "no reason was given"


def test_provenance_keeps_where_and_how_a_server_ran(publish):
    restarts = [{"number": 1, "time": "2026-01-02T03:04:05+00:00", "generation": 1, "reason": "it crashed"}]
    fields = {"generation": 2, "host": "node", "job": "42", "argv": ["vllm"], "restarts": restarts}
    fields["chosen"] = ["--api-server-count 3: why"]
    kept = endpoint.summary(publish("http://node:1", **fields))
    assert json.loads(json.dumps(kept)) == {
        "url": "http://node:1",
        "model": "tiny",
        "host": "node",
        "job": "42",
        "generation": 2,
        "versions": {},
        "argv": ["vllm"],
        "chosen": ["--api-server-count 3: why"],
        "restarts": restarts,
    }


def test_only_so_many_restarts_are_kept_but_all_are_counted(publish, server_folder):
    entry = publish("http://node:1")
    for number in range(1, 101):
        entry.record_restart(f"crash {number}")
    entry.publish(server_folder)
    kept = endpoint.read(server_folder, 0).restarts
    assert [(restart["number"], restart["reason"]) for restart in kept] == [(n, f"crash {n}") for n in range(81, 101)]


def test_changes_of_state_are_kept_from_the_supervisors_start_on(server_folder):
    Endpoint(0, "request", "settings", "tiny").publish(server_folder)
    entry = endpoint.read(server_folder, 0)
    assert entry.changes == []
    entry.pid = 7
    for state in (State.STARTING, State.READY, State.READY, *[State.REPLACING, State.READY] * 60):
        entry.state = state
        entry.publish(server_folder)
    kept = endpoint.read(server_folder, 0).changes
    assert [state for state, _ in kept] == [State.REPLACING, State.READY] * (endpoint.CHANGES_KEPT // 2)
    assert kept == sorted(kept, key=lambda change: change[1])
