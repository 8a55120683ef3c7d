"""ASGI middleware inside vLLM: without the run's key nothing answers but the health check.

vLLM's own key guards only some prefixes (/v1 and a few others); routes such as /invocations generate without it. And
the guard proves to the supervisor that the server on a port is its own, before that sends the key there. Runs in the
server's environment, so it needs the standard library alone.
"""

import hmac
import os
import secrets

OPEN_PATHS = frozenset({"/health", "/ping"})
#: GET /captionqa/proof?CHALLENGE answers with `proof(key, CHALLENGE)`.
PROOF_PATH = "/captionqa/proof"
KEY_VARIABLE = "VLLM_API_KEY"


def proof(key: str, challenge: str) -> str:
    """What only a holder of the key can say to a challenge, and what does not tell the key."""
    return hmac.new(key.encode(), challenge.encode(), "sha256").hexdigest()


class KeyGuard:
    """Answers 401 to any HTTP request without `Authorization: Bearer <key>`, and closes any such websocket."""

    def __init__(self, app):
        self._app = app
        self._key = os.environ[KEY_VARIABLE]
        self._wanted = f"Bearer {self._key}".encode()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == PROOF_PATH and scope["method"] == "GET":
            challenge = scope["query_string"].decode("latin-1")
            await _respond(send, 200, b"text/plain", proof(self._key, challenge).encode())
        elif scope["type"] not in ("http", "websocket") or self._allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _respond(send, 401, b"application/json", b'{"error": "Unauthorized"}')

    def _allowed(self, scope) -> bool:
        if scope["path"] in OPEN_PATHS and scope.get("method") == "GET":
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._wanted)


async def _respond(send, status, kind, body):
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
