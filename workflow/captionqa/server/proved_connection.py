"""Connections to a server that captionqa started: the other end proves who it is before anything else is sent.

The first request on each connection asks for `key_guard.proof`, without the key. What does not prove that it holds the
key of the server's generation, on this very connection, gets no key and no image, and nothing that it says is used.
That costs one round trip for each connection, and nothing for a request.
"""

import secrets
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from captionqa.server import key_guard

#: How long a server may take for a proof; one that is busy answers late.
PROOF_TIMEOUT_S = 30.0
CHALLENGE_BYTES = 16
#: Length of a proof.
PROOF_BYTES = 64
#: An answer with a longer head is no proof.
MAX_ANSWER_BYTES = 8192


class NoProofError(HTTPError):
    """The other end gave no answer to the challenge. The connection is closed."""


class ForeignProofError(NoProofError):
    """The other end answered, but does not hold the key. The connection is closed."""


class ProvedConnection(HTTPConnection):
    """A connection that exists only once its other end has proved that it holds a key."""

    def __init__(self, *args: Any, key: str, proof_timeout_s: float, **options: Any):
        super().__init__(*args, **options)
        self._key = key
        self._proof_timeout_s = proof_timeout_s

    def connect(self) -> None:
        """Connect, as each request does where there is no connection.

        Raises:
            NoProofError: the other end did not prove itself. urllib3 would take some errors of sockets for an answer
                that came early, so none of them leaves here.
        """
        super().connect()
        try:
            timeout = self.sock.gettimeout()
            check_proof(self.sock, self._key, self._proof_timeout_s)
            self.sock.settimeout(timeout)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise NoProofError(f"no proof came: {type(error).__name__}") from error
            raise


class ProvedConnectionPool(HTTPConnectionPool):
    """The connections to the server at a base URL, each of which has proved that it holds the key."""

    ConnectionCls = ProvedConnection

    def __init__(self, url: str, key: str, connections: int = 1, proof_timeout_s: float = PROOF_TIMEOUT_S):
        """`connections` is how many are kept."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        super().__init__(parts.hostname, parts.port, maxsize=connections, key=key, proof_timeout_s=proof_timeout_s)


def check_proof(connection: socket.socket, key: str, timeout_s: float) -> None:
    """Check that the other end of a new connection holds the key; raises NoProofError or OSError where it does not."""
    challenge = secrets.token_hex(CHALLENGE_BYTES)
    client, server = connection.getsockname(), connection.getpeername()
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    request = f"GET {key_guard.PROOF_PATH}?{challenge} HTTP/1.1\r\nHost: {host}:{server[1]}\r\n\r\n"
    deadline = time.monotonic() + timeout_s
    connection.settimeout(timeout_s)
    connection.sendall(request.encode())
    answer = _read_answer(connection, deadline)
    _, end, body = answer.partition(b"\r\n\r\n")
    if not end and len(answer) < MAX_ANSWER_BYTES:
        raise NoProofError("the connection ended without a proof")
    # bytes behind the proof would be taken for the answer to the next request
    if not secrets.compare_digest(body, key_guard.proof(key, challenge, client, server).encode()):
        raise ForeignProofError("the answer is no proof")


def _read_answer(connection: socket.socket, deadline: float) -> bytes:
    """What the other end sends, until that can be a proof, or cannot become one any more."""
    answer = b""
    while len(answer) < MAX_ANSWER_BYTES:
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            data = connection.recv(MAX_ANSWER_BYTES - len(answer))
        except OSError:
            if b"\r\n\r\n" in answer:
                break
            raise
        if not data:
            break
        answer += data
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and (len(body) >= PROOF_BYTES or not _announces_proof(head)):
            break
    return answer


def _announces_proof(head: bytes) -> bool:
    status, *headers = head.lower().split(b"\r\n")
    return b" 200 " in status and f"content-length: {PROOF_BYTES}".encode() in headers
