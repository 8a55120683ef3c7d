"""A time limit for a whole request: http.client's own holds for each read, so a server that trickles outlives it.

A request is also sent in as few system calls as its size allows, since a thread gives the interpreter away at each.
"""

import socket
import time
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool
from urllib3.exceptions import TimeoutError as RequestTimeoutError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The least time limit of a socket, since 0 would mean not to wait at all.
LEAST_S = 0.001
#: Buffers that one system call may take; Linux's own limit is 1,024.
MAX_BUFFERS = 512
#: A socket's time limit is set anew once this share of a request's time has passed: each setting is a system call.
TOLERANCE = 0.01


def set_deadline(connections: HTTPConnectionPool, timeout_s: float) -> None:
    """Let `timeout_s` hold for all bytes of a request and its response together, on each new connection of a pool.

    Requests have to be made with `urllib3.Timeout(total=timeout_s)`, which gives the rest of this time to the response.
    """
    timed: Any = type(
        "TimedConnection",
        (_TimedSending, connections.ConnectionCls),
        {"response_class": _TimedResponse, "timeout_s": timeout_s},
    )
    connections.ConnectionCls = timed


class _TimedSending:
    """Ends the sending of a request at its deadline; a mixin of a class of connections."""

    timeout_s: float
    timeout: float
    sock: "socket.socket | None"
    _limit: "_TimeLimit | None" = None
    #: The parts of the request that is being put together; None while there is none.
    _parts: list[bytes] | None = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the class that this is mixed with; under a time limit of its own
        assert self.sock is not None
        self.sock.settimeout(self.timeout_s)

    def request(self, *args: Any, **options: Any) -> None:
        self._limit = _TimeLimit(self.timeout_s)
        if self.sock is not None:  # urllib3 sets this on the socket
            self.timeout = self.timeout_s
        self._parts = []
        try:
            super().request(*args, **options)  # type: ignore[misc]  # as above
            parts, self._parts = self._parts, None
            self._send_together(parts)
        finally:
            self._parts = None

    def send(self, data: Any) -> None:
        if self._parts is not None:
            self._parts.append(data)
            return
        if self.sock is not None and self._limit is not None:
            self._limit.keep(self.sock)
        try:
            super().send(data)  # type: ignore[misc]  # as above
        except TimeoutError as error:
            raise RequestTimeoutError("the request could not be sent in time") from error

    def _send_together(self, parts: Sequence[bytes]) -> None:
        if self.sock is None:
            self.connect()
        if type(self.sock) is not socket.socket:  # TLS takes one buffer at a time
            for part in parts:
                self.send(part)
            return
        assert self._limit is not None
        rest = [memoryview(part) for part in parts]
        try:
            while rest:
                self._limit.keep(self.sock)
                sent, taken = self.sock.sendmsg(rest[:MAX_BUFFERS]), 0
                while taken < len(rest) and sent >= len(rest[taken]):
                    sent -= len(rest[taken])
                    taken += 1
                del rest[:taken]
                if sent:
                    rest[0] = rest[0][sent:]
        except TimeoutError as error:
            raise RequestTimeoutError("the request could not be sent in time") from error


class _TimedResponse(HTTPResponse):
    """A response of which all reads together, status and headers too, take at most the time limit of its socket."""

    def __init__(self, sock: "socket.socket", *args: Any, **options: Any):
        super().__init__(sock, *args, **options)
        limit, receive = _TimeLimit(sock.gettimeout() or LEAST_S), sock.recv_into

        def read_in_time(buffer: "WriteableBuffer") -> int:
            limit.keep(sock)
            return receive(buffer)

        # put on the reader that is there: another reader around it would cost more than all else here
        reader: Any = self.fp.raw
        reader.readinto = read_in_time


class _TimeLimit:
    """A time limit, counted from now, for several waits on a socket that has it as its time limit already."""

    __slots__ = ("_deadline", "_set_anew", "_tolerance_s")

    def __init__(self, seconds: float):
        now = time.monotonic()
        self._tolerance_s = TOLERANCE * seconds
        self._deadline = now + seconds
        self._set_anew = now + self._tolerance_s

    def keep(self, sock: "socket.socket") -> None:
        """Call it before each wait."""
        if (now := time.monotonic()) > self._set_anew:
            self._set_anew = now + self._tolerance_s
            sock.settimeout(max(self._deadline - now, LEAST_S))
