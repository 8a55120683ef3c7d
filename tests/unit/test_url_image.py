"""Images at http(s) addresses: fetched by the client within limits, never from this machine or a private network."""

import dataclasses
import ipaddress
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from blake3 import blake3
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.item_file import DIGEST_BYTES
from captionqa.client.journal import read_lines
from captionqa.config.layout import Layout
from captionqa.dataset.plan import check_plans
from captionqa.dataset.planning import plan_task
from captionqa.dataset.url_image import MAX_REDIRECTS, UrlImages
from captionqa.errors import InputError, ItemFailure, Reason
from PIL import Image

ALL = UrlImages(refused=())


class Pictures:
    def __init__(self):
        self.files = {}
        self.redirects = {}
        self.asked = []
        self.hosts = set()
        self.trickled_to_end = False


@pytest.fixture
def pictures():
    """A server of pictures on this machine, with faults; `url` is its address."""
    served = Pictures()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            served.asked.append(self.path)
            served.hosts.add(self.headers["Host"])
            if path == "/trickle.png":
                self.send_response(200)
                self.end_headers()
                for _ in range(500):
                    self.wfile.write(b"x")
                    time.sleep(0.02)
                served.trickled_to_end = True
                return
            status = 302 if path in served.redirects else 200 if path in served.files else 404
            status = 503 if path == "/busy.png" else status
            data = served.files.get(path, b"<html>")
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) * (2 if path == "/cut.png" else 1)))
            if status == 302:
                self.send_header("Location", served.redirects[path])
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    served.port = server.server_port
    served.url = f"http://127.0.0.1:{served.port}"
    yield served
    server.shutdown()
    server.server_close()


def failure(url, urls=ALL):
    with pytest.raises(ItemFailure) as caught:
        urls.fetch(url)
    return caught.value.reason, caught.value.detail


def test_an_image_is_fetched_also_behind_redirects(pictures):
    pictures.files["/bilder/ä b.png"] = pictures.files["/bilder/%C3%A4%20b.png"] = b"picture"
    pictures.redirects["/old.png"] = "/bilder/%C3%A4%20b.png"
    assert ALL.fetch(f"{pictures.url}/bilder/ä b.png?size=1") == b"picture"
    assert ALL.fetch(f"{pictures.url}/old.png") == b"picture"
    assert pictures.asked == ["/bilder/%C3%A4%20b.png?size=1", "/old.png", "/bilder/%C3%A4%20b.png"]


@pytest.mark.parametrize(
    ("path", "reason", "says"),
    [
        ("/gone.png", Reason.MISSING_IMAGE, "the server answers 404"),
        ("/busy.png", Reason.UNREADABLE_IMAGE, "the server answers 503"),
        ("/empty.png", Reason.UNREADABLE_IMAGE, "the server answers with nothing"),
        ("/cut.png", Reason.UNREADABLE_IMAGE, "IncompleteRead"),
        ("/loop.png", Reason.UNREADABLE_IMAGE, f"more than {MAX_REDIRECTS} redirects"),
        ("/file.png", Reason.UNREADABLE_IMAGE, "it leads to 'ftp://127.0.0.1/a.png', which is no http(s) address"),
    ],
)
def test_a_failure_has_a_name_and_the_status(pictures, path, reason, says):
    pictures.files |= {"/empty.png": b"", "/cut.png": b"half"}
    pictures.redirects |= {"/loop.png": "/loop.png", "/file.png": "ftp://127.0.0.1/a.png"}
    found, detail = failure(pictures.url + path)
    assert (found, says in detail) == (reason, True), detail


def test_size_and_time_are_limited(pictures):
    pictures.files["/big.png"] = bytes(1000)
    assert "it has more than 999 bytes" in failure(f"{pictures.url}/big.png", UrlImages((), max_bytes=999))[1]
    assert UrlImages((), max_bytes=1000).fetch(f"{pictures.url}/big.png") == bytes(1000)
    assert "it takes more than 0.5 s" in failure(f"{pictures.url}/trickle.png", UrlImages((), total_s=0.5))[1]
    assert not pictures.trickled_to_end


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0", "10.0.0.1",
        "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_any_notation(pictures, host):
    reason, detail = failure(f"http://{host}:{pictures.port}/a.png", UrlImages())
    assert (reason, "private or reserved address" in detail) == (Reason.UNREADABLE_IMAGE, True), detail
    assert pictures.asked == []


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]"])
def test_public_addresses_are_not(address):
    assert UrlImages().checked_address(address.strip("[]"), 80)


def test_a_redirect_to_a_private_address_is_refused(pictures):
    pictures.redirects["/a.png"] = "http://10.0.0.1/secret.png"
    only_ten = UrlImages(refused=[ipaddress.ip_network("10.0.0.0/8")])
    assert "'10.0.0.1' is the private or reserved address" in failure(f"{pictures.url}/a.png", only_ten)[1]


def test_a_name_is_resolved_once_and_the_checked_address_is_asked(pictures, monkeypatch):
    pictures.files["/a.png"] = b"picture"
    answers = ["127.0.0.1", "10.0.0.1"]
    real = socket.getaddrinfo

    def name_server(host, *arguments, **options):
        return real(answers.pop(0) if host == "pictures.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    assert ALL.fetch(f"http://pictures.example:{pictures.port}/a.png") == b"picture"
    assert answers == ["10.0.0.1"]
    assert pictures.hosts == {f"pictures.example:{pictures.port}"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:secret@example.org/a.png", "a user or a password is not fetched"),
        ("http://", "it is no address"),
        ("https://exa mple.org:x/a.png", "it is no address"),
        ("http://two..dots/a.png", "the name 'two..dots' cannot be resolved"),
    ],
)
def test_what_is_no_address_of_an_image_is_named(url, says, monkeypatch):
    assert says in failure(url, UrlImages())[1]


@pytest.fixture
def questions(tmp_path, pictures, images):
    rows = [
        {"qid": name, "question": "What?", "answer": "x", "image": f"{pictures.url}/{name}.png#part"}
        for name in ("a", "b", "gone")
    ]
    path = tmp_path / "urls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"question_path": str(path), "dataset_path": str(images.path), "allow_urls": True}


def test_questions_about_addresses_are_asked_and_fetched_once(
    pictures, questions, encode, make_config, jobs, server, keeper
):
    pictures.files |= {"/a.png": encode(Image.new("RGB", (40, 40))), "/b.png": encode(Image.new("RGB", (40, 30)))}
    (job,) = jobs("qa", changes={"qa": questions})
    job = dataclasses.replace(job, urls=ALL)
    ChunkRun(job).run()
    lines = {line["id"]: line for line in read_chunk(job.result)[1]}
    assert {name: line.get("failure") for name, line in lines.items()} == {
        "a": None,
        "b": None,
        "gone": "missing_image",
    }
    assert lines["gone"]["detail"] == f"'{pictures.url}/gone.png': the server answers 404"
    assert sorted(pictures.asked) == ["/a.png", "/b.png", "/gone.png"]
    url = f"{pictures.url}/a.png"
    digest = blake3(pictures.files["/a.png"]).hexdigest(DIGEST_BYTES)
    known = [line for segment in job.journal.glob("*.jsonl") for line in read_lines(segment) if "answer" in line]
    assert [url, [len(url), 0], digest] in [list(line["files"][0]) for line in known]
    pictures.asked.clear()
    job.result.unlink()
    ChunkRun(job).run()
    assert pictures.asked == ["/gone.png"]


def test_without_the_key_no_run_begins(tmp_path, questions, make_config):
    layout = Layout(str(tmp_path / "output"), "tiny")
    config = make_config({"captions": None, "qa": {**questions, "allow_urls": False}})
    plan_task(config, layout, "qa")
    with pytest.raises(
        InputError, match=r"addresses are not fetched: .*, or set qa\.allow_urls: true for those of http"
    ):
        check_plans(config, layout)
    allowed = make_config({"captions": None, "qa": questions})
    plan_task(allowed, layout, "qa")
    check_plans(allowed, layout)
