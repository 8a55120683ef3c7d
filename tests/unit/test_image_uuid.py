"""Images by their identity: sent once, never answered from another picture, and a miss is no loss."""

import dataclasses
import hashlib
import itertools
import os
import threading

import pandas as pd
import pytest
import stand_in_server
from blake3 import blake3
from captionqa.client import retried_request as request_module
from captionqa.client import server_pool as pool_module
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.duplicate_requests import DuplicateRequests
from captionqa.client.held_images import HeldImages
from captionqa.client.image_leads import MAX_WAITING, ImageLeads, Turn
from captionqa.files import read_json_lines
from captionqa.server import generation_key
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.image_cache import GIB, image_cache_bytes, takes_uuids
from PIL import Image

VLLM = {"vllm": "0.32.0"}
#: How long one thread may be ahead of another that it waits for.
PATIENCE_S = 30
OFF = {"client": {"image_uuid": "off"}}
QUESTIONS = ["What is it?", "Where is it?", "Is it red?", "Is it old?"]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(request_module, "CHECK_INTERVAL_S", 0.02)


@pytest.fixture
def own(stand_in, publish, server_folder, monkeypatch):
    """The stand-in as a vLLM that this run started; a call publishes it with other facts."""
    monkeypatch.setenv("VLLM_API_KEY", "key")

    def write(versions=VLLM, **fields):
        entry = publish(stand_in.url, versions=versions, **fields)
        generation_key.write(server_folder, entry, "key")

    write()
    stand_in.publish = write
    return stand_in


@pytest.fixture
def photographs(images, encode):
    """Write pictures that are large enough to be waited for."""

    def write(*names, seed=0):
        for number, name in enumerate(names):
            noise = hashlib.shake_256(f"{seed}{number}{name}".encode()).digest(3 * 200 * 200)
            (images.path / "new").write_bytes(encode(Image.frombytes("RGB", (200, 200), noise)))
            (images.path / "new").rename(images.path / name)

    return write


@pytest.fixture
def ask(jobs, make_config):
    """Ask all questions about each image: {id: result line}."""

    def run(names, own_servers=True, questions=QUESTIONS, **changes):
        rows = [(f"{name} {text}", text, name, "A") for name in names for text in questions]
        pd.DataFrame(rows, columns=["qid", "question", "image", "answer"]).to_parquet(make_config().qa.question_path)
        (job,) = jobs("qa", changes=changes)
        job.result.unlink(missing_ok=True)
        ChunkRun(dataclasses.replace(job, own_servers=own_servers)).run()
        _, *lines = read_json_lines(job.result)
        return {line["id"]: line for line in lines}

    return run


@pytest.fixture
def before_answer(monkeypatch):
    """Call something, once, while a request of this number, counted from 1, is on its way to its answer."""

    def at(number, call):
        left, make = [number], stand_in_server.right_answer

        def answer(text, digests):
            left[0] -= 1
            if left[0] == 0:
                call()
            return make(text, digests)

        monkeypatch.setattr(stand_in_server, "right_answer", answer)

    return at


def right(text, *pictures):
    return stand_in_server.right_answer(f"<image>{text}", [hashlib.sha256(data).hexdigest()[:12] for data in pictures])


def alone(server):
    return [request["alone"] for request in server.asked]


def texts(lines):
    return {name: line["answer"]["text"] for name, line in lines.items()}


def test_an_image_goes_once_to_a_server_of_ours_and_the_answers_are_those_without_identities(
    own, photographs, ask, tmp_path
):
    names = ["a.png", "b.png", "c.png"]
    photographs(*names)
    named = ask(names)
    assert sorted(alone(own)) == [False] * 3 + [True] * 9
    assert len({uuid for request in own.asked for uuid in request["uuids"]}) == 3
    before = len(own.asked)
    plain = ask(names, output_dir=str(tmp_path / "other"), **OFF)
    assert all(request["uuids"] == [] for request in own.asked[before:])
    assert plain == named


def test_an_image_that_all_servers_hold_is_not_read_again(own, photographs, ask, monkeypatch):
    photographs("a.png")
    reads = []
    from captionqa.dataset import image_source

    read = image_source.read_stamped
    monkeypatch.setattr(image_source, "read_stamped", lambda path: reads.append(path) or read(path))
    ask(["a.png"])
    assert len(reads) == 1


@pytest.mark.parametrize("transport", ["bytes", "file"])
def test_an_image_that_was_edited_between_two_requests_is_not_answered_from_the_old_picture(
    own, photographs, ask, images, before_answer, transport
):
    own.read_from(images.path)
    photographs("a.png")
    path = images.path / "a.png"
    old = path.read_bytes()
    before_answer(2, lambda: photographs("a.png", seed=1))
    lines = ask(["a.png"], client={"concurrency": 1, "image_transport": transport})
    new = path.read_bytes()
    assert old != new
    found = [
        text == right(line["id"].split(" ", 1)[1], new) for line in lines.values() for text in [line["answer"]["text"]]
    ]
    kept = [
        text == right(line["id"].split(" ", 1)[1], old) for line in lines.values() for text in [line["answer"]["text"]]
    ]
    assert sorted(found) == [False, False, True, True]
    assert [one != other for one, other in zip(found, kept, strict=True)] == [True] * 4
    digests = {line["files"][0]: is_new for line, is_new in zip(lines.values(), found, strict=True)}
    assert len(digests) == 2


def test_a_miss_spends_no_attempt_and_is_no_failure(own, photographs, ask, before_answer):
    photographs("a.png", "b.png")
    before_answer(2, own.kept.clear)
    lines = ask(["a.png", "b.png"], client={"max_attempts": 1, "concurrency": 1})
    assert len(texts(lines)) == 8
    refused = [request for request in own.asked if request["alone"] and not request["images"]]
    assert 1 <= len(refused) <= 2  # at most once for each image
    assert len(own.asked) == 8 + len(refused)


@pytest.fixture
def at_a_name(monkeypatch):
    """Call something, once, before the server looks for an image that is named to it: then it no longer holds any."""

    def call(change):
        look, left = stand_in_server.Server.picture, [change]

        def picture(server, index, part):
            if not part["image_url"] and left:
                left.pop()()
                server.kept.clear()
            return look(server, index, part)

        monkeypatch.setattr(stand_in_server.Server, "picture", picture)

    return call


@pytest.fixture
def a_waiting_twin(own, photographs, images, ask, at_a_name, monkeypatch):
    """Ask two questions about two equal files; something happens while a request that names the first one is away.

    The same question about the other file waits for that request by then. Gives the lines of the question that was
    asked first, and of the one that was away; a list has the first file's line and the other's.
    """
    photographs("a.png")
    (images.path / "b.png").write_bytes((images.path / "a.png").read_bytes())
    questions = QUESTIONS[:2]
    asked, order = {question: threading.Event() for question in questions}, []
    waits = {question: threading.Event() for question in questions}
    join = DuplicateRequests.join

    def joined(duplicates, key, waiter):
        name, question = waiter.item.id.split(" ", 1)
        if name == "b.png":
            assert asked[question].wait(PATIENCE_S)
        found = join(duplicates, key, waiter)
        if name == "a.png" and not asked[question].is_set():
            order.append(question)
            asked[question].set()
        elif found == (False, None):
            waits[question].set()
        return found

    def run(change):
        def once_it_waits():
            assert waits[order[1]].wait(PATIENCE_S)
            change()

        at_a_name(once_it_waits)
        lines = ask(["a.png", "b.png"], questions=questions)
        return [[lines[f"{name} {question}"] for name in ("a.png", "b.png")] for question in order]

    monkeypatch.setattr(DuplicateRequests, "join", joined)
    return run


def test_a_miss_whose_image_has_changed_meanwhile_is_asked_about_as_it_is_now(photographs, images, a_waiting_twin):
    """Between the look at the file and the server's refusal, while an identical request about another file waits."""
    old = (images.path / "a.png").read_bytes()
    before, away = a_waiting_twin(lambda: photographs("a.png", "b.png", seed=1))
    new = [(images.path / name).read_bytes() for name in ("a.png", "b.png")]
    digests = [blake3(data).hexdigest(12) for data in (old, *new)]
    assert [line["files"] for line in (before[0], *away)] == [[digest] for digest in digests]
    pictures = dict(zip(digests, (old, *new), strict=True))
    for line in (*before, *away):
        question = line["id"].split(" ", 1)[1]
        assert line["answer"]["text"] == right(question, pictures[line["files"][0]])


def test_a_miss_whose_image_is_gone_meanwhile_is_a_missing_image_and_none_of_its_twin(images, a_waiting_twin):
    def remove():
        for name in ("a.png", "b.png"):
            (images.path / name).rename(images.path / f"{name}.gone")

    before, away = a_waiting_twin(remove)
    assert "answer" in before[0]
    assert [line["failure"] for line in away] == ["missing_image"] * 2
    assert ["a.png" in away[0]["detail"], "b.png" in away[1]["detail"]] == [True] * 2


def test_a_file_that_the_server_read_after_a_change_is_kept_under_no_name_that_is_used_again(
    own, photographs, ask, images, monkeypatch
):
    """The server reads another picture under the first one's name; the file is then restored with its time."""
    own.read_from(images.path)
    photographs("a.png")
    path = images.path / "a.png"
    old, times = path.read_bytes(), path.stat().st_mtime_ns
    load, swapped = stand_in_server.Server.image, []

    def image(server, url):
        if url.startswith("file:") and not swapped:
            swapped.append(url)
            path.write_bytes(old[:-40] + b"x" * 40)
            data = load(server, url)
            path.write_bytes(old)
            os.utime(path, ns=(times, times + 1))
            return data
        if swapped and path.stat().st_mtime_ns != times:
            os.utime(path, ns=(times, times))
        return load(server, url)

    monkeypatch.setattr(stand_in_server.Server, "image", image)
    lines = ask(["a.png"], client={"concurrency": 1, "image_transport": "file"})
    assert texts(lines) == {f"a.png {text}": right(text, old) for text in QUESTIONS}


@pytest.mark.parametrize(
    ("facts", "uuids"),
    [
        ({"argv": ["vllm", "--api-server-count", "2"]}, True),
        ({"argv": ["vllm", "--mm-processor-cache-gb=0"]}, True),
        ({"versions": {"vllm": "0.10.2"}}, False),
        ({"versions": {"vllm": "unknown"}}, False),
        ({"versions": {}}, False),
    ],
)
def test_a_server_that_cannot_hold_images_for_us_gets_them_with_each_request(own, photographs, ask, facts, uuids):
    own.publish(**facts)
    photographs("a.png")
    assert len(texts(ask(["a.png"]))) == 4
    assert alone(own) == [False] * 4
    assert [bool(request["uuids"]) for request in own.asked] == [uuids] * 4


def test_a_server_of_the_users_own_gets_plain_requests(own, photographs, ask, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY")
    photographs("a.png")
    assert len(texts(ask(["a.png"], own_servers=False))) == 4
    assert [(request["uuids"], request["alone"]) for request in own.asked] == [([], False)] * 4


def test_small_images_are_not_waited_for(own, images, ask):
    images.add("a.png")
    own.set(delay_s=0.2)
    assert len(texts(ask(["a.png"]))) == 4
    assert alone(own) == [False] * 4


@pytest.mark.parametrize("trouble", ["rejected", "changed"])
def test_questions_on_an_image_that_no_server_comes_to_hold_do_not_go_one_after_another(
    own, photographs, images, jobs, make_config, monkeypatch, trouble
):
    photographs("a.png")
    count, answer = 24, stand_in_server.Handler.do_POST
    rows = [(f"{n}", f"What is in {n}?", "a.png", "A") for n in range(count)]
    pd.DataFrame(rows, columns=["qid", "question", "image", "answer"]).to_parquet(make_config().qa.question_path)
    (job,) = jobs("qa", changes={"client": {"request_timeout_s": 4 * PATIENCE_S}})
    if trouble == "changed":
        photographs("a.png", seed=1)
    else:
        own.set(fault={"status": 400})
    arrived, at_once, in_vain = itertools.count(1), [], []
    guard, beside = threading.Lock(), threading.Event()

    def answer_beside_another(handler):
        """Each request but the first waits until two have been there at the same time."""
        number = next(arrived)
        with guard:
            at_once.append(number)
            if len(at_once) > 1:
                beside.set()
        try:
            if number > 1 and not in_vain and not beside.wait(PATIENCE_S):
                in_vain.append(number)
            answer(handler)
        finally:
            at_once.remove(number)

    monkeypatch.setattr(stand_in_server.Handler, "do_POST", answer_beside_another)
    ChunkRun(dataclasses.replace(job, own_servers=True)).run()
    assert in_vain == []
    _, *lines = read_json_lines(job.result)
    assert len(lines) == count
    assert all("answer" in line for line in lines) == (trouble == "changed")


def test_a_bounded_number_of_requests_waits_for_images():
    leads = ImageLeads()
    assert [leads.join(image, image, room=2) for image in "abc"] == [Turn.LEAD, Turn.LEAD, Turn.GO]
    turns = [leads.join("ab"[n % 2], n, room=2) for n in range(MAX_WAITING + 100)]
    assert turns == [Turn.WAIT] * MAX_WAITING + [Turn.GO] * 100
    assert leads.end("a", in_vain=False) == list(range(0, MAX_WAITING, 2))
    assert leads.join("b", None, room=2) is Turn.WAIT
    assert len(leads.end("b", in_vain=True)) == MAX_WAITING // 2 + 1
    assert [leads.join(image, None, room=2) for image in "ba"] == [Turn.GO, Turn.LEAD]


def endpoint(argv=(), version="0.32.0", replica=0, generation=1):
    return Endpoint(
        replica=replica,
        request_id="r",
        settings="s",
        model="m",
        state=State.READY,
        generation=generation,
        versions={"vllm": version},
        argv=list(argv),
    )


@pytest.mark.parametrize(
    ("argv", "size"),
    [
        ([], 4 * GIB),
        (["--mm-processor-cache-gb", "0.5"], GIB // 2),
        (["--mm_processor_cache_gb=2"], 2 * GIB),
        (["--mm-processor-cache-gb", "lots"], 0),
        (["--api-server-count", "1"], 4 * GIB),
        (["--api-server-count=4"], 0),
        (["-asc", "2"], 0),
        (["-asc=2"], 0),
        (["--data-parallel-size", "2"], 0),
        (["--data-parallel-size", "2", "--api-server-count", "1"], 4 * GIB),
    ],
)
def test_a_cache_is_counted_on_where_there_is_one_api_server(argv, size):
    assert image_cache_bytes(endpoint(argv)) == size


@pytest.mark.parametrize(
    ("version", "known"), [("0.32.0+cpu", True), ("0.11.0", True), ("1.0", True), ("0.9.2", False), ("unknown", False)]
)
def test_uuids_go_to_the_versions_that_know_them(version, known):
    assert takes_uuids(endpoint(version=version)) == known


def test_what_is_known_of_a_server_is_its_last_images_of_this_generation():
    held = HeldImages(True, pixel_grid_px=32)
    server = endpoint(["--mm-processor-cache-gb", "0.001"])
    tokens = GIB // 1000 // (32 * 32 * 6) // 4  # four images fit
    for uuid in "abcde":
        held.add(server, [uuid], tokens, alone=False)
    assert [uuid for uuid in "abcde" if held.holds(server, [uuid])] == list("bcde")
    assert held.holds(server, ["b", "e"])
    assert not held.holds(server, ["a", "e"])
    assert not held.holds(server, [])
    held.add(server, ["b"], tokens, alone=True)
    held.forget(server, ["d"])  # what was used before it is gone too
    assert [uuid for uuid in "abcde" if held.holds(server, [uuid])] == ["e", "b"][::-1]
    assert not held.holds(endpoint(generation=2), ["b"])
    assert not held.holds(endpoint(replica=1), ["b"])


def test_a_server_that_never_holds_what_it_should_is_not_tried_for_ever():
    held, server = HeldImages(True, pixel_grid_px=32), endpoint()
    tries = 0
    for number in range(100):
        held.add(server, [str(number)], 100, alone=False)
        if held.holds(server, [str(number)]):
            tries += 1
            held.forget(server, [str(number)])
    assert tries == 20
