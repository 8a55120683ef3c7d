"""Proved connections: no key and no image leaves before the other end has proved, on that connection, who it is."""

import os
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from captionqa.client import server_pool as pool_module
from captionqa.client.api_key import ApiKeys
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import ImagePart
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.request_errors import TransientError, UnreachableError
from captionqa.client.retrying_client import RetryingClient
from captionqa.client.server_pool import ServerPool
from captionqa.errors import ForeignServerError, Reason, ServerDeadError, ServerError
from captionqa.run.lease import LeaseWatch
from captionqa.server import generation_key, proved_connection
from captionqa.server.key_guard import proof
from captionqa.server.ports import ReservedPort
from captionqa.server.probe import Probe

KEY = "the-key-of-this-generation"
IMAGE = b"AAAAimageAAAAA=="
REQUEST = ChatRequest([ImagePart(b"data:image/png;base64," + IMAGE), "Which animal is this?"], max_tokens=9)
LYING_ANSWER = b'{"choices": [{"message": {"content": "The words of a thief."}}]}'


class Listener:
    """What listens on a port of its own: each connection goes to `serve`, and `received` has all that came."""

    def __init__(self, serve):
        self.received = b""
        self.connections = 0
        #: Of the connections, those that are closed.
        self.closed = 0
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=[connection], daemon=True).start()

    def _run(self, connection):
        with connection, suppress(OSError):
            self._serve(self, connection)
        self.closed += 1

    def read(self, connection):
        data = connection.recv(65_536)
        self.received += data
        return data

    def close(self):
        self._socket.close()


@pytest.fixture
def listen():
    """Start listeners, which end with the test."""
    started = []

    def start(serve):
        started.append(Listener(serve))
        return started[-1]

    yield start
    for listener in started:
        listener.close()


@pytest.fixture
def own_server(stand_in, monkeypatch):
    """The stand-in server with the key of its generation."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    return stand_in


@pytest.fixture
def publish_own(publish, server_folder):
    """Publish a server with its key, as a supervisor does."""

    def write(url, key=KEY, **fields):
        entry = publish(url, **fields)
        generation_key.write(server_folder, entry, key)
        return entry

    return write


@pytest.fixture
def complete(server_folder):
    """Send one request to an own server, over the connections of one client."""
    client, keys = CompletionClient(4, timeout_s=20, own=True), ApiKeys(server_folder, own=True)
    return lambda server: client.complete(server, keys.of(server), REQUEST.body({}))


@pytest.fixture
def make_client(make_config, server_folder, monkeypatch):
    """A client of own servers."""
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)

    def make(**changes):
        settings = make_config({"client": changes}).client
        lease = LeaseWatch(server_folder, 600)
        pool = ServerPool(server_folder, lease, settings.server_wait_s, settings.backoff_s, InFlightLimiter(4))
        return RetryingClient(pool, settings, ApiKeys(server_folder, own=True), {})

    return make


def answering(answer):
    """A thief who gives each request the same answer."""

    def serve(listener, connection):
        while listener.read(connection):
            connection.sendall(answer)

    return serve


def http(body, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def close_at_once(listener, connection):
    pass


def reset(listener, connection):
    listener.read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_and_reset_before_it_is_asked(listener, connection):
    connection.sendall(http(LYING_ANSWER))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def endless_head(listener, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"a: b\r\n" * 100)


THIEVES = {
    "says yes to all": answering(http(LYING_ANSWER)),
    "has 64 characters": answering(http(b"0" * 64)),
    "is another server": answering(http(b"{}", b"404 Not Found")),
    "speaks no HTTP": answering(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "sends nothing": close_at_once,
    "resets": reset,
    "answers before": answer_and_reset_before_it_is_asked,
    "sends no end": endless_head,
}


def relay_to(port):
    """Somebody in the middle, who passes all bytes on in both directions."""

    def serve(listener, connection):
        with socket.create_connection(("127.0.0.1", port)) as onward:

            def back():
                with suppress(OSError):
                    while data := onward.recv(65_536):
                        connection.sendall(data)

            threading.Thread(target=back, daemon=True).start()
            while data := listener.read(connection):
                onward.sendall(data)

    return serve


def port_of(url):
    return int(url.rpartition(":")[2])


def test_an_own_server_answers_after_one_proof_for_each_connection(own_server, publish_own, complete, monkeypatch):
    server, proofs = publish_own(own_server.url), []
    check = proved_connection.check_proof
    monkeypatch.setattr(proved_connection, "check_proof", lambda *given: proofs.append(given) or check(*given))
    assert complete(server)["text"] == complete(server)["text"]
    assert len(proofs) == 1
    assert len(own_server.asked) == 2


@pytest.mark.parametrize("thief", THIEVES.values(), ids=THIEVES)
def test_a_thief_on_the_published_port_gets_no_key_and_no_image_and_is_not_heard(publish_own, complete, listen, thief):
    stolen = listen(thief)
    server = publish_own(stolen.url)
    for _ in range(2):
        with pytest.raises(UnreachableError):
            complete(server)
    assert stolen.connections >= 1
    assert KEY.encode() not in stolen.received
    assert IMAGE not in stolen.received
    assert b"authorization" not in stolen.received.lower()


def test_a_relay_to_the_real_server_proves_nothing(own_server, publish_own, complete, listen):
    relay = listen(relay_to(port_of(own_server.url)))
    with pytest.raises(UnreachableError):
        complete(publish_own(relay.url))
    assert b"/captionqa/proof?" in relay.received
    assert KEY.encode() not in relay.received
    assert own_server.asked == []


def test_what_follows_a_proof_uncalled_for_is_no_answer(publish_own, complete, listen):
    """Somebody on the way who lets the proof pass and adds the answer to the next request."""

    def serve(listener, connection):
        challenge = listener.read(connection).split(b"?")[1].split(b" ")[0].decode()
        right = proof(KEY, challenge, connection.getpeername(), connection.getsockname()).encode()
        connection.sendall(http(right) + http(LYING_ANSWER))
        listener.read(connection)

    meddler = listen(serve)
    with pytest.raises(UnreachableError):
        complete(publish_own(meddler.url))
    assert IMAGE not in meddler.received


def test_a_server_that_proved_itself_and_trickles_its_answer_is_a_timeout(publish_own, server_folder, listen):
    def prove_and_drip(listener, connection):
        challenge = listener.read(connection).split(b"?")[1].split(b" ")[0].decode()
        connection.sendall(http(proof(KEY, challenge, connection.getpeername(), connection.getsockname()).encode()))
        listener.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"\n")
            time.sleep(0.1)

    server = publish_own(listen(prove_and_drip).url)
    client, keys = CompletionClient(1, timeout_s=0.3, own=True), ApiKeys(server_folder, own=True)
    with pytest.raises(TransientError) as error:
        client.complete(server, keys.of(server), REQUEST.body({}))
    assert error.value.reason is Reason.TIMEOUT


def test_a_server_with_the_key_of_another_generation_or_replica_proves_nothing(own_server, publish_own, complete):
    with pytest.raises(UnreachableError):
        complete(publish_own(own_server.url, key="another key"))
    assert own_server.asked == []


def test_a_key_of_an_earlier_generation_is_not_used_for_a_later_one(own_server, publish, publish_own, complete):
    publish_own(own_server.url, generation=1)
    with pytest.raises(UnreachableError):
        complete(publish(own_server.url, generation=2))
    assert complete(publish_own(own_server.url, generation=2))["server"]["generation"] == 2


def test_without_its_key_an_own_server_is_not_asked(publish, complete, listen):
    silent = listen(answering(http(LYING_ANSWER)))
    with pytest.raises(UnreachableError):
        complete(publish(silent.url))
    assert silent.connections == 0


def test_who_lets_a_client_wait_for_the_proof_is_left_in_time(listen):
    def drip(listener, connection):
        while True:
            connection.sendall(b"H")
            time.sleep(0.05)

    started = time.monotonic()
    address = "127.0.0.1", listen(drip).port
    with socket.create_connection(address) as connection, pytest.raises(TimeoutError):
        proved_connection.check_proof(connection, KEY, timeout_s=0.3)
    assert time.monotonic() - started < 5


def test_after_a_crash_captions_wait_for_the_next_generation_and_spend_no_attempt(
    own_server, publish_own, make_client, listen, eventually
):
    thief = listen(answering(http(LYING_ANSWER)))
    publish_own(thief.url, key="the key of the server that crashed")
    said = []
    asking = threading.Thread(target=lambda: said.append(make_client(max_attempts=1).ask(REQUEST)))
    asking.start()
    eventually(lambda: thief.connections >= 3, "connections to the thief")
    assert said == []
    publish_own(own_server.url, generation=2)
    asking.join(20)
    assert said[0]["text"].endswith("The answer is A.")
    assert IMAGE not in thief.received


def test_of_two_servers_the_one_that_proves_itself_answers(own_server, publish_own, make_client, listen):
    thief = listen(answering(http(LYING_ANSWER)))
    publish_own(thief.url, replica=0)
    publish_own(own_server.url, replica=1)
    client = make_client(max_attempts=1)
    assert {client.ask(REQUEST)["server"]["url"] for _ in range(6)} == {own_server.url}
    assert IMAGE not in thief.received


def test_where_only_a_thief_is_left_the_run_ends_after_a_while(publish_own, make_client, listen):
    publish_own(listen(answering(http(LYING_ANSWER))).url)
    with pytest.raises(ServerDeadError, match="server_wait_s"):
        make_client(server_wait_s=0.3, max_attempts=1).ask(REQUEST)


def test_a_connection_that_is_made_anew_proves_itself_again_with_another_challenge(
    publish_own, complete, listen, eventually
):
    seen = []

    def serve(listener, connection):
        """A server that closes the connection after each answer."""
        challenge = listener.read(connection).split(b"?")[1].split(b" ")[0].decode()
        ends = connection.getpeername(), connection.getsockname()
        connection.sendall(http(proof(KEY, challenge, *ends).encode()))
        listener.read(connection)
        connection.sendall(http(LYING_ANSWER))
        seen.append(challenge)

    closing = listen(serve)
    server = publish_own(closing.url)
    for count in (1, 2, 3):
        complete(server)
        eventually(lambda count=count: closing.closed == count, "the end of the connection")
    assert len(set(seen)) == 3


def test_the_probe_sends_its_key_over_proved_connections_alone(own_server, listen):
    real = Probe(own_server.url, KEY, own=True)
    real.check_identity()
    real.check_model("tiny")
    for middle in (relay_to(port_of(own_server.url)), answering(http(b'{"data": [{"id": "tiny"}], "choices": []}'))):
        foreign = listen(middle)
        probe = Probe(foreign.url, KEY, own=True)
        for check in (probe.check_identity, probe.check_health, lambda probe=probe: probe.check_model("tiny")):
            with pytest.raises(ForeignServerError, match="is not the server that was started there"):
                check()
        assert probe.load() is probe.version() is None
        assert KEY.encode() not in foreign.received


def test_a_server_that_does_not_answer_the_probe_is_no_foreign_one(listen, refused_url):
    for url in (listen(close_at_once).url, listen(reset).url, refused_url):
        with pytest.raises(ServerError, match="cannot be reached") as error:
            Probe(url, KEY, own=True).check_identity()
        assert not isinstance(error.value, ForeignServerError)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_who_takes_the_port_before_the_server_listens_learns_nothing(publish_own, complete, start_python):
    held = ReservedPort("127.0.0.1", 0)
    thief = start_python(
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"  # sets SO_REUSEADDR
        "print('stolen', flush=True)\n"
        "c, _ = s.accept()\n"
        "print(repr(c.recv(65536)), flush=True)\n"
        "c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}')\n"
        "print(repr(c.recv(65536)), flush=True)\n",
        held.number,
    )
    assert thief.stdout.readline() == "stolen\n"
    with pytest.raises(UnreachableError):
        complete(publish_own(f"http://127.0.0.1:{held.number}"))
    assert "/captionqa/proof?" in thief.stdout.readline()
    assert thief.stdout.readline() == "b''\n"
    held.release()
