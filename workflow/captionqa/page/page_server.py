"""`captionqa view`: a page served to browsers on this machine.

The address holds a token, as those of notebooks do: whoever does not know it gets nothing, nor does a page of another
site, which cannot know it. A request has to name this machine as its host, so that no foreign name can be pointed here.
No part of an address is a path of the file system.
"""

import hmac
import secrets
import tempfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from captionqa.page.live_page import Reply
from captionqa.page.results_page import HTML

ADDRESS = "127.0.0.1"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Page(Protocol):
    """What can be served."""

    def reply(self, path: str) -> Reply | None:
        """The file at a path; None where there is none."""


class PageServer(ThreadingHTTPServer):
    """Serves a page to whoever knows its token, on the loopback address alone."""

    daemon_threads = True

    def __init__(self, page: Page, port: int = 0):
        """`port` 0 is any free one.

        Raises:
            OSError: the port is taken.
        """
        self.page = page
        self.token = secrets.token_urlsafe(24)
        super().__init__((ADDRESS, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return self._refuse(403, "this address is not that of `captionqa view`; use the one that it printed")
        _, token, path = [*self.path.partition("?")[0].split("/", 2), "", ""][:3]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return self._refuse(403, "the address lacks its token; use the one that `captionqa view` printed")
        reply = self.server.page.reply(path or HTML)
        if reply is None:
            return self._refuse(404, "there is no such file")
        self._send(200, reply)

    def _refuse(self, status: int, why: str) -> None:
        self._send(status, Reply("text/plain; charset=utf-8", f"{why}\n".encode()))

    def _send(self, status: int, reply: Reply) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": reply.type, "Content-Length": str(len(reply.data))}.items():
            self.send_header(name, value)
        if reply.type == "application/octet-stream":
            self.send_header("Content-Disposition", "attachment")
        self.end_headers()
        self.wfile.write(reply.data)

    def log_message(self, format: str, *values: object) -> None:
        """Print nothing: addresses hold the token."""


def serve(make: Callable[[Path], Page], port: int, say: Callable[[PageServer], None]) -> None:
    """Serve a page until Ctrl-C; `make` makes it with a folder for temporary files.

    `say` is called once the page can be asked for.

    Raises:
        ResultError: as for `make`.
        OSError: the port is taken.
    """
    with (
        tempfile.TemporaryDirectory(prefix="captionqa-view-") as folder,
        PageServer(make(Path(folder)), port) as server,
    ):
        say(server)
        server.serve_forever()
