"""The whole thing with a real vLLM: right answers, every photograph, and nothing without the key."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pandas as pd
import psutil
import pytest
import requests
import yaml
from captionqa.client.image_part import file_url
from captionqa.config.layout import Layout
from captionqa.config.prompts import STYLES
from captionqa.dataset.image_encoding import EncodedImage
from captionqa.server import endpoint
from captionqa.server.heartbeat import last_beats
from PIL import Image
from projects import DEMO_MODEL, ROOT, files_with
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

pytestmark = pytest.mark.vllm

RECORD_FIELDS = {
    "qid",
    "question",
    "choices",
    "gt_answer",
    "gt_letter",
    "predicted_letter",
    "model_output",
    "is_correct",
    "category",
    "source",
    "image_paths",
    "num_images",
}
METRICS_FIELDS = {
    "model",
    "total_questions",
    "correct_answers",
    "overall_accuracy",
    "category_metrics",
    "question_path",
    "dataset_path",
    "server_url",
}
GENERATING_ROUTES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
    "/v1/completions": {"prompt": "Hello", "max_tokens": 1},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 1},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
    "/invocations": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
    "/inference/v1/generate": {"token_ids": [1], "sampling_params": {"max_tokens": 1}},
    "/tokenize": {"prompt": "Hello"},
}
#: The most tokens in a step of vLLM's CPU build.
DEFAULT_STEP_TOKENS = 2048
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
#: Other ways to write a route that generates, of which some servers and proxies make the route itself or an open one.
SPELLINGS = (
    "//invocations",
    "/INVOCATIONS",
    "/invocations/",
    "/%69nvocations",
    "/invocations%00",
    "/invocations;/health",
    "/invocations?/health",
    "/v1/../invocations",
    "/health/../invocations",
    "/health/%2e%2e/invocations",
    "/health%2f..%2finvocations",
    "/health/..%2finvocations",
    "/health;/../invocations",
    "/ping/../invocations",
    "/captionqa/proof/../../invocations",
    "/./invocations",
    "\\\\invocations",
    "http://127.0.0.1/invocations",
    "http://health/invocations",
    "/v1//chat/completions",
    "/v1/./chat/completions",
    "/V1/chat/completions",
)


ODD_NAMES = (
    *("a b.png", "a#b.jpg", "a?b.png", "a%20b.jpg", "a%b.png", "ü漢.jpg", "a\nb.png", "a\\b.jpg", "[x].png"),
    *("a;b&c=d.jpg", "a@b:c.png", "'\".jpg", "a+b.png"),
)


@pytest.fixture(scope="module")
def truth():
    return pd.read_csv(ROOT / "resources" / "demo" / "truth.csv").set_index("image")


def test_the_demo_captions_every_image_in_three_styles(demo, truth):
    for style in ("simple", "short", "long"):
        captions = demo.captions(style)
        assert list(captions) == sorted(truth.index)
        assert demo.captions(style, "_failures") == {}


def test_the_demo_captions_are_right(demo, truth):
    captions = demo.captions("simple")
    right = [
        all(word in captions[image].split() for word in (row["color"], row["shape"]))
        and f"{row['background']} background" in captions[image]
        for image, row in truth.iterrows()
    ]
    assert sum(right) >= 0.95 * len(right)


def test_the_demo_answers_are_right_and_add_up(demo):
    results, metrics = demo.qa("results"), demo.qa("metrics")
    assert metrics.keys() >= METRICS_FIELDS
    assert all(record.keys() >= RECORD_FIELDS for record in results.values())
    questions = pd.read_parquet(ROOT / "resources" / "demo" / "questions.parquet")
    assert set(results) == set(questions["qid"])
    assert metrics["total_questions"] == len(questions)
    assert metrics["correct_answers"] == sum(record["is_correct"] for record in results.values())
    assert metrics["overall_accuracy"] == metrics["correct_answers"] / metrics["total_questions"]
    assert metrics["overall_accuracy"] >= 0.9
    categories = metrics["category_metrics"]
    assert len(categories) >= 4
    assert sum(counts["total"] for counts in categories.values()) == len(questions)
    assert {record["num_images"] for record in results.values()} == {1, 2}


def test_the_demo_tells_the_versions_that_made_it(demo):
    (server,) = demo.captions("simple", "_provenance")["servers"]
    assert server["versions"]["vllm"][0].isdigit()
    assert server["versions"]["model_revision"].startswith("local-")
    assert "--max-model-len" in server["argv"]


def test_the_demo_shows_its_summary_and_leaves_no_process(demo):
    assert "60 captions SIMPLE" in demo.printed
    assert "accuracy" in demo.printed
    (line,) = (line for line in demo.printed.splitlines() if line.startswith("  where "))
    assert " server start, " in line
    verdict = json.loads((demo.out / "logs" / demo.model / "verdict.json").read_text())
    assert sum(verdict["phases"].values()) == pytest.approx(verdict["seconds"])
    assert verdict["asking"]["without_server_s"] == 0
    assert demo.processes() == []
    assert demo.plan() == {}


def test_every_photograph_comes_through(photographs):
    photographs.run()
    captions, failures = photographs.captions("simple"), photographs.captions("simple", "_failures")
    files = {path.name for path in (photographs.folder / "photographs").iterdir()}
    images = {name for name in files if name.rpartition(".")[2] in ("png", "jpg", "gif", "tif")}
    assert len(images) >= 20
    assert failures == {}
    assert set(captions) == images
    (server,) = photographs.captions("simple", "_provenance")["servers"]
    assert server["versions"]["model_root"] == photographs.config["models"][DEMO_MODEL]["path"]


def test_prompts_with_seeds_that_fill_many_steps_together_end_no_server(live_server, live_folder, demo_config):
    """By default vLLM's CPU build cuts the last prompt of a full step in two, and ends where that one has a seed."""
    url, key = live_server
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": demo_config["models"][DEMO_MODEL]["path"], "max_tokens": 4, "temperature": 1}

    def ask(number):
        messages = [{"role": "user", "content": f"{number}: {'Which shape is it? ' * 60}"}]
        asked = body | {"messages": messages, "seed": number}
        return requests.post(f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=120).json()

    def server():
        (found,) = endpoint.read_all(Layout(str(live_folder), DEMO_MODEL).server)
        return found.generation, found.crashes, found.state

    before = server()
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(ask, range(64)))
    assert server() == before
    assert min(answer["usage"]["prompt_tokens"] for answer in answers) > DEFAULT_STEP_TOKENS / 8
    (ready,) = endpoint.read_all(Layout(str(live_folder), DEMO_MODEL).server)
    assert any(text.startswith("--no-enable-chunked-prefill: ") for text in ready.chosen)


@pytest.fixture
def scripted_pictures():
    """The URL of a picture on a server of the test, and the paths that were asked for there."""
    fetched = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            Image.new("RGB", (32, 32)).save(self.wfile, "PNG")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/a.png", fetched
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask_for(live_server, demo_config):
    """Ask the shared vLLM about the image of a URL, with its key or another: (status, what it says)."""
    url, key = live_server
    model = demo_config["models"][DEMO_MODEL]["path"]

    def ask(image, given=key):
        content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": STYLES["SIMPLE"]}]
        body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 16, "temperature": 0}
        headers = {"Authorization": f"Bearer {given}"}
        answer = requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120)
        return answer.status_code, answer.json()["choices"][0]["message"]["content"] if answer.ok else answer.text

    return ask


def test_a_referred_file_is_seen_as_its_bytes_are_whatever_its_name(ask_for, live_dataset):
    # the demo's own images, since the model need not tell others apart
    names = ("bmp/scene_04.bmp", "bmp/scene_10.bmp")
    square, circle = (Image.open(ROOT / "resources" / "demo" / "images" / name).convert("RGB") for name in names)
    said = set()
    for number, name in enumerate(ODD_NAMES):
        path = live_dataset / name
        kind = "JPEG" if name.endswith(".jpg") else "PNG"
        (circle if number % 2 else square).save(path, kind)
        answer = ask_for(file_url(path).decode())
        assert answer == ask_for(EncodedImage(kind, path.read_bytes(), True).data_url().decode()), name
        assert answer[0] == 200
        said.add(answer)
    assert len(said) >= 2


def test_no_file_outside_of_the_data_set_is_read_and_none_without_the_key(ask_for, live_dataset, tmp_path):
    outside = tmp_path / "outside.png"
    Image.new("RGB", (32, 32)).save(outside)
    (inside := live_dataset / "inside.png").write_bytes(outside.read_bytes())
    (live_dataset / "link.png").symlink_to(outside)
    assert ask_for(file_url(inside).decode())[0] == 200
    assert ask_for(file_url(inside).decode(), "guessed")[0] == 401
    up = "/".join([".."] * len(live_dataset.parts))
    for url in (
        file_url(outside).decode(),
        file_url(live_dataset / "link.png").decode(),
        f"file://{live_dataset}/{up}{outside}",
        f"file://{live_dataset}/{up.replace('.', '%2e').replace('/', '%2f')}{outside}",
        f"FILE://{outside}",
        f"file://localhost{outside}",
        f"file:{outside}",
        "file:///etc/hostname",
        "file:///proc/self/environ",
        str(outside),
    ):
        assert ask_for(url)[0] == 400, url


def test_the_key_is_no_way_to_have_the_server_fetch_an_address(ask_for, scripted_pictures):
    url, fetched = scripted_pictures
    for address in (url, url.replace("http:", "HTTP:"), url.replace("127.0.0.1", "localhost"), "http://none/a.png"):
        assert ask_for(address)[0] == 400, address
    assert fetched == []


def test_a_run_by_reference_captions_every_photograph_and_bytes_have_nothing_to_add(photographs, live_dataset):
    folder, cache = live_dataset / "photographs", photographs.folder / "cache"
    shutil.copytree(photographs.folder / "photographs", folder)
    cache.mkdir()
    (folder / "coffee.png").rename(cache / "blob")
    (folder / "coffee.png").symlink_to(cache / "blob")
    photographs.config["captions"]["dataset_path"] = str(folder)
    photographs.config["client"] = {"image_transport": "file", "images": {"allowed_roots": [str(cache)]}}
    photographs.run()
    assert photographs.captions("simple", "_failures") == {}
    assert len(photographs.captions("simple")) >= 20
    logs = "".join(path.read_text() for path in photographs.out.rglob("*.log"))
    assert "WARNING" not in logs  # such as that the server does not read the files
    photographs.config["client"]["image_transport"] = "bytes"
    assert photographs.plan() == {}


def test_a_part_of_easy_vqa_is_answered_right(photographs):
    easy_vqa = pytest.importorskip("easy_vqa")
    benchmark = yaml.safe_load((ROOT / "config" / "easy_vqa.yaml").read_text())
    del photographs.config["captions"]
    split = Path(easy_vqa.__file__).parent / "data" / "test"
    photographs.config["qa"] = {**benchmark["qa"], "question_path": str(split), "chunks": 1, "limit": 300}
    photographs.run()
    metrics = photographs.qa("metrics")
    assert metrics["answered_questions"] == metrics["total_questions"] >= 250
    assert metrics["overall_accuracy"] >= 0.92
    assert set(metrics["category_metrics"]) >= {"yes", "no", "teal", "triangle"}


def test_captions_answer_what_they_tell_and_nothing_or_gray_no_more_than_the_majority(photographs, demo_config):
    photographs.config["captions"] = {"prompt_styles": ["SHORT", "LONG"], "chunks": 1}
    contexts = {"contexts": ["image", "caption", "none", "gray"], "chunks": 1, "limit": 80}
    photographs.config["qa"] = {**demo_config["qa"], **contexts}
    photographs.run()
    comparison = json.loads((photographs.out / "comparison.json").read_text())
    cells = {cell["context"]: cell for cell in comparison["cells"]}
    assert {cell["graded"] for cell in cells.values()} == {comparison["majority_answer"]["questions"]}
    assert cells["image"]["accuracy"] >= 0.9
    assert cells["caption_long"]["accuracy"] >= 0.9
    short = {name: estimate["accuracy"] for name, estimate in cells["caption_short"]["categories"].items()}
    assert short.pop("background color") < 0.7  # which a short caption does not tell
    assert all(accuracy >= 0.8 for accuracy in short.values())
    low, high = comparison["majority_answer"]["interval_95"]
    assert low <= cells["none"]["accuracy"] <= high
    assert low <= cells["gray"]["accuracy"] <= high

    right = {
        context: {qid: record["is_correct"] for qid, record in photographs.qa(f"{infix}results").items()}
        for context, infix in ((context, "" if context == "image" else f"{context}_") for context in cells)
    }
    fresh = []
    for difference in comparison["differences"]:
        a, b = right[difference["a"]], right[difference["b"]]
        only_a, only_b = sum(a[qid] > b[qid] for qid in a), sum(b[qid] > a[qid] for qid in a)
        fresh.append(binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)
    assert len(fresh) == 7
    assert [difference["p"] for difference in comparison["differences"]] == pytest.approx(fresh)
    corrected = multipletests(fresh, method="holm")[1]
    assert [difference["p_holm"] for difference in comparison["differences"]] == pytest.approx(list(corrected))


def test_a_fallback_gets_a_letter_for_every_answer_that_has_none(photographs, demo_config):
    questions = pd.read_parquet(demo_config["qa"]["question_path"])
    # these the demo model answers with a boxed colour, which one token only begins
    questions[questions["category"].isin(["shape color", "background color"])].head(12).to_parquet(
        photographs.folder / "questions.parquet"
    )
    del photographs.config["captions"]
    photographs.config["qa"] = {
        "question_path": "questions.parquet",
        "dataset_path": demo_config["qa"]["dataset_path"],
        "max_tokens": 1,
        "fallback": True,
        "chunks": 1,
    }
    photographs.run()
    unparsed = [record for record in photographs.qa("results").values() if not record["is_parsed"]]
    assert len(unparsed) >= 6
    for record in unparsed:
        assert record["fallback_letter"] in "ABCDEFGHIJ"[: len(record["choices"])]
    assert photographs.qa("metrics")["fallback"]["answered"] == len(unparsed)


def test_ground_truths_in_the_forms_of_data_sets_are_graded_as_the_demos_own_or_refused(photographs, demo_config):
    questions = pd.read_parquet(demo_config["qa"]["question_path"])
    asked = questions[questions["category"] == "shape"].head(12).reset_index(drop=True)
    letters = dict(zip(asked["qid"], asked["answer"].str.extract(r"\{(.)\}")[0], strict=True))
    texts = [dict(zip("ABC", re.findall(r"\n[A-C]\. (.*)", question), strict=True)) for question in asked["question"]]
    forms = [
        "{letter}",
        "({letter})",
        "{text}",
        "['{letter}']",
        "{letter}|{text}",
        "?",
        r"\boxed{{A}} or \boxed{{B}}",
        "1",
    ]
    asked["answer"] = [
        forms[number % len(forms)].format(letter=letter, text=texts[number][letter])
        for number, letter in enumerate(letters.values())
    ]
    asked.to_parquet(photographs.folder / "questions.parquet")
    del photographs.config["captions"]
    photographs.config["qa"] = {
        "question_path": "questions.parquet",
        "dataset_path": demo_config["qa"]["dataset_path"],
        "chunks": 1,
    }
    photographs.config["client"] = {"max_failed_fraction": 1}
    audit = photographs.captionqa("audit")
    assert "2 ungradable_ground_truth" in audit
    assert "1 without a ground truth: asked and not graded" in audit
    photographs.run()
    results, failures = photographs.qa("results"), photographs.qa("failures")
    assert len(results) == 10
    graded = {qid: record for qid, record in results.items() if record["is_correct"] is not None}
    assert len(graded) == 9
    for qid, record in graded.items():
        assert record["gt_letter"] == letters[qid]
        assert record["is_correct"] is (record["predicted_letter"] == letters[qid])
    assert sum(record["is_correct"] for record in graded.values()) >= 7
    assert {failure["reason"] for failure in failures.values()} == {"ungradable_ground_truth"}


def status(url, method, target, headers=(), body=b"{}"):
    """The status that a raw request gets; the target is sent as it is, which other clients tidy up."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(method, target)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **dict(headers),
        }.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def routes(live_server):
    """Every path that the server says it has, and every one that its source names, in use or not."""
    url, key = live_server
    schema = requests.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=60).json()
    (vllm,) = (ROOT / ".venv-vllm").glob("lib/python*/site-packages/vllm")
    decorated = re.compile(r"@(?:router|app|\w*_router)\.(?:\w+)\(\s*\"(/[^\"]*)\"")
    named = {path for file in vllm.glob("entrypoints/**/*.py") for path in decorated.findall(file.read_text())}
    hidden = {"/", "/metrics", "/docs", "/redoc", "/openapi.json", "/static/x", "/no/such/route"}
    assert len(schema["paths"]) > 15
    assert len(named) > 30
    assert set(GENERATING_ROUTES) <= set(schema["paths"]) | named
    return sorted(re.sub(r"\{.*?\}", "x", path) for path in {*schema["paths"], *named, *hidden})


def test_every_route_refuses_without_the_key_by_any_method(live_server, routes):
    url, _ = live_server
    open_routes = {(method, path) for path in routes for method in METHODS if status(url, method, path) != 401}
    assert open_routes == {("GET", "/health"), ("GET", "/ping")}


def test_generating_routes_refuse_another_key(live_server):
    url, key = live_server
    for route, body in GENERATING_ROUTES.items():
        for given in ("Bearer guessed", f"Bearer {key[:-1]}", f"Basic {key}", key, "Bearer ", ""):
            answer = requests.post(url + route, json=body, headers={"Authorization": given}, timeout=60)
            assert answer.status_code == 401, (route, given)


@pytest.mark.parametrize("method", ["POST", "post", "GET", "get", "HEAD", "OPTIONS"])
def test_no_spelling_of_a_path_gets_around_the_key(live_server, method):
    url, _ = live_server
    body = json.dumps(GENERATING_ROUTES["/invocations"]).encode()
    for target in SPELLINGS:
        override = {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/health", "X-Forwarded-Prefix": "/health"}
        assert status(url, method, target, override, body) in (400, 401), target


@pytest.mark.parametrize("path", ["/v1/realtime", "/health", "/"])
def test_no_websocket_opens_without_the_key(live_server, path):
    url, _ = live_server
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    assert status(url, "GET", path, handshake, b"") in (401, 403)


def test_the_key_is_in_the_servers_environment_and_in_no_argument_and_no_log(live_server, live_folder):
    _, key = live_server
    holders, arguments = [], []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            arguments += process.cmdline()
            if process.environ().get("VLLM_API_KEY") == key:
                holders.append(process)
    assert len(holders) >= 2  # the API's process and the engine's
    assert not [word for word in arguments if key in word]
    logs = [path for path in live_folder.rglob("*.log") if path.stat().st_size]
    assert logs
    assert files_with(key, logs) == []


def processes(folder):
    """All processes of the server; vLLM gives some a title in place of their environment."""
    (ready,) = endpoint.read_all(Layout(str(folder), DEMO_MODEL).server)
    return psutil.Process(ready.pid).children(recursive=True)


def test_a_local_server_listens_on_this_machine_alone(live_server, live_folder):
    url, _ = live_server
    listening = set()
    for process in processes(live_folder):
        found = process.net_connections("inet")
        listening |= {connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN}
    assert urlsplit(url).netloc in {f"{address.ip}:{address.port}" for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_no_socket_of_the_server_is_open_to_others(live_server, live_folder):
    """vLLM's processes trust whoever reaches these sockets."""
    folders = set()
    for process in processes(live_folder):
        paths = [Path(connection.laddr) for connection in process.net_connections("unix") if connection.laddr]
        folders |= {path.parent for path in paths if path.is_absolute()}
    assert folders
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_each_api_server_has_a_heartbeat_which_tells_that_one_of_them_hangs(live_server, live_folder):
    """The other one answers whatever is asked on a new connection."""
    url, _ = live_server
    pids, beats, deadline = [], {}, time.monotonic() + 120
    while len(pids) < 2:  # the server is ready once one of them is
        assert time.monotonic() < deadline
        time.sleep(0.1)
        folders = {path.parent for path in Path(tempfile.gettempdir()).glob("cq*/heartbeat-*")}
        beats = {pid: folder for folder in folders for pid in last_beats(folder)}
        pids = sorted(beats.keys() & {process.pid for process in processes(live_folder)})
    hung, other = pids
    assert beats[hung] == beats[other]

    def after_a_beat(pid):
        """The last heartbeats once this process has another one."""
        before, deadline = last_beats(beats[pid])[pid], time.monotonic() + 60
        while (found := last_beats(beats[pid]))[pid] == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return found

    os.kill(hung, signal.SIGSTOP)
    try:
        stopped = after_a_beat(other)[hung]
        assert {status(url, "GET", "/health") for _ in range(5)} == {200}
        assert {after_a_beat(other)[hung] for _ in range(3)} == {stopped}
    finally:
        os.kill(hung, signal.SIGCONT)
    assert after_a_beat(hung)[hung] > stopped


def test_with_the_key_the_server_generates(live_server):
    url, key = live_server
    model = requests.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=60).json()["data"][0][
        "id"
    ]
    for route in ("/v1/chat/completions", "/invocations"):
        body = {"model": model, **GENERATING_ROUTES[route]}
        headers = {"Authorization": f"Bearer {key}"}
        response = requests.post(url + route, json=body, headers=headers, timeout=120)
        assert response.status_code == 200, route
        assert response.json()["usage"]["completion_tokens"] == 1


def test_the_key_is_in_its_file_alone_and_in_no_argv(live_server, live_folder):
    _, key = live_server
    files = [path for path in live_folder.rglob("*") if path.is_file()]
    assert any(path.name == "server-0.log" for path in files)
    (held,) = files_with(key, files)
    assert (held.name, stat.S_IMODE(held.stat().st_mode)) == ("key-0.json", 0o600)
    vllm = [process for process in psutil.process_iter(["cmdline"]) if DEMO_MODEL in str(process.info["cmdline"])]
    assert vllm
    assert not any(key in str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))


def test_odd_pictures_and_too_many_of_them_are_answered_or_named(photographs):
    folder = photographs.folder / "odd"
    folder.mkdir()
    for name, size in {"pixel.png": (1, 1), "strip.jpg": (30_000, 10), "pole.png": (10, 30_000)}.items():
        Image.new("RGB", size, (200, 30, 30)).save(folder / name)
    rows = {"q1": ["pixel.png"] * 100, "q2": ["pixel.png", "pixel.png"]}
    frame = pd.DataFrame({"qid": rows.keys(), "question": "What is it?", "answer": "A", "image": rows.values()})
    frame.to_parquet(photographs.folder / "questions.parquet")
    photographs.config["captions"]["dataset_path"] = "odd"
    photographs.config["qa"] = {"question_path": "questions.parquet", "dataset_path": "odd"}
    photographs.config["client"] = {"max_failed_fraction": 1}
    photographs.run()
    assert set(photographs.captions("simple")) == {"pixel.png"}
    refused = photographs.captions("simple", "_failures") | photographs.qa("failures")
    assert {item: failure["reason"] for item, failure in refused.items()} == dict.fromkeys(
        ("strip.jpg", "pole.png", "q1"), "request_rejected"
    )
    assert "At most 8 image(s)" in refused["q1"]["detail"]
    assert set(photographs.qa("results")) == {"q2"}


def test_captions_by_a_schema_fit_it_or_are_failures(photographs, truth):
    """Of all images with room for the JSON, of ten without, and of these by the schema of config/examples."""
    project, folder = photographs, photographs.folder
    shutil.copytree(ROOT / "resources" / "demo" / "images", folder / "shapes")
    values = {name: {"enum": sorted(set(truth[name]))} for name in ("color", "shape")}
    schema = {"type": "object", "properties": values, "required": [*values], "additionalProperties": False}
    (folder / "schema.json").write_text(json.dumps(schema))
    project.config["captions"] |= {"dataset_path": "shapes", "schema": "schema.json", "max_tokens": 64}
    project.config["client"] = {"max_failed_fraction": 1.0}
    project.run()
    captions, failures = project.captions("simple"), project.captions("simple", "_failures")
    assert sorted([*captions, *failures]) == sorted(truth.index)
    for text in captions.values():
        jsonschema.validate(json.loads(text), schema)
    assert all(map(_is_cut, failures.values()))
    assert len(captions) > len(truth) / 2
    project.config["captions"] |= {"max_tokens": 8, "limit": 10}
    project.run()
    cut = project.captions("simple", "_failures").values()
    assert (project.captions("simple"), len(cut)) == ({}, 10)
    assert all(map(_is_cut, cut))
    example = ROOT / "config" / "examples" / "attributes.schema.json"
    project.config["captions"] |= {"max_tokens": 256, "schema": str(example)}
    project.run()
    captions, failures = project.captions("simple"), project.captions("simple", "_failures")
    assert len(captions) + len(failures) == 10
    for text in captions.values():
        jsonschema.validate(json.loads(text), json.loads(example.read_text()))
    assert all(map(_is_cut, failures.values()))


def _is_cut(failure):
    return failure["reason"] == "schema_mismatch" and "truncated at captions.max_tokens" in failure["detail"]
