"""The key guard: without the run's key only the health check answers."""

import asyncio
import os
import subprocess
import sys

import pytest
from captionqa.server.heartbeat import beat, last_beats
from captionqa.server.key_guard import KEY_VARIABLE, PROOF_PATH, KeyGuard, proof

KEY = "the-run's-key"
CLIENT, SERVER = ("10.0.0.7", 40123), ("10.0.0.1", 8000)


@pytest.fixture
def call(monkeypatch):
    """Send a request through the guard; returns the messages that came back and the paths that reached the app."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    reached = []

    async def application(scope, receive, send):
        reached.append(scope["path"] if "path" in scope else scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"generated"})

    def request(path="/", kind="http", method="POST", headers=(), ends=(CLIENT, SERVER)):
        scope = {"type": kind, "client": ends[0], "server": ends[1]}
        if kind != "lifespan":
            scope |= {"path": path, "headers": list(headers)}
        if kind == "http":
            scope |= {"method": method, "path": path.partition("?")[0], "query_string": path.partition("?")[2].encode()}
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(KeyGuard(application)(scope, None, send))
        return sent, reached

    return request


GENERATING = ["/v1/chat/completions", "/v1/completions", "/invocations", "/generate", "/tokenize", "/metrics", "/"]


@pytest.mark.parametrize("path", [*GENERATING, "/health/../invocations", "/healthy", "//health"])
def test_every_route_refuses_without_the_key(call, path):
    sent, reached = call(path)
    assert sent[0]["status"] == 401
    assert b"Unauthorized" in sent[1]["body"]
    assert reached == []


@pytest.mark.parametrize(
    "given",
    [b"", b"Bearer ", b"Bearer wrong", KEY.encode(), b"Basic " + KEY.encode(), b"Bearer " + KEY.encode() + b"x"],
)
def test_another_key_is_no_key(call, given):
    sent, reached = call("/invocations", headers=[(b"authorization", given)])
    assert sent[0]["status"] == 401
    assert reached == []


@pytest.mark.parametrize("path", GENERATING)
def test_every_route_answers_with_the_key(call, path):
    sent, reached = call(path, headers=[(b"authorization", b"Bearer " + KEY.encode())])
    assert sent[0]["status"] == 200
    assert reached == [path]


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_the_health_check_needs_no_key(call, path):
    assert call(path, method="GET")[0][0]["status"] == 200


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_only_reading_the_health_check_is_open(call, path):
    assert call(path, method="POST")[0][0]["status"] == 401


@pytest.mark.parametrize("path", ["/v1/realtime", "/health"])
def test_a_websocket_without_the_key_is_closed(call, path):
    sent, reached = call(path, kind="websocket")
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert reached == []


def test_the_guard_proves_that_it_has_the_key_and_does_not_tell_it(call):
    sent, reached = call(f"{PROOF_PATH}?one challenge", method="GET")
    said = sent[1]["body"].decode()
    assert sent[0]["status"] == 200
    assert said == proof(KEY, "one challenge", CLIENT, SERVER)
    assert said not in (
        proof("another key", "one challenge", CLIENT, SERVER),
        proof(KEY, "another challenge", CLIENT, SERVER),
        proof(KEY, "one challenge", (CLIENT[0], 40124), SERVER),
        proof(KEY, "one challenge", CLIENT, ("10.0.0.2", 8000)),
    )
    assert KEY not in said
    assert reached == []


@pytest.mark.parametrize("path", [f"{PROOF_PATH}/", f"{PROOF_PATH}/../../invocations", f"/{PROOF_PATH}"])
def test_only_the_proof_itself_is_open(call, path):
    assert call(path, method="GET")[0][0]["status"] == 401
    assert call(PROOF_PATH, method="POST")[0][0]["status"] == 401


def test_no_proof_is_given_for_a_connection_that_a_proxy_claims(call):
    forwarded = [(b"X-Forwarded-For", b"10.0.0.7:40123")]
    assert call(f"{PROOF_PATH}?c", method="GET", headers=forwarded)[0][0]["status"] == 401
    assert call(f"{PROOF_PATH}?c", method="GET", ends=(None, None))[0][0]["status"] == 401


@pytest.mark.parametrize(
    ("written", "same"), [("::ffff:10.0.0.7", "10.0.0.7"), ("fe80::1%eth0", "fe80::1"), ("0:0::1", "::1")]
)
def test_both_ends_may_write_an_address_differently(written, same):
    assert proof(KEY, "c", (written, 1, 0, 0), SERVER) == proof(KEY, "c", (same, 1), SERVER)


def test_the_servers_start_and_end_pass(call):
    assert call(kind="lifespan")[1] == ["lifespan"]


def test_without_a_key_in_the_environment_the_server_does_not_start(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(KeyError):
        KeyGuard(None)


def test_the_guard_needs_the_standard_library_alone(workflow_folder):
    code = f"import sys; sys.path.insert(0, {str(workflow_folder)!r}); import captionqa.server.key_guard"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_each_api_server_has_a_heartbeat_in_the_folder_for_temporary_files_while_it_lives(monkeypatch, tmp_path):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("captionqa.server.heartbeat.INTERVAL_S", 0.01)
    seen = []

    async def application(scope, receive, send):
        while len(seen) < 3:
            await asyncio.sleep(0.01)
            beat = last_beats(tmp_path).get(os.getpid())
            if beat is not None and beat not in seen:
                seen.append(beat)

    asyncio.run(asyncio.wait_for(KeyGuard(application)({"type": "lifespan"}, None, None), 20))
    assert seen == sorted(seen)


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_without_a_folder_for_temporary_files_there_is_no_heartbeat_and_no_error(monkeypatch, tmp_path, folder):
    monkeypatch.delenv("TMPDIR", raising=False)
    if folder:
        monkeypatch.setenv("TMPDIR", str(tmp_path / folder))
    asyncio.run(asyncio.wait_for(beat(), 20))
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_follows_no_link_of_another_user(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / f"heartbeat-{os.getpid()}").symlink_to(tmp_path / "aimed_at")
    asyncio.run(asyncio.wait_for(beat(), 20))
    assert not (tmp_path / "aimed_at").exists()
