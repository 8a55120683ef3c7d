"""The start request: a supervisor on another machine may see it late."""

import threading
import time

import pytest
from captionqa.config.server_files import ServerFiles
from captionqa.files import write_json
from captionqa.server import start_request


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(start_request, "POLL_S", 0.01)
    monkeypatch.setattr(start_request, "TIMEOUT_S", 0.3)


@pytest.fixture
def ask(server_folder):
    """Write the start request of this id."""
    return lambda wanted: write_json(ServerFiles(server_folder).request, {"request_id": wanted})


def test_a_request_is_waited_for(server_folder, ask, monkeypatch):
    monkeypatch.setattr(start_request, "TIMEOUT_S", 30)
    ask("before")

    def become_visible():
        time.sleep(0.1)
        ask("wanted")

    threading.Thread(target=become_visible).start()
    assert start_request.wait_for(server_folder, "wanted") == {"request_id": "wanted"}


def test_a_request_that_does_not_come_is_none(server_folder, ask):
    assert start_request.wait_for(server_folder, "wanted") is None
    ask("another")
    assert start_request.wait_for(server_folder, "wanted") is None


def test_only_another_request_supersedes_one(server_folder, ask):
    path = ServerFiles(server_folder).request
    assert not start_request.superseded(server_folder, "wanted")
    path.mkdir()
    assert not start_request.superseded(server_folder, "wanted")
    path.rmdir()
    ask("wanted")
    assert not start_request.superseded(server_folder, "wanted")
    ask("another")
    assert start_request.superseded(server_folder, "wanted")
