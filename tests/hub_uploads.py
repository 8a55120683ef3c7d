"""A hub of data sets on this machine that files are pushed to: the requests that huggingface_hub sends for it."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = re.compile(r"/api/datasets/(?P<repo>[^/?]+/[^/?]+)(?:/(?P<what>preupload|commit)/main)?(?:\?.*)?")
USER = "me"


class Uploads:
    """`files` is {path: content} of each repository, `private` whether each is so, `commits` the messages.

    `refuse` is {a part of an address: (HTTP status, headers)}; files with a suffix of `large` go through LFS.
    """

    def __init__(self):
        self.token = "hf_secret"
        self.files, self.private, self.commits = {}, {}, []
        self.refuse, self.large = {}, (".parquet",)
        self.stored, self.asked, self.tokens = {}, [], set()
        self.url = ""


@contextmanager
def serve_uploads():
    hub = Uploads()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hub.asked.append(f"{self.command} {self.path}")
            if self.path.startswith(("/api/repos/", "/api/datasets/")):
                hub.tokens.add(self.headers.get("Authorization"))
            refused = next((answer for part, answer in hub.refuse.items() if part in self.path), None)
            if refused:
                return self.send({"error": "no,\nnot now"}, *refused)
            if self.command == "PUT":  # a large file, at an address that needs no token
                hub.stored[self.path.rpartition("/")[2]] = body
                return self.send({})
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.send({"error": "Invalid username or password."}, 401, {})
            if self.path == "/api/repos/create":
                return self.create(json.loads(body))
            if self.path == "/api/validate-yaml":
                return self.send({"warnings": [], "errors": []})
            if self.path.endswith(".git/info/lfs/objects/batch"):
                return self.store(json.loads(body))
            found = ADDRESS.fullmatch(self.path)
            if found is None or found["repo"] not in hub.files:
                return self.send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            repo = found["repo"]
            if found["what"] == "preupload":
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(hub.large) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                return self.send({"files": files})
            if found["what"] == "commit":
                return self.commit(repo, [json.loads(line) for line in body.splitlines()])
            return self.send({"id": repo, "sha": "0" * 40, "private": hub.private[repo], "siblings": []})

        do_POST = do_PUT = do_GET

        def create(self, asked):
            repo = f"{asked['organization'] or USER}/{asked['name']}"
            assert asked["type"] == "dataset"
            found = {"url": f"{hub.url}/datasets/{repo}"}
            if repo in hub.files:
                return self.send(found, 409, {})
            hub.files[repo], hub.private[repo] = {}, asked.get("visibility") == "private"
            return self.send(found)

        def store(self, asked):
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.url}/stored/{each['oid']}"}}}
                for each in asked["objects"]
            ]
            return self.send({"transfer": "basic", "objects": objects})

        def commit(self, repo, lines):
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    hub.commits.append((repo, value["summary"]))
                elif line["key"] == "file":
                    hub.files[repo][value["path"]] = base64.b64decode(value["content"])
                else:
                    data = hub.stored[value["oid"]]
                    assert hashlib.sha256(data).hexdigest() == value["oid"]
                    hub.files[repo][value["path"]] = data
            oid = hashlib.sha1(repr(sorted(hub.files[repo].items())).encode()).hexdigest()
            self.send({"commitUrl": f"{hub.url}/datasets/{repo}/commit/{oid}", "commitOid": oid})

        def send(self, value, status=200, headers=None):
            data = json.dumps(value).encode()
            self.send_response(status)
            sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
            for name, text in sent.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
