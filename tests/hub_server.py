"""A hub of data sets on this machine: the addresses that huggingface_hub asks for a list of files and for a file."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = re.compile(
    r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^?]+))?(?:\?.*)?"
    r"|/datasets/(?P<file_repo>[^/]+/[^/]+)/resolve/(?P<commit>[0-9a-f]{40})/(?P<path>.+)"
)


class Hub:
    """`repositories`, {name: {revision: {path: content}}}, may change while it serves; `asked` keeps the addresses."""

    def __init__(self):
        self.repositories = {}
        self.token = None
        self.asked = []
        self.url = ""

    def commit(self, repo, revision):
        """The commit of a revision, made of its content; a commit stands for itself."""
        files = self.repositories[repo].get(revision)
        if files is None:
            return revision if any(self.commit(repo, name) == revision for name in self.repositories[repo]) else None
        return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()

    def files(self, repo, commit):
        return next(files for name, files in self.repositories[repo].items() if self.commit(repo, name) == commit)


@contextmanager
def serve_hub():
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        do_GET = do_HEAD

        def answer(self):
            hub.asked.append(self.path)
            found = ADDRESS.fullmatch(self.path)
            repo = found and (found["repo"] or found["file_repo"])
            if repo not in hub.repositories:
                return self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.send(b"", 401, {"X-Error-Code": "GatedRepo"})
            commit = found["commit"] or hub.commit(repo, (found["revision"] or "main").replace("%2F", "/"))
            if commit is None:
                return self.send(b"", 404, {"X-Error-Code": "RevisionNotFound"})
            files = hub.files(repo, commit)
            if found["path"]:
                data = files[found["path"]]
                etag = hashlib.sha1(data).hexdigest()
                return self.send(data, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})
            if found["what"] == "tree":
                listed = [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in files.items()
                ]
                return self.send(json.dumps(listed).encode())
            siblings = [{"rfilename": path} for path in files]
            return self.send(json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode())

        def send(self, data, status=200, headers=None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
