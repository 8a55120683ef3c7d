"""The transport of images: file references where the server reads the files, bytes elsewhere, and no answer lost."""

import base64
import dataclasses
import hashlib
import json
import logging
import os
from pathlib import Path
from urllib.request import url2pathname

import pandas as pd
import pytest
from blake3 import blake3
from captionqa.client import retried_request as request_module
from captionqa.client import server_pool as pool_module
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.image_part import file_url
from captionqa.config.media_folder import allowed_folder
from captionqa.errors import ConfigError, ServerRefusedError
from captionqa.files import read_json_lines
from PIL import Image
from urllib3.util import parse_url

FILE = {"client": {"image_transport": "file"}}
ONE_BY_ONE = {"client": {"image_transport": "file", "concurrency": 1}}
NAMES = [f"image{number}.png" for number in range(8)]
ODD_NAMES = [
    *("a b.png", "a#b.png", "a?b.png", "a%20b.png", "a%b.png", "ü漢.png", "a\nb.png", "a\\b.png", "[x].png"),
    *("a;b&c=d.png", "a@b:c.png", "'\".png", "~x.png", "a+b.png", "sub/..c.png", "https:/x.png"),
]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(request_module, "CHECK_INTERVAL_S", 0.02)


@pytest.fixture
def run(jobs):
    """Run the one chunk of captions: its header and its lines by item."""

    def through(changes=None):
        (job,) = jobs(changes=changes)
        job.result.unlink(missing_ok=True)
        ChunkRun(job).run()
        header, *lines = read_json_lines(job.result)
        return header, {line["id"]: line for line in lines}

    return through


@pytest.fixture
def sighted(server, images):
    """The stand-in server, which may read the data set."""
    server.read_from(images.path)
    return server


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if "itself" in record.getMessage()]


def texts(lines):
    return {name: line["answer"]["text"] for name, line in lines.items()}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_files_url_leads_vllm_to_the_file_whatever_its_name(name):
    url = parse_url(file_url(Path("/data") / name).decode())
    assert url.scheme == "file"
    assert url2pathname((url.netloc or "") + (url.path or "")) == f"/data/{name}"  # as its MediaConnector does


def test_references_get_the_answers_of_bytes_and_changing_the_transport_asks_nothing_again(images, sighted, run):
    images.add(*NAMES, *ODD_NAMES)
    _, by_reference = run(FILE)
    assert {file for request in sighted.asked for file in request["files"]} == {
        str((images.path / name).resolve()) for name in (*NAMES, *ODD_NAMES)
    }
    header, in_bytes = run()
    assert in_bytes == by_reference
    assert (header["asked"], header["known"]) == (0, len(NAMES) + len(ODD_NAMES))
    assert all(texts(by_reference).values())

    images.add("new.png")
    run()
    assert sighted.asked[-1]["files"] == []
    header, again = run(FILE)
    assert header["known"] == len(again)
    digest = hashlib.sha256((images.path / NAMES[0]).read_bytes()).hexdigest()[:12]
    assert digest in again[NAMES[0]]["answer"]["text"]


def test_a_name_that_is_not_utf8_goes_as_bytes(images, sighted, run, caplog):
    name = os.fsdecode(b"\xff.png")
    images.add(name, "\ufffd.png", "a.png")  # which a decoder makes of the name before
    _, lines = run(FILE)
    assert {tuple(request["files"]) for request in sighted.asked} == {
        (),
        (str(images.path.resolve() / "\ufffd.png"),),
        (str(images.path.resolve() / "a.png"),),
    }
    assert hashlib.sha256((images.path / name).read_bytes()).hexdigest()[:12] in lines[name]["answer"]["text"]
    assert warnings(caplog) == []


def test_an_image_that_must_not_go_untouched_goes_as_bytes(images, sighted, run, encode):
    picture = Image.effect_noise((64, 64), 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    changed = {
        "turned.jpg": encode(picture, "JPEG", exif=exif),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG"),
        "alpha.png": encode(picture.convert("RGBA")),
        "palette.png": encode(picture.convert("P")),
        "deep.png": encode(picture.convert("I;16")),
        "picture.bmp": encode(picture, "BMP"),
        "large.png": encode(Image.new("RGB", (128, 128))),
    }
    as_they_are = {
        "plain.jpg": encode(picture, "JPEG"),
        "plain.png": encode(picture),
        "plain.webp": encode(picture.convert("RGB"), "WEBP"),
        "padded.jpg": encode(picture, "JPEG") + b"behind the end" * 10,
    }
    for name, data in {**changed, **as_they_are, "cut.jpg": as_they_are["plain.jpg"][:-200]}.items():
        (images.path / name).write_bytes(data)
    _, lines = run({"client": {"image_transport": "file", "images": {"max_pixels": 64 * 64}}})
    assert {name for name, line in lines.items() if "failure" in line} == {"cut.jpg"}
    assert lines["cut.jpg"]["failure"] == "unreadable_image"
    referred = {Path(file).name for request in sighted.asked for file in request["files"]}
    assert referred == set(as_they_are)
    assert len(sighted.asked) == len(changed) + len(as_they_are)


def test_links_are_referred_to_by_where_they_lead_and_only_within_the_data_set(images, sighted, run, tmp_path, caplog):
    images.add("inside.png", "outside.png", "plain.png")
    cache = tmp_path / "cache"
    cache.mkdir()
    (images.path / "outside.png").rename(cache / "blob")
    (images.path / "outside.png").symlink_to(cache / "blob")
    (images.path / "blobs").mkdir()
    (images.path / "inside.png").rename(images.path / "blobs" / "blob")
    (images.path / "inside.png").symlink_to(images.path / "blobs" / "blob")
    changes = {"client": {**ONE_BY_ONE["client"], "deduplicate": False, "images": {"allowed_roots": [str(cache)]}}}
    _, lines = run(changes)
    assert {"inside.png", "outside.png", "plain.png"} <= set(texts(lines))
    referred = {file for request in sighted.asked for file in request["files"]}
    assert referred == {str(images.path.resolve() / name) for name in ("blobs/blob", "plain.png")}
    assert [request["files"] for request in sighted.asked].count([]) == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("allowed", [None, "stand-in"])
def test_a_server_that_does_not_read_the_files_costs_one_request_and_one_warning(
    images, server, run, tmp_path, caplog, allowed
):
    server.read_from(allowed and tmp_path / allowed)
    images.add(*NAMES)
    with caplog.at_level(logging.WARNING):
        _, lines = run(ONE_BY_ONE)
    assert len(set(texts(lines).values())) == len(NAMES)
    assert [len(request["files"]) for request in server.asked] == [1] + [0] * len(NAMES)
    (warning,) = warnings(caplog)
    assert "--allowed-local-media-path" in warning
    assert ("Cannot load local files" if allowed is None else "must be a subpath") in warning


@pytest.mark.parametrize("transport", ["file", "bytes"])
def test_a_server_whose_folder_is_not_there_blames_no_item(images, server, run, tmp_path, transport):
    server.read_from(tmp_path / "not mounted")
    images.add(*NAMES)
    with pytest.raises(ServerRefusedError, match=r"bind mount.* client\.image_transport to bytes") as error:
        run({"client": {"image_transport": transport}})
    assert "not mounted does not exist" in str(error.value)


def test_many_threads_that_find_out_at_once_warn_once(images, server, run, caplog):
    images.add(*(f"{number}.png" for number in range(40)))
    server.set(delay_s=0.05)
    _, lines = run({"client": {"image_transport": "file", "concurrency": 16}})
    assert len(texts(lines)) == 40
    assert len(warnings(caplog)) == 1


def test_an_image_that_is_rejected_in_bytes_too_fails_as_ever_and_the_others_are_referred_to(
    images, sighted, run, caplog
):
    images.add(*NAMES)
    digest = hashlib.sha256((images.path / NAMES[3]).read_bytes()).hexdigest()[:12]
    sighted.fail({"status": 400, "body": {"error": {"message": "no such picture"}}}, only=digest)
    _, lines = run(ONE_BY_ONE)
    assert lines[NAMES[3]]["failure"] == "request_rejected"
    assert "no such picture" in lines[NAMES[3]]["detail"]
    assert len(texts({name: line for name, line in lines.items() if name != NAMES[3]})) == len(NAMES) - 1
    assert sum(request["files"] == [] for request in sighted.asked) == 1
    assert warnings(caplog) == []


def test_a_damaged_image_that_the_server_rejects_is_unreadable(images, sighted, run, encode):
    data = bytearray(encode(Image.effect_noise((64, 64), 50)))
    data[1000:1010] = b"\xff" * 10
    (images.path / "bad.png").write_bytes(data)
    sighted.fail({"status": 400})
    _, lines = run(FILE)
    assert lines["bad.png"]["failure"] == "unreadable_image"


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_pass_is_asked_again_by_reference(images, sighted, run, caplog, status):
    images.add(*NAMES)
    sighted.fail({"status": status}, times=1)
    _, lines = run(FILE)
    assert len(texts(lines)) == len(NAMES)
    assert all(request["files"] for request in sighted.asked)
    assert len(sighted.asked) == 2 * len(NAMES)
    assert warnings(caplog) == []


@pytest.mark.parametrize("what", ["vanishes", "changes"])
def test_a_file_that_is_not_what_was_read_is_answered_by_what_was_read(
    images, scripted, publish, run, caplog, encode, what
):
    """The server reads later than the client. Its answer would be journaled under another picture's digest."""
    images.add("a.png")
    path = images.path / "a.png"
    read = path.read_bytes()

    def of_another_picture(handler, body):
        (part,) = (part for part in body["messages"][0]["content"] if part["type"] == "image_url")
        assert part["image_url"]["url"] == file_url(path.resolve()).decode()
        path.unlink()
        answer = (500, {"error": {"message": f"[Errno 2] No such file or directory: '{path}'"}})
        if what == "changes":
            path.write_bytes(encode(Image.new("RGB", (9, 9))))
            answer = (200, {"choices": [{"message": {"content": "Another picture."}}]})
        data = json.dumps(answer[1]).encode()
        handler.send_response(answer[0])
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    scripted.answers = [of_another_picture, (200, {}, {"choices": [{"message": {"content": "What was read."}}]})]
    publish(scripted.url)
    _, lines = run(FILE)
    assert texts(lines) == {"a.png": "What was read."}
    assert len(scripted.requests) == 2
    assert base64.b64encode(read).decode() in str(scripted.requests[1][1])
    assert lines["a.png"]["files"] == [blake3(read).hexdigest(12)]
    assert warnings(caplog) == []


def test_a_fallbacks_conversation_refers_to_its_images_too(images, sighted, jobs, make_config, tmp_path, monkeypatch):
    question = "<image> or <image>? A. yes B. no"
    images.add("a.png", "b.png")
    frame = pd.DataFrame({"qid": ["q"], "question": [question], "image": [["a.png", "b.png"]], "answer": ["A"]})
    frame.to_parquet(make_config().qa.question_path)
    (tmp_path / "answers.json").write_text(json.dumps({question: "Hm."}))
    monkeypatch.setenv("STAND_IN_ANSWERS", str(tmp_path / "answers.json"))
    (job,) = jobs("qa", changes={**FILE, "qa": {"fallback": True}})
    ChunkRun(job).run()
    assert [request["files"] for request in sighted.asked] == [
        [str(images.path.resolve() / name) for name in ("a.png", "b.png")]
    ] * 2


def config_of(make_config, captions, qa, transport="file", **model):
    changes = {
        "captions": {"dataset_path": str(captions)},
        "qa": {"dataset_path": str(qa)},
        "client": {"image_transport": transport},
        "models": {"tiny": model},
    }
    return make_config(changes)


def test_the_server_may_read_the_outer_one_of_two_data_sets_and_no_folder_above(make_config, tmp_path):
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inner)
    for captions, qa in ((outer, inner), (inner, outer), (outer, tmp_path / "link"), (outer, outer)):
        assert allowed_folder(config_of(make_config, captions, qa), "tiny") == str(outer.resolve())
    alone = dataclasses.replace(config_of(make_config, inner, outer), qa=None)
    assert allowed_folder(alone, "tiny") == str(inner.resolve())


def test_two_data_sets_side_by_side_are_an_error_that_names_both_and_what_to_do(make_config, tmp_path):
    one, other = tmp_path / "images", tmp_path / "images2"
    with pytest.raises(ConfigError) as error:
        config_of(make_config, one, other)
    for words in (str(one), str(other), "bytes", "--allowed-local-media-path"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    "model",
    [
        {"url": "http://127.0.0.1:1"},
        {"server": {"extra_args": ["--allowed-local-media-path", "/data"]}},
        {"server": {"extra_args": ["--allowed_local_media_path=/data"]}},
    ],
)
def test_a_server_of_the_users_own_and_their_word_are_left_alone(make_config, tmp_path, model):
    assert allowed_folder(config_of(make_config, tmp_path / "a", tmp_path / "b", **model), "tiny") is None


def test_with_bytes_the_server_may_read_no_file(make_config, tmp_path):
    assert allowed_folder(config_of(make_config, tmp_path / "a", tmp_path / "b", "bytes"), "tiny") is None
