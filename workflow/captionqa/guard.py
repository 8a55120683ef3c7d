"""ASGI middleware inside vLLM: without the run's key nothing answers but the health check.

vLLM's own key guards only some prefixes (/v1 and a few others); routes such as /invocations generate without it. Runs
in the server's environment, so it needs the standard library alone.
"""

import os
import secrets

OPEN_PATHS = frozenset({"/health", "/ping"})
KEY_VARIABLE = "VLLM_API_KEY"


class KeyGuard:
    """Answers 401 to any HTTP request without `Authorization: Bearer <key>`, and closes any such websocket."""

    def __init__(self, app):
        self._app = app
        self._wanted = f"Bearer {os.environ[KEY_VARIABLE]}".encode()

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket") or self._allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = b'{"error": "Unauthorized"}'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _allowed(self, scope) -> bool:
        if scope["path"] in OPEN_PATHS and scope.get("method") == "GET":
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._wanted)
