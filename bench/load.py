"""The bare load generator: sends one prepared request, without any work on images, to show what a server can take.

python -m bench.load --url http://127.0.0.1:PORT --requests 2000 --concurrency 64 --image-kb 200
"""

import argparse
import asyncio
import json
import re
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from bench.meter import measured

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Sender(asyncio.Protocol):
    """One connection that sends the same request again as soon as it has the answer."""

    def __init__(self, request: bytes, left: list[int], ended: asyncio.Future[None]):
        self._request, self._left, self._ended = request, left, ended
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the same methods and is no subclass
        self._send()

    def _send(self) -> None:
        if self._left[0] > 0:
            self._left[0] -= 1
            self._transport.write(self._request)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if end else None
        if length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(f"the server answered {head[:60]!r}")
        self._received = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._received or error:
            self._fail(f"the connection broke: {error}")
        elif not self._ended.done():
            self._ended.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(ConnectionError(reason))
        self._transport.abort()


async def load(url: str, body: bytes, requests: int, concurrency: int) -> None:
    """Send a body `requests` times, `concurrency` at once.

    Raises:
        ConnectionError: a request was not answered with 200.
        ValueError: the URL has no host or no port.
    """
    address = urlsplit(url)
    if address.hostname is None or address.port is None:
        raise ValueError(f"--url {url}: must have a host and a port")
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    loop, left = asyncio.get_running_loop(), [requests]
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(min(requests, concurrency))]
    for end in ends:
        await loop.create_connection(partial(Sender, request, left, end), address.hostname, address.port)
    await asyncio.gather(*ends)


def body_of(size_kb: float) -> bytes:
    """The body of a chat completion with one image of `size_kb` kB (1,000 bytes) in base64."""
    content = [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + "A" * int(size_kb * 4000 / 3)}}]
    return json.dumps({"model": "simulator", "messages": [{"role": "user", "content": content}]}).encode()


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--image-kb", type=float, required=True)
    options = parser.parse_args()
    body = body_of(options.image_kb)
    with measured() as figures:
        uvloop.run(load(options.url, body, options.requests, options.concurrency))
        figures["images"] = options.requests


if __name__ == "__main__":
    main()
