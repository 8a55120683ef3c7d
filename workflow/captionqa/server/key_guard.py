"""ASGI middleware inside vLLM: without the run's key only the health check answers.

vLLM's own key guards only some routes (/v1 and a few others); /invocations, for one, generates without it. The guard
also proves on each connection, before the key is sent there, that the server at its other end holds the key. It is in
each API server, so it also has the heartbeat of each.

This module runs in the server's environment, so it needs the standard library alone.
"""

import hmac
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

# ASGI's types (https://asgi.readthedocs.io/en/latest/specs/main.html); the package asgiref is not in every environment
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ping"})
#: GET /captionqa/proof?CHALLENGE answers with the `proof` for the connection on which it was asked.
PROOF_PATH = "/captionqa/proof"
#: A header by which uvicorn replaces the client's address with one that a proxy on this machine claims.
FORWARDED = b"x-forwarded-for"
KEY_VARIABLE = "VLLM_API_KEY"

#: Host and port of one end of a connection; `getsockname` adds two more fields to an IPv6 address.
Address = Sequence[Any]


def proof(key: str, challenge: str, client: Address, server: Address) -> str:
    """The answer to a challenge that only a holder of the key can give and that does not reveal the key.

    It holds for one connection, that between these two addresses. Who relays a challenge has another connection to the
    server than to the client, so the server's answer does not fit the client's.
    """
    text = "\n".join(["captionqa proof", challenge, _address_text(client), _address_text(server)])
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def _address_text(address: Address) -> str:
    """The same text for an address however one end of the connection writes it."""
    host = ipaddress.ip_address(str(address[0]).partition("%")[0])
    return f"{getattr(host, 'ipv4_mapped', None) or host} {address[1]}"


class KeyGuard:
    """Answers 401 to each HTTP request without `Authorization: Bearer <key>`, and closes each such websocket."""

    def __init__(self, app: Application):
        self._app = app
        self._key = os.environ[KEY_VARIABLE]
        self._wanted = f"Bearer {self._key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif _asks_for_proof(scope):
            challenge = scope["query_string"].decode("latin-1")
            answer = proof(self._key, challenge, scope["client"], scope["server"])
            await _respond(send, 200, b"text/plain", answer.encode())
        elif scope["type"] not in ("http", "websocket") or self._allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _respond(send, 401, b"application/json", b'{"error": "Unauthorized"}')

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application for its whole life, from its start to its end, with a heartbeat beside it."""
        import asyncio  # here, since clients import this module for the proof alone

        from captionqa.server import heartbeat

        beating = asyncio.create_task(heartbeat.beat())
        try:
            await self._app(scope, receive, send)
        finally:
            beating.cancel()

    def _allowed(self, scope: Scope) -> bool:
        if scope["path"] in OPEN_PATHS and scope.get("method") == "GET":
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._wanted)


def _asks_for_proof(scope: Scope) -> bool:
    """Whether a request asks for the proof on its own connection; a proxy's answer would be for another one."""
    return (
        scope["type"] == "http"
        and (scope["path"], scope["method"]) == (PROOF_PATH, "GET")
        and all(name.lower() != FORWARDED for name, _ in scope["headers"])
        and bool(scope.get("client") and scope.get("server"))
    )


async def _respond(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
