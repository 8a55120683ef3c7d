"""A model server without a model, as fast as one core allows: slots, a latency and a token rate instead of a GPU.

It has the routes of vLLM that clients and this workflow need: /health, /version, /metrics, /v1/models and
/v1/chat/completions, streamed or whole, with a key or without. Bodies are read to their end and not parsed; only their
last bytes are searched for `"stream": true`, with an image cache also all of them for images. Pipelining is not
supported: a client has to wait for an answer before it sends the next request on the connection.

    python -m bench.simulator --slots 64 --latency-s 0.5       like a GPU that answers 128 requests a second
    python -m bench.simulator --api-servers 2 --preprocess-s 0.08   like vLLM's front end with photographs
    python -m bench.simulator --preprocess-s 0.08 --cached-images 100 --cached-s 0.01    with an image cache
    python -m bench.simulator                                  without any delay
"""

import argparse
import asyncio
import ctypes
import json
import os
import re
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bench.counters import PROMPT_TOKENS, Counters
from bench.simulated_cache import ImageCache, images_of

BUFFER_BYTES = 1 << 20
#: How much of a body's end is searched; clients put `stream` after the messages.
TAIL_BYTES = 1024
MAX_HEAD_BYTES = 65_536
BACKLOG = 1024
CAPTION = "A picture of many colours that a model without eyes describes with much care. "
PR_SET_PDEATHSIG = 1
COMPLETIONS = "/v1/chat/completions"
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\nauthorization:\s*bearer ([^\r]*)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream":\s*true')
_CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """How the simulated model behaves.

    `slots` requests run at once (0: all of them), each for `latency_s` plus its tokens at `tokens_per_s` (0: no time).
    Before that each takes `preprocess_s` of the API server that its connection belongs to, one request at a time, as in
    vLLM. A new connection goes to the one of `api_servers` that has the fewest. Each API server keeps the last
    `cached_images` images, and a request whose image is among them takes `cached_s` instead.
    """

    model: str = "simulator"
    slots: int = 0
    latency_s: float = 0.0
    tokens_per_s: float = 0.0
    tokens: int = 64
    api_servers: int = 1
    preprocess_s: float = 0.0
    cached_images: int = 0
    cached_s: float = 0.0
    key: str | None = None

    @property
    def seconds_per_request(self) -> float:
        return self.latency_s + (self.tokens / self.tokens_per_s if self.tokens_per_s else 0.0)


class Engine:
    """The slots of one worker process, and the queue of requests that wait for a slot."""

    def __init__(self, settings: Settings, counters: Counters, worker: int):
        self.settings = settings
        self.counters = counters
        self.worker = worker
        self._loop = asyncio.get_running_loop()
        self._running = 0
        self._waiting: deque[Connection] = deque()
        #: The connections of each API server, and when it will have preprocessed all that it has received.
        self.connections = [0] * settings.api_servers
        self._free_at = [0.0] * settings.api_servers
        self._caches = [ImageCache(settings.cached_images) for _ in range(settings.api_servers)]
        text = (CAPTION * (settings.tokens // 12 + 1)).strip()
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": settings.tokens,
            "total_tokens": PROMPT_TOKENS + settings.tokens,
        }
        whole = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._whole = self._answer("chat.completion", [whole], usage)
        pieces = [
            self._answer("chat.completion.chunk", [{"delta": {"role": "assistant", "content": text}}], None),
            self._answer("chat.completion.chunk", [{"delta": {}, "finish_reason": "stop"}], None),
            self._answer("chat.completion.chunk", [], usage),
            b"[DONE]",
        ]
        self._streamed = b"".join(b"data: %s\n\n" % piece for piece in pieces)

    def _answer(self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        answer = {
            "id": "chatcmpl-simulator",
            "object": kind,
            "created": int(time.time()),
            "model": self.settings.model,
            "choices": [{"index": 0, "finish_reason": None, "logprobs": None, **choice} for choice in choices],
            "usage": usage,
        }
        return json.dumps(answer).encode()

    def submit(self, connection: "Connection") -> None:
        self.counters.first_request(self.worker)
        if not self.settings.preprocess_s:
            self._enter(connection)
            return
        ends = max(self._loop.time(), self._free_at[connection.api_server]) + self._preprocess_s(connection)
        self._free_at[connection.api_server] = ends
        self._loop.call_at(ends, self._enter, connection)

    def _preprocess_s(self, connection: "Connection") -> float:
        """What a request's images take; the image cache is filled in the order in which requests arrive."""
        if not self.settings.cached_images:
            return self.settings.preprocess_s
        cache = self._caches[connection.api_server]
        hits = [cache.use(image) for image in images_of(connection.body)]
        self.counters.add(self.worker, Counters.IMAGE_QUERIES, len(hits))
        self.counters.add(self.worker, Counters.IMAGE_HITS, sum(hits))
        return sum(self.settings.cached_s if hit else self.settings.preprocess_s for hit in hits)

    def _enter(self, connection: "Connection") -> None:
        if self.settings.slots and self._running >= self.settings.slots:
            self._waiting.append(connection)
            self.counters.add(self.worker, Counters.WAITING, 1)
        else:
            self._start(connection)

    def _start(self, connection: "Connection") -> None:
        self._running += 1
        self.counters.add(self.worker, Counters.RUNNING, 1)
        if seconds := self.settings.seconds_per_request:
            self._loop.call_later(seconds, self._finish, connection)
        else:
            self._finish(connection)

    def _finish(self, connection: "Connection") -> None:
        self._running -= 1
        for what, amount in (
            (Counters.RUNNING, -1),
            (Counters.REQUESTS, 1),
            (Counters.TOKENS, self.settings.tokens),
        ):
            self.counters.add(self.worker, what, amount)
        if connection.wants_stream:
            connection.reply(200, self._streamed, b"text/event-stream")
        else:
            connection.reply(200, self._whole)
        if self._waiting:
            self.counters.add(self.worker, Counters.WAITING, -1)
            self._start(self._waiting.popleft())


class Connection(asyncio.BufferedProtocol):
    """One client connection; all connections of a process read into one buffer, since bodies are not kept."""

    _buffer = bytearray(BUFFER_BYTES)

    def __init__(self, engine: Engine):
        self._engine = engine
        self._view = memoryview(self._buffer)
        self._head = b""
        self._tail = b""
        self._left: int | None = None
        #: The request's body so far; empty without an image cache.
        self.body = bytearray()
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the same methods and is no subclass
        connections = self._engine.connections
        self.api_server = connections.index(min(connections))
        connections[self.api_server] += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._engine.connections[self.api_server] -= 1

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        data = self._view[:nbytes]
        if self._left is None:
            head, end, rest = (self._head + bytes(data)).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                if len(head) > MAX_HEAD_BYTES:
                    self._transport.abort()
                return
            length = _LENGTH.search(head)
            self._head, self._tail, self._left = head, b"", int(length[1]) if length else 0
            data = memoryview(rest)
            self.body.clear()
        self._left -= len(data)
        if self._engine.settings.cached_images:
            self.body += data
        self._tail = bytes(data[-TAIL_BYTES:]) if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]
        if self._left <= 0:
            self._left, head, self._head = None, self._head, b""
            self._serve(head)

    @property
    def wants_stream(self) -> bool:
        return _STREAM.search(self._tail) is not None

    def _serve(self, head: bytes) -> None:
        engine, settings = self._engine, self._engine.settings
        self._last = _CLOSE.search(head) is not None
        method, path = head.split(b" ", 2)[:2]
        route = (method.decode("latin-1"), path.decode("latin-1").partition("?")[0])
        if route[1].startswith("/v1/") and settings.key is not None and not self._has_key(head):
            self.reply(401, b'{"error":"Unauthorized"}')
        elif route == ("POST", COMPLETIONS):
            engine.submit(self)
        elif route == ("GET", "/health"):
            self.reply(200, b"")
        elif route == ("GET", "/version"):
            self.reply(200, b'{"version":"simulator"}')
        elif route == ("GET", "/v1/models"):
            models = [{"id": settings.model, "object": "model", "max_model_len": 8192}]
            self.reply(200, json.dumps({"object": "list", "data": models}).encode())
        elif route == ("GET", "/metrics"):
            self.reply(200, engine.counters.text(settings.model).encode(), b"text/plain; version=0.0.4")
        else:
            self.reply(404, b'{"error":{"message":"Not Found"}}')

    def _has_key(self, head: bytes) -> bool:
        key = _KEY.search(head)
        return key is not None and key[1].decode("latin-1") == self._engine.settings.key

    def reply(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %d Simulated\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (status, kind, len(body), body)
            )
            if self._last:
                self._transport.close()


async def serve(settings: Settings, listener: socket.socket, counters: Counters, worker: int = 0) -> asyncio.Server:
    """Serve a listening socket until the returned server is closed."""
    engine = Engine(settings, counters, worker)
    return await asyncio.get_running_loop().create_server(lambda: Connection(engine), sock=listener, backlog=BACKLOG)


async def _serve_for_ever(settings: Settings, listener: socket.socket, counters: Counters, worker: int) -> None:
    await (await serve(settings, listener, counters, worker)).serve_forever()


def main(argv: Sequence[str] | None = None) -> None:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one and prints it")
    parser.add_argument("--workers", type=int, default=1, help="processes; more than one only without slots")
    parser.add_argument("--slots", type=int, default=Settings.slots, help="requests that run at once; 0: all")
    parser.add_argument("--latency-s", type=float, default=Settings.latency_s, help="seconds for each request")
    parser.add_argument("--tokens-per-s", type=float, default=Settings.tokens_per_s, help="of each request; 0: no time")
    parser.add_argument("--tokens", type=int, default=Settings.tokens, help="tokens of each answer")
    parser.add_argument("--api-servers", type=int, default=Settings.api_servers, help="each preprocesses one at a time")
    parser.add_argument("--preprocess-s", type=float, default=Settings.preprocess_s, help="an API server's, a request")
    parser.add_argument("--cached-images", type=int, default=Settings.cached_images, help="that an API server keeps")
    parser.add_argument("--cached-s", type=float, default=Settings.cached_s, help="an API server's, for one of these")
    parser.add_argument("--model", default=Settings.model)
    parser.add_argument("--key", help="the API key that requests must have")
    options = vars(parser.parse_args(argv))
    port, workers = options.pop("port"), options.pop("workers")
    settings = Settings(**options)
    if workers > 1 and (settings.slots or settings.preprocess_s):
        parser.error("--slots and --preprocess-s need --workers 1: each process has its own")
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    counters = Counters(workers)
    worker = next((number for number in range(1, workers) if not os.fork()), 0)
    if worker:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # the other workers end with the first one
    uvloop.run(_serve_for_ever(settings, listener, counters, worker))


if __name__ == "__main__":
    main()
