"""ASGI middleware inside vLLM: without the run's key only the health check answers.

vLLM's own key guards only some routes (/v1 and a few others); /invocations, for one, generates without it. The guard
also proves to the supervisor that the server on a port is its own, before the supervisor sends the key there.

This module runs in the server's environment, so it needs the standard library alone.
"""

import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# ASGI's types (https://asgi.readthedocs.io/en/latest/specs/main.html); the package asgiref is not in every environment
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ping"})
#: GET /captionqa/proof?CHALLENGE answers with `proof(key, CHALLENGE)`.
PROOF_PATH = "/captionqa/proof"
KEY_VARIABLE = "VLLM_API_KEY"


def proof(key: str, challenge: str) -> str:
    """The answer to a challenge that only a holder of the key can give and that does not reveal the key."""
    return hmac.new(key.encode(), challenge.encode(), "sha256").hexdigest()


class KeyGuard:
    """Answers 401 to each HTTP request without `Authorization: Bearer <key>`, and closes each such websocket."""

    def __init__(self, app: Application):
        self._app = app
        self._key = os.environ[KEY_VARIABLE]
        self._wanted = f"Bearer {self._key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PROOF_PATH and scope["method"] == "GET":
            challenge = scope["query_string"].decode("latin-1")
            await _respond(send, 200, b"text/plain", proof(self._key, challenge).encode())
        elif scope["type"] not in ("http", "websocket") or self._allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _respond(send, 401, b"application/json", b'{"error": "Unauthorized"}')

    def _allowed(self, scope: Scope) -> bool:
        if scope["path"] in OPEN_PATHS and scope.get("method") == "GET":
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._wanted)


async def _respond(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
