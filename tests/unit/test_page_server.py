"""`captionqa view`: who gets the page that it serves, and that it has all items and nothing else."""

import json
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import pandas as pd
import pytest
from browser import Tab, find_browser
from captionqa.driver.phases import PHASES
from captionqa.page import sample
from captionqa.page.live_page import LivePage
from captionqa.page.page_server import ADDRESS, PageServer
from finished_run import finish_run
from shard_files import write_tar


@pytest.fixture
def config(make_config, images):
    images.add("a.png", "sub/b.png")
    config = make_config()
    rows = {"qid": [f"q{n:02}" for n in range(20)], "question": ["Which?\nA. red\nB. blue"] * 20}
    rows |= {"answer": ["\\boxed{A}"] * 20, "image": [["a.png"]] * 20}
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    return config


@contextmanager
def served(config, folder):
    layout = finish_run(config, lambda work, entry: f"The answer is {'AB'[len(work) % 2]}, says {entry['id']}")
    folder.mkdir()
    with PageServer(LivePage(config, layout, folder, PHASES)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(config, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 4)  # a page on the disk would have a sample
    monkeypatch.setattr(sample, "LIMITS", {"failed": 1, "wrong": 1, "other": 1})
    with served(config, tmp_path / "view") as server:
        yield server


def get(server, path, **headers):
    connection = HTTPConnection(*server.server_address)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def value_of(data):
    return json.loads(json.loads(data.decode().partition(",")[2].rpartition(")")[0]))


def test_it_listens_on_loopback_alone_and_shows_all_items(server):
    assert server.server_address[0] == ADDRESS == "127.0.0.1"
    status, data, _ = get(server, f"/{server.token}/data/overview.js")
    overview = value_of(data)
    assert status == 200
    assert len(overview["questions"]["qids"]) == 20
    assert overview["captions"]["names"] == ["a.png", "sub/b.png"]
    cards = value_of(get(server, f"/{server.token}/data/captions-0.js")[1])
    assert cards[1]["captions"] == [{"text": "The answer is A, says sub/b.png", "truncated": False}]
    image = cards[1]["images"][0]
    status, data, headers = get(server, f"/{server.token}/{image['thumbnail']}")
    assert (status, headers["Content-Type"], data[:2]) == (200, "image/jpeg", b"\xff\xd8")
    status, data, headers = get(server, f"/{server.token}/{image['original']}")
    assert (status, headers["Content-Type"], data[1:4]) == (200, "image/png", b"PNG")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/index.html", "/x/index.html", "//data/overview.js", "/%2e/data/run.js"])
def test_without_its_token_it_gives_nothing(server, path):
    status, data, _ = get(server, path)
    assert (status, b"lacks its token" in data) == (403, True)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost.example.org:{port}", "127.0.0.1:1", ""])
def test_another_host_than_this_machine_is_refused(server, host):
    path = f"/{server.token}/index.html"
    port = server.server_address[1]
    assert get(server, path, Host=host.format(port=port))[0] == 403
    assert get(server, path, Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "data/../index.html",
        "data/nothing-0.js",
        "data/questions-1.js",
        "data/questions-99999999999.js",
        "images/999",
        "images/-1",
        "thumbs/999.jpg",
        "/etc/passwd",
        "images//etc/passwd",
    ],
)
def test_a_path_that_is_not_of_the_page_leads_nowhere(server, path):
    status, data, _ = get(server, f"/{server.token}/{path}")
    assert (status, data) == (404, b"there is no such file\n")


def test_nothing_can_be_sent_to_it(server):
    connection = HTTPConnection(*server.server_address)
    connection.request("POST", f"/{server.token}/index.html", body="x")
    assert connection.getresponse().status == 501


def test_images_in_a_tar_are_shown(make_config, encode, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    write_tar(tmp_path / "images" / "one.tar", {"x.png": encode(Image.new("RGB", (9, 9), "red"))})
    config = make_config({"qa": None})
    with served(config, tmp_path / "view") as server:
        card = value_of(get(server, f"/{server.token}/data/captions-0.js")[1])[0]
        assert card["images"][0]["name"] == "one.tar, x.png"
        assert get(server, f"/{server.token}/{card['images'][0]['thumbnail']}")[0] == 200


@pytest.mark.slow
def test_a_browser_shows_what_is_served_and_asks_nobody_else(server, tmp_path):
    find_browser()
    with Tab(tmp_path / "browser") as tab:
        tab.open(server.url)
        tab.wait("document.querySelectorAll('article').length === 20")
        tab.wait("document.querySelector('article img').naturalWidth === 8")
        tab.run("page.setFilter({text: 'says q07'})")
        tab.wait("document.querySelectorAll('article').length === 1")
        assert tab.console == []
        assert [url for url in tab.requested if not url.startswith((server.url, "data:"))] == []
