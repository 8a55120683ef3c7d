"""The start request: a supervisor on another machine may see it late, and for a while with an earlier key."""

import threading
import time

import pytest
from captionqa.config.server_files import ServerFiles
from captionqa.files import write_json
from captionqa.server import endpoint, start_request


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(start_request, "POLL_S", 0.01)
    monkeypatch.setattr(start_request, "TIMEOUT_S", 0.3)


@pytest.fixture
def ask(server_folder):
    """Write the start request of this id and this key; returns it."""

    def write(wanted, key):
        asked = {"request_id": wanted, "key_digest": start_request.key_digest(key)}
        write_json(ServerFiles(server_folder).request, asked)
        return asked

    return write


def test_a_request_and_its_key_are_waited_for(server_folder, ask, monkeypatch):
    monkeypatch.setattr(start_request, "TIMEOUT_S", 30)
    ask("before", "old key")
    endpoint.write_key(server_folder, "old key")

    def become_visible():
        time.sleep(0.1)
        ask("wanted", "new key")
        time.sleep(0.1)
        endpoint.write_key(server_folder, "new key")

    threading.Thread(target=become_visible).start()
    request, key = start_request.wait_for(server_folder, "wanted")
    assert request["request_id"] == "wanted"
    assert key == endpoint.read_key(server_folder) == "new key"


def test_a_request_that_does_not_come_is_none(server_folder, ask):
    assert start_request.wait_for(server_folder, "wanted") is None
    ask("another", "key")
    endpoint.write_key(server_folder, "key")
    assert start_request.wait_for(server_folder, "wanted") is None


def test_with_the_key_of_an_earlier_server_none_is_started(server_folder, ask):
    ask("wanted", "new key")
    endpoint.write_key(server_folder, "old key")
    assert start_request.wait_for(server_folder, "wanted") is None


def test_only_another_request_supersedes_one(server_folder, ask):
    path = ServerFiles(server_folder).request
    assert not start_request.superseded(server_folder, "wanted")
    path.mkdir()
    assert not start_request.superseded(server_folder, "wanted")
    path.rmdir()
    ask("wanted", "key")
    assert not start_request.superseded(server_folder, "wanted")
    ask("another", "key")
    assert start_request.superseded(server_folder, "wanted")
