"""The run of a chunk: every item ends as an answer or a named failure, and no known answer is asked for again."""

import base64
import dataclasses
import io
import itertools
import json
import os
import pickle
import signal
import threading
import time

import pandas as pd
import pytest
from captionqa.client import chunk_run as chunk_run_module
from captionqa.client import item as item_module
from captionqa.client import retried_request as request_module
from captionqa.client import server_pool as pool_module
from captionqa.client.chunk_result import ChunkResults, read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.duplicate_requests import DuplicateRequests
from captionqa.client.image_part import file_url
from captionqa.client.server_pool import ServerPool
from captionqa.client.text_figures import text_figures
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint
from captionqa.dataset import image_source as source_module
from captionqa.dataset.audit import audit
from captionqa.errors import Reason, RunStoppedError, ServerDeadError, ServerRefusedError
from captionqa.export.responses import write_responses
from captionqa.export.target import Target
from captionqa.files import read_json, read_json_lines
from captionqa.results.ask_again import retry_failed
from captionqa.results.captions import merge_captions
from captionqa.server import endpoint
from captionqa.server.endpoint import State
from PIL import Image

NAMES = [f"image{number}.png" for number in range(12)]
MANY = [f"image{number}.png" for number in range(40)]
RUN = """
import pickle, sys
from captionqa.results.ask_again import retry_failed
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
with open(sys.argv[1], "rb") as file:
    job = pickle.load(file)
ChunkRun(job).run()
"""


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(request_module, "CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(request_module, "STALE_FILE_S", 0.1)
    monkeypatch.setattr(chunk_run_module, "HEARTBEAT_S", 0.02)


@dataclasses.dataclass
class Result:
    """A chunk result: its header, and its lines by item."""

    header: dict
    lines: dict

    @property
    def answers(self):
        return {name: line["answer"]["text"] for name, line in self.lines.items() if "answer" in line}

    @property
    def failures(self):
        return {name: line["failure"] for name, line in self.lines.items() if "failure" in line}


@pytest.fixture
def run(jobs):
    """Run all chunks one after another and give back their results taken together."""

    def through(task="captions", chunks=1, changes=None):
        header, lines = None, {}
        for job in jobs(task, chunks, changes):
            job.result.unlink(missing_ok=True)
            ChunkRun(job).run()
            header, found = read_chunk(job.result)
            of_chunk = {line["id"]: line for line in found}
            assert header["items"] == len(of_chunk)
            lines |= of_chunk
        return Result(header, lines)

    return through


@pytest.fixture
def ask_questions(make_config):
    """Write the parquet of questions; each is (qid, question, images)."""

    def write(*rows):
        frame = pd.DataFrame(rows, columns=["qid", "question", "image"])
        frame.assign(answer="A").to_parquet(make_config().qa.question_path)

    return write


@pytest.fixture
def chunk_process(jobs, start_python, tmp_path):
    """Run the one chunk of captions in a process of its own."""

    def start(changes=None):
        (tmp_path / "job.pickle").write_bytes(pickle.dumps(jobs(changes=changes)[0]))
        return start_python(RUN, tmp_path / "job.pickle")

    return start


def test_every_image_gets_the_answer_to_its_own_bytes(images, server, run):
    images.add(*NAMES)
    result = run()
    assert set(result.answers) == set(NAMES)
    assert len(set(result.answers.values())) == len(NAMES)
    assert {request["text"] for request in server.asked} == {"<image>Describe this image in detail."}
    assert {request["max_tokens"] for request in server.asked} == {256}
    sent = [request["images"] for request in server.asked]
    assert all(sum(digests[0] in text for text in result.answers.values()) == 1 for digests in sent)
    assert all(line["figures"] == text_figures(line["answer"]["text"]) for line in result.lines.values())


def test_a_result_says_how_it_was_made(images, server, run, jobs, tmp_path):
    images.add(*NAMES)
    (images.path / "broken.png").write_text("no image")
    header = run().header
    assert (header["items"], header["asked"], header["known"], header["failed"]) == (13, 12, 0, 1)
    assert header["settings"] == jobs()[0].settings
    assert header["fingerprint"] == fingerprint(jobs()[0].settings)
    assert header["servers"][0]["url"] == server.url
    progress = read_json(tmp_path / "progress" / "0.json")
    assert progress == progress | {"total": 13, "done": 13, "failed": 1, "reused": 0, "shared": 0}


def test_a_rerun_asks_for_nothing_that_is_known(images, server, run):
    images.add(*NAMES)
    first = run()
    again = run()
    assert len(server.asked) == len(NAMES)
    assert again.answers == first.answers
    assert again.header["known"] == len(NAMES)


@pytest.mark.parametrize(("before", "after"), [(1, 7), (7, 1), (4, 64)])
def test_a_changed_number_of_chunks_asks_for_none(images, server, run, before, after):
    images.add(*NAMES)
    first = run(chunks=before)
    assert run(chunks=after).answers == first.answers
    assert len(server.asked) == len(NAMES)


@pytest.mark.parametrize(
    "changes",
    [
        {"captions": {"prompts": {"SIMPLE": "What is this?"}}},
        {"captions": {"max_tokens": 5}},
        {"client": {"sampling": {"temperature": 1}}},
        {"client": {"images": {"max_pixels": 1024}}},
        {"models": {"tiny": {"path": "org/other"}}},
    ],
    ids=str,
)
def test_changed_settings_ask_for_all_and_old_ones_for_none(images, server, run, changes):
    images.add(*NAMES)
    first = run()
    run(changes=changes)
    assert len(server.asked) == 2 * len(NAMES)
    assert run().answers == first.answers
    assert len(server.asked) == 2 * len(NAMES)


def test_only_added_and_edited_images_are_asked_for(images, server, run):
    images.add(*NAMES)
    first = run()
    images.add("new.png", NAMES[3])
    again = run()
    assert len(server.asked) == len(NAMES) + 2
    assert again.answers[NAMES[3]] != first.answers[NAMES[3]]
    assert {name: again.answers[name] for name in NAMES if name != NAMES[3]} == {
        name: first.answers[name] for name in NAMES if name != NAMES[3]
    }


def test_an_image_that_was_only_touched_or_copied_anew_is_not_asked_for(images, server, run):
    images.add(*NAMES)
    first = run()
    os.utime(images.path / NAMES[0], ns=(1, 1))
    assert run().answers == first.answers
    assert len(server.asked) == len(NAMES)


def test_an_unchanged_image_is_not_read_to_resume(images, server, run):
    images.add(*NAMES)
    first = run()
    path = images.path / NAMES[0]
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run().answers == first.answers


def test_a_bad_item_never_stops_a_chunk(images, server, run, tmp_path, make_config):
    images.add(*NAMES, "large.png")
    (tmp_path / "outside.png").write_bytes((images.path / NAMES[0]).read_bytes())
    (images.path / "outside.png").symlink_to(tmp_path / "outside.png")
    (images.path / "missing.png").symlink_to("nowhere.png")
    (images.path / "empty.png").touch()
    (images.path / "text.png").write_text("no image")
    Image.new("RGB", (40, 40)).save(images.path / "large.png")
    result = run(changes={"client": {"images": {"max_source_pixels": 1000}}})
    assert result.failures == {
        "outside.png": "path_outside_dataset",
        "missing.png": "missing_image",
        "empty.png": "unreadable_image",
        "text.png": "unreadable_image",
        "large.png": "image_too_large",
    }
    assert set(result.answers) == set(NAMES)


def test_links_into_allowed_roots_are_answered(images, server, run, tmp_path):
    images.add("a.png")
    cache = tmp_path / "cache"
    cache.mkdir()
    (images.path / "a.png").rename(cache / "blob")
    (images.path / "a.png").symlink_to(cache / "blob")
    assert run().failures == {"a.png": "path_outside_dataset"}
    assert set(run(changes={"client": {"images": {"allowed_roots": [str(cache)]}}}).answers) == {"a.png"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 400, "body": {"error": {"message": "The answer is A."}}}, "request_rejected"),
        ({"status": 500, "body": {"error": {"message": "The answer is A."}}}, "server_error"),
        ("html", "server_error"),
        ("half", "server_error"),
        ("close", "server_error"),
        ("no choices", "server_error"),
        ("empty", "empty_output"),
    ],
    ids=str,
)
def test_an_error_text_is_no_answer_and_is_not_journaled(images, server, run, jobs, fault, reason, journal_ids):
    images.add(*NAMES[:3])
    server.fail(fault, only="<image>Describe this image in detail.")
    result = run()
    assert result.answers == {}
    assert set(result.failures.values()) == {reason}
    assert journal_ids(jobs()[0]) == []


def test_failures_are_asked_for_again_and_answers_are_not(images, server, run):
    images.add(*NAMES)
    first = run()
    images.add("late.png")
    server.fail({"status": 400}, only=server.asked[0]["text"])
    assert run().failures == {"late.png": "request_rejected"}
    server.heal()
    again = run()
    assert again.failures == {}
    assert set(again.answers) == {*first.answers, "late.png"}
    assert len(server.asked) == len(NAMES) + 2


def test_one_rejected_image_fails_alone(images, server, run):
    images.add(*NAMES)
    run()
    rejected = server.asked[0]["images"][0]
    server.fail({"status": 400}, only=rejected)
    result = run(changes={"captions": {"max_tokens": 5}})
    assert len(result.failures) == 1
    assert len(result.answers) == len(NAMES) - 1
    assert all(rejected not in text for text in result.answers.values())


def test_an_answer_cut_by_its_length_is_an_answer(images, server, run):
    images.add("a.png")
    server.fail("length")
    answer = run().lines["a.png"]["answer"]
    assert (answer["text"], answer["finish_reason"]) == ("cut short", "length")
    assert (answer["prompt_tokens"], answer["completion_tokens"]) == (10, 5)


def test_a_dead_server_fails_the_chunk_and_keeps_what_was_answered(
    images, server, jobs, run, publish, eventually, journal_ids
):
    images.add(*MANY)
    server.set(delay_s=0.1)
    job = jobs(changes={"client": {"concurrency": 1}})[0]

    def die():
        eventually(lambda: len(journal_ids(job)) >= 3, "three answers")
        publish(None, state=State.DEAD, reason="it crashed")
        server.fail("close")

    threading.Thread(target=die).start()
    with pytest.raises(ServerDeadError, match="it crashed"):
        ChunkRun(job).run()
    assert not job.result.exists()
    assert 3 <= len(journal_ids(job)) < len(MANY)


def test_a_released_lease_stops_the_chunk_and_keeps_what_was_answered(
    images, server, jobs, keeper, eventually, journal_ids
):
    images.add(*MANY)
    server.set(delay_s=0.1)
    job = jobs(changes={"client": {"concurrency": 1}})[0]

    def stop():
        eventually(lambda: journal_ids(job), "an answer")
        keeper.release()

    threading.Thread(target=stop).start()
    with pytest.raises(RunStoppedError):
        ChunkRun(job).run()
    assert not job.result.exists()
    assert 1 <= len(journal_ids(job)) < len(MANY)


@pytest.mark.slow
def test_kill_9_loses_no_answer_and_the_rerun_asks_only_for_the_rest(
    images, server, chunk_process, jobs, run, eventually, journal_ids
):
    images.add(*MANY)
    server.set(delay_s=0.1)
    process = chunk_process({"client": {"concurrency": 2}})
    eventually(lambda: len(journal_ids(jobs()[0])) >= 4, "four answers")
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(journal_ids(jobs()[0]))
    server.heal()
    before = len(server.asked)
    assert set(run().answers) == set(MANY)
    assert len(server.asked) - before == len(MANY) - kept
    assert 4 <= kept < len(MANY)


@pytest.mark.slow
def test_two_runs_over_the_same_items_ask_for_each_once(images, server, jobs, chunk_process, run, journal_ids):
    images.add(*NAMES)
    server.set(delay_s=0.05)
    other = chunk_process()
    results = run(chunks=5)
    assert other.wait() == 0, other.stderr.read()
    assert set(results.answers) == set(NAMES)
    assert sorted(journal_ids(jobs()[0])) == sorted(NAMES)
    assert len(server.asked) == len(NAMES)


def test_a_key_of_the_run_is_used(images, server, run, monkeypatch, server_folder):
    images.add("a.png")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    with pytest.raises(ServerRefusedError, match="refuses the key"):
        run()
    endpoint.write_key(server_folder, "secret")
    assert set(run().answers) == {"a.png"}


def test_a_file_name_that_is_not_utf_8_is_answered(images, server, run):
    images.add("a.png")
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (images.path / "a.png").rename(images.path / name)
    assert set(run().answers) == {name}
    assert run().header["known"] == 1


def test_large_images_are_sent_within_their_limit(images, scripted, publish, run, encode):
    publish(scripted.url)
    scripted.answers = [(200, {}, {"choices": [{"message": {"content": "A square."}}]})]
    for side in (64, 640):
        (images.path / f"{side}.png").write_bytes(encode(Image.new("RGB", (side, side))))
    result = run(changes={"client": {"images": {"max_pixels": 128 * 128}}})
    assert set(result.answers) == {"64.png", "640.png"}
    urls = [body["messages"][0]["content"][0]["image_url"]["url"] for _, body in scripted.requests]
    sent = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
    assert sorted(image.size for image in sent) == [(64, 64), (128, 128)]


def test_a_question_is_asked_with_its_images_in_order(images, server, run, ask_questions):
    images.add("a.png", "b.png")
    ask_questions(
        ("q1", "Is <image> like <image>?", ["a.png", "b.png"]),
        ("q2", "Is <image> like <image>?", ["b.png", "a.png"]),
    )
    result = run("qa")
    first, second = server.asked
    assert first["text"] == second["text"] == "Is <image> like <image>?"
    assert first["images"] == second["images"][::-1]
    assert len(set(first["images"])) == 2
    assert {request["max_tokens"] for request in server.asked} == {128}
    assert set(result.answers) == {"q1", "q2"}


def test_lines_of_questions_are_answers_and_failures_alone(images, server, run, ask_questions):
    images.add("a.png")
    ask_questions(("q1", "What?\nA. x\nB. y", ["a.png"]), ("q2", "What?", ["none.png"]))
    result = run("qa")
    assert result.failures == {"q2": "missing_image"}
    assert result.lines["q1"].keys() == {"id", "answer", "files"}
    assert result.lines["q2"].keys() == {"id", "failure", "detail"}


def test_more_marks_than_images_is_a_missing_image(images, server, run, ask_questions):
    images.add("a.png")
    ask_questions(("q1", "Is <image> like <image>?", ["a.png"]))
    assert run("qa").failures == {"q1": "missing_image"}
    assert server.asked == []


def test_only_reworded_questions_are_asked_again(images, server, run, ask_questions):
    images.add("a.png", "b.png")
    ask_questions(("q1", "What?", ["a.png"]), ("q2", "What?", ["b.png"]), ("q3", "Where?", ["a.png"]))
    run("qa")
    ask_questions(("q1", "What is it?", ["a.png"]), ("q2", "What?", ["b.png"]), ("q3", "Where?", ["a.png"]))
    again = run("qa")
    assert (again.header["asked"], again.header["known"]) == (1, 2)
    assert server.asked[-1]["text"] == "<image>What is it?"


def test_a_questions_other_images_are_asked_about_again(images, server, run, ask_questions):
    images.add("a.png", "b.png")
    ask_questions(("q1", "What?", ["a.png"]))
    first = run("qa")
    ask_questions(("q1", "What?", ["b.png"]))
    assert run("qa").answers != first.answers
    assert len(server.asked) == 2


def test_an_instruction_follows_each_question(images, server, run, ask_questions):
    images.add("a.png")
    ask_questions(("q1", "What is it?\nA. x\nB. y", ["a.png"]))
    run("qa", changes={"qa": {"instruction": "Answer with a letter."}})
    assert server.asked[-1]["text"] == "<image>What is it?\nA. x\nB. y\nAnswer with a letter."


def test_log_probabilities_are_asked_for_kept_and_exported(
    images, publish, scripted, jobs, run, ask_questions, tmp_path
):
    likely = [{"token": "B", "logprob": -0.5}, {"token": "A", "logprob": -9999.0}]
    given = [{"token": "B", "logprob": -0.5, "bytes": [66], "top_logprobs": [one | {"bytes": [65]} for one in likely]}]
    choice = {"message": {"content": "B"}, "finish_reason": "stop", "logprobs": {"content": given}}
    scripted.answers = [(200, {}, json.dumps({"choices": [choice]}).replace("-9999.0", "-Infinity").encode())]
    publish(scripted.url)
    images.add("a.png")
    ask_questions(("q1", "What?\nA. x\nB. y", ["a.png"]))
    wanted = [{"token": "B", "logprob": -0.5, "top_logprobs": likely}]
    asks = {"client": {"logprobs": 2}}
    assert run("qa", changes=asks).lines["q1"]["answer"]["logprobs"] == wanted
    assert {key: scripted.requests[0][1][key] for key in ("logprobs", "top_logprobs")} == {
        "logprobs": True,
        "top_logprobs": 2,
    }
    again = run("qa", changes=asks)
    assert (len(scripted.requests), again.lines["q1"]["answer"]["logprobs"]) == (1, wanted)
    (job,) = jobs("qa", changes=asks)
    write_responses(ChunkResults([str(job.result)], job.settings).lines(), Target(tmp_path, 1 << 20, tmp_path))
    (row,) = map(json.loads, (tmp_path / "responses-00000.jsonl").read_text().splitlines())
    assert row["logprobs"] == wanted
    run("qa")
    assert "logprobs" not in scripted.requests[-1][1]


@pytest.fixture
def unsure(publish, scripted):
    """A server that answers questions that begin with "Is" and names no option for others; its letter is then B."""

    def answer(handler, body):
        choice = body.get("structured_outputs", {}).get("choice")
        question = body["messages"][0]["content"][-1]["text"]
        text = choice[1] if choice else ("The answer is A." if question.startswith("Is") else scripted.words)
        if choice and scripted.refuses_choices:
            return scripted.reply(handler, 400, {"error": {"message": "no structured outputs here"}})
        choices = [{"message": {"content": text}, "finish_reason": "stop"}]
        return scripted.reply(handler, 200, {"choices": choices, "usage": {}})

    def reply(handler, status, value):
        data = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    scripted.reply, scripted.refuses_choices, scripted.answers = reply, False, [answer]
    scripted.words = "A cat or a dog."
    publish(scripted.url)
    return scripted


UNSURE_QUESTIONS = (
    ("q1", "Is it red?\nA. yes\nB. no", ["a.png"]),
    ("q2", "What is it?\nA. cat\nB. dog\nC. hen", ["a.png"]),
    ("q3", "What is its name?", ["a.png"]),
)
FALLBACK = {"qa": {"fallback": True}}


def test_a_fallback_asks_only_for_the_letter_of_what_was_not_said(images, unsure, run, ask_questions):
    images.add("a.png")
    ask_questions(*UNSURE_QUESTIONS)
    before = run("qa")
    assert len(unsure.requests) == 3
    after = run("qa", changes=FALLBACK)
    assert after.answers == before.answers
    ((_, asked),) = unsure.requests[3:]
    assert asked["structured_outputs"] == {"choice": ["A", "B", "C"]}
    said, wanted = asked["messages"][1:]
    assert said == {"role": "assistant", "content": "A cat or a dog."}
    assert wanted["role"] == "user"
    assert {name: line.get("fallback", {}).get("text") for name, line in after.lines.items()} == {
        "q1": None,
        "q2": "B",
        "q3": None,
    }
    assert run("qa", changes=FALLBACK).lines == after.lines
    assert "fallback" not in run("qa").lines["q2"]
    assert len(unsure.requests) == 4


def test_a_changed_image_asks_the_fallback_again_even_after_the_same_words(images, unsure, run, ask_questions, encode):
    images.add("a.png")
    ask_questions(*UNSURE_QUESTIONS)
    run("qa", changes=FALLBACK)
    (images.path / "a.png").write_bytes(encode(Image.new("RGB", (9, 9), "red")))
    run("qa", changes=FALLBACK)
    assert len(unsure.requests) == 8


def test_duplicates_share_the_fallbacks_letter_too(images, unsure, run, ask_questions):
    images.add("a.png")
    (images.path / "b.png").write_bytes((images.path / "a.png").read_bytes())
    _, question, names = UNSURE_QUESTIONS[1]
    ask_questions(("q1", question, names), ("q2", question, ["b.png"]))
    first = run("qa", changes=FALLBACK)
    assert [first.lines[name]["fallback"]["text"] for name in ("q1", "q2")] == ["B", "B"]
    assert run("qa", changes=FALLBACK).lines == first.lines
    assert len(unsure.requests) == 2


def test_a_fallback_that_fails_leaves_the_answer(images, unsure, run, ask_questions):
    images.add("a.png")
    ask_questions(*UNSURE_QUESTIONS)
    unsure.refuses_choices = True
    result = run("qa", changes=FALLBACK)
    assert result.failures == {}
    assert result.answers["q2"] == "A cat or a dog."
    assert result.lines["q2"]["fallback"]["failure"] == "request_rejected"


def test_an_image_that_vanishes_before_the_fallback_costs_only_the_letter(images, unsure, run, jobs, ask_questions):
    images.add("a.png")
    (images.path / "b.png").write_bytes((images.path / "a.png").read_bytes())
    _, question, names = UNSURE_QUESTIONS[1]
    ask_questions(("q1", question, names))
    run("qa", changes=FALLBACK)
    for path in jobs("qa")[0].journal.glob("*.jsonl"):
        path.unlink()
    os.utime(images.path / "a.png", (1, 1))  # so that it is read again before its known letter is used
    reply = unsure.answers[0]

    def vanish(handler, body):
        (images.path / "a.png").unlink(missing_ok=True)
        return reply(handler, body)

    unsure.answers = [vanish, reply]
    ask_questions(("q1", question, names), ("q2", question, ["b.png"]))
    result = run("qa", changes=FALLBACK | {"client": {"concurrency": 1}})
    assert result.answers == dict.fromkeys(("q1", "q2"), unsure.words)
    assert result.lines["q1"]["fallback"]["failure"] == "missing_image"


def test_words_that_are_no_text_are_asked_for_their_letter_all_the_same(images, unsure, run, ask_questions):
    images.add("a.png")
    ask_questions(UNSURE_QUESTIONS[1])
    unsure.words = "Half of a sign: \ud83d"
    result = run("qa", changes=FALLBACK)
    assert result.answers == {"q2": unsure.words}
    assert result.lines["q2"]["fallback"]["text"] == "B"


def test_journal_lines_name_the_settings_and_the_files(images, server, run, jobs):
    images.add("a.png")
    run()
    (line,) = (line for path in jobs()[0].journal.glob("*.jsonl") for line in read_json_lines(path))
    stat = (images.path / "a.png").stat()
    assert line["fingerprint"] == fingerprint(jobs()[0].settings)
    name, stamp, digest = line["files"][0]
    assert (name, stamp) == ("a.png", [stat.st_size, stat.st_mtime_ns])
    assert len(digest) == 24
    assert json.dumps(line).count("base64") == 0


CAPTION_TEXT = "<image>Describe this image in detail."


def test_a_server_that_rejects_everything_stops_the_chunk_early(images, server, run, jobs, journal_ids):
    images.add(*(f"{number}.png" for number in range(200)))
    server.fail({"status": 400, "body": {"error": {"message": "unknown option min_p"}}})
    with pytest.raises(ServerRefusedError, match=r"last 50 items that were asked for all failed.*unknown option min_p"):
        run()
    assert len(server.asked) < 60
    assert journal_ids(jobs()[0]) == []


def test_a_server_that_begins_to_reject_everything_stops_the_chunk_and_keeps_what_is_there(
    images, server, run, jobs, journal_ids
):
    images.add(*NAMES)
    run()
    images.add(*(f"{number}.png" for number in range(200)))
    server.fail({"status": 400})
    with pytest.raises(ServerRefusedError):
        run()
    assert len(server.asked) < len(NAMES) + 60
    assert set(journal_ids(jobs()[0])) == set(NAMES)
    server.heal()
    assert len(run().answers) == 212


def test_no_more_images_are_decoded_at_once_than_there_are_cores(images, server, run, monkeypatch):
    images.add(*NAMES)
    at_work, most, guard = [], [], threading.Lock()
    encode_image = item_module.encode_image

    def watched(*arguments):
        with guard:
            at_work.append(1)
            most.append(len(at_work))
        time.sleep(0.02)
        with guard:
            at_work.pop()
        return encode_image(*arguments)

    monkeypatch.setattr(item_module, "encode_image", watched)
    cores = len(os.sched_getaffinity(0))
    assert set(run(changes={"client": {"concurrency": 8 * cores}}).answers) == set(NAMES)
    assert 1 <= max(most) <= cores


def test_slow_files_are_read_at_the_same_time(images, server, run, monkeypatch):
    images.add(*MANY)
    all_read, read_stamped = threading.Barrier(8, timeout=20), source_module.read_stamped

    def slow(path):
        all_read.wait()
        return read_stamped(path)

    monkeypatch.setattr(source_module, "read_stamped", slow)
    assert set(run(changes={"client": {"concurrency": 8}}).answers) == set(MANY)


@pytest.fixture
def damaged(images, encode):
    """Put complete PNG files into the folder that have a few wrong bytes in their pictures."""

    def add(*names):
        for number, name in enumerate(names):
            data = bytearray(encode(Image.effect_noise((64, 64), number + 50)))
            data[1000:1010] = b"\xff" * 10
            (images.path / name).write_bytes(data)

    return add


@pytest.mark.parametrize("status", [400, 500])
def test_a_damaged_image_that_the_server_rejects_is_unreadable_and_a_good_one_is_rejected(
    images, server, run, damaged, status
):
    images.add(*NAMES, "good.png")
    run()
    damaged("bad.png")
    (images.path / "other.png").write_bytes((images.path / "good.png").read_bytes())
    server.fail({"status": status}, only=CAPTION_TEXT)
    result = run(changes={"client": {"deduplicate": False}})
    assert result.failures["bad.png"] == "unreadable_image"
    assert "'bad.png': OSError: " in result.lines["bad.png"]["detail"]
    assert result.failures["other.png"] == ("request_rejected" if status == 400 else "server_error")


def test_many_damaged_images_are_their_own_fault(images, server, run, damaged):
    names = [f"{number}.png" for number in range(60)]
    damaged(*names)
    server.fail({"status": 400})
    assert run().failures == dict.fromkeys(names, "unreadable_image")


def test_duplicates_of_a_damaged_image_end_like_it_though_the_file_changes_meanwhile(
    images, scripted, publish, run, damaged, monkeypatch
):
    waits, join = threading.Event(), DuplicateRequests.join

    def joined(duplicates, key, waiter):
        found = join(duplicates, key, waiter)
        if found == (False, None):
            waits.set()
        return found

    monkeypatch.setattr(DuplicateRequests, "join", joined)
    damaged("a.png")
    (images.path / "b.png").write_bytes((images.path / "a.png").read_bytes())

    def reject(handler, body):
        assert waits.wait(20)  # the other one is read
        for name in ("a.png", "b.png"):
            (images.path / name).write_bytes((images.path / name).read_bytes() + b"\0")
        handler.send_response(400)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    publish(scripted.url)
    scripted.answers = [reject]
    assert run().failures == dict.fromkeys(["a.png", "b.png"], "unreadable_image")
    assert len(scripted.requests) == 1


def test_many_bad_images_in_a_row_stop_no_chunk_of_which_others_are_answered(images, server, run):
    images.add(*NAMES)
    run()
    images.add(*(f"{number}.png" for number in range(120)))
    server.fail({"status": 400}, only=CAPTION_TEXT)
    result = run()
    assert len(result.failures) == 120
    assert set(result.answers) == set(NAMES)


def test_an_outage_without_an_end_fails_the_chunk_and_blames_no_item(images, server, run, jobs):
    images.add(*NAMES)
    server.fail({"status": 502})
    with pytest.raises(ServerDeadError, match="HTTP 502"):
        run(changes={"client": {"server_wait_s": 0.5}})
    server.heal()
    assert set(run().answers) == set(NAMES)


@pytest.fixture
def duplicates(images):
    """Twelve images, and a copy of each under another name."""
    images.add(*NAMES)
    for name in NAMES:
        (images.path / f"copy of {name}").write_bytes((images.path / name).read_bytes())
    return {f"copy of {name}": name for name in NAMES}


def test_identical_images_are_asked_once_and_journaled_each(duplicates, server, run, jobs, tmp_path):
    server.set(delay_s=0.02)
    result = run()
    assert len(server.asked) == len(NAMES)
    assert all(result.answers[copy] == result.answers[name] for copy, name in duplicates.items())
    assert (result.header["asked"], result.header["shared"]) == (12, 12)
    assert read_json(tmp_path / "progress" / "0.json")["shared"] == 12
    shared = {name: line["same_as"] for name, line in result.lines.items() if "same_as" in line}
    assert all(duplicates.get(one) == other or duplicates.get(other) == one for one, other in shared.items())
    assert len(shared) == 12
    lines = [line for path in jobs()[0].journal.glob("*.jsonl") for line in read_json_lines(path)]
    assert {line["id"]: line["same_as"] for line in lines if "same_as" in line} == shared
    again = run()
    assert (again.lines, again.header["known"], len(server.asked)) == (result.lines, 24, 12)


def test_identical_images_are_each_asked_where_the_user_wants_it(duplicates, server, run):
    result = run(changes={"client": {"deduplicate": False}})
    assert len(server.asked) == 24
    assert not any("same_as" in line for line in result.lines.values())


def test_more_duplicates_than_threads_wait_without_a_thread(images, scripted, publish, run):
    images.add("0.png")
    for number in range(1, 30):
        (images.path / f"{number}.png").write_bytes((images.path / "0.png").read_bytes())
    images.add("other.png")
    other = base64.b64encode((images.path / "other.png").read_bytes()).decode()
    other_asked, in_time = threading.Event(), []

    def serve(handler, body):
        if other in str(body):
            other_asked.set()
        else:
            in_time.append(other_asked.wait(10))
        answer_well(handler)

    publish(scripted.url)
    scripted.answers = [serve]
    result = run(changes={"client": {"concurrency": 2}})
    assert in_time == [True]
    assert (len(scripted.requests), len(result.answers)) == (2, 31)


def test_duplicates_of_a_failed_item_fail_the_same_way(duplicates, server, run):
    server.fail({"status": 400}, only=CAPTION_TEXT)
    result = run()
    assert set(result.failures.values()) == {"request_rejected"}
    assert len(result.failures) == 24
    assert len(server.asked) == 12
    server.heal()
    assert len(run().answers) == 24


def test_a_copy_that_was_added_later_gets_the_journaled_answer(images, server, run):
    images.add(*NAMES)
    first = run()
    for name in NAMES:
        (images.path / f"z{name}").write_bytes((images.path / name).read_bytes())
    again = run(changes={"client": {"concurrency": 1}})
    assert {name: again.answers[name] for name in NAMES} == first.answers
    assert again.header["asked"] + again.header["shared"] == 12
    assert again.header["shared"] > 0


def test_questions_share_an_answer_only_with_the_same_words_and_images_in_order(images, server, run, ask_questions):
    images.add("a.png", "b.png")
    (images.path / "c.png").write_bytes((images.path / "a.png").read_bytes())
    ask_questions(
        ("q1", "What?", ["a.png", "b.png"]),
        ("q2", "What?", ["c.png", "b.png"]),
        ("q3", "What?", ["b.png", "a.png"]),
        ("q4", "Where?", ["a.png", "b.png"]),
    )
    result = run("qa")
    assert len(server.asked) == 3
    assert result.answers["q1"] == result.answers["q2"]
    assert len(set(result.answers.values())) == 3


def answer_well(handler):
    data = json.dumps({"choices": [{"message": {"content": "fine"}}]}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def crashing(scripted, publish):
    """A server that crashes on one image and answers all others; it may restart `spare` times."""
    scripted.spare, scripted.crashes = 1, 0

    def serve(handler, body):
        if scripted.poison in str(body):
            scripted.crashes += 1
            alive = scripted.crashes <= scripted.spare
            state = State.READY if alive else State.DEAD
            publish(
                scripted.url,
                state=state,
                generation=1 + scripted.crashes,
                crashes=scripted.crashes,
                reason=None if alive else "it crashed",
            )
            handler.close_connection = True
            return handler.connection.close()
        return answer_well(handler)

    scripted.answers = [serve]
    publish(scripted.url)
    return scripted


@pytest.fixture
def poison(images, crashing):
    images.add(*NAMES)
    crashing.poison = base64.b64encode((images.path / NAMES[3]).read_bytes()).decode()
    return NAMES[3]


def test_an_item_under_way_at_two_crashes_is_set_aside_across_runs(poison, crashing, run, jobs, publish):
    crashing.spare = 0
    with pytest.raises(ServerDeadError, match="it crashed"):
        run()
    crashing.spare = 2
    publish(crashing.url)  # the next run's server
    crashing.crashes = 0
    result = run()
    assert result.failures == {poison: "server_error"}
    assert len(result.answers) == len(NAMES) - 1
    assert crashing.crashes == 1
    assert run().failures == {poison: "server_error"}
    assert crashing.crashes == 1


def test_an_item_that_crashes_the_server_by_a_reference_is_not_asked_in_bytes(poison, crashing, images, run):
    crashing.poison, crashing.spare = file_url((images.path / poison).resolve()).decode(), 1000
    assert run(changes={"client": {"image_transport": "file"}}).failures == {poison: "server_error"}
    assert crashing.crashes == 2
    encoded = base64.b64encode((images.path / poison).read_bytes()).decode()
    assert not any(encoded in str(body) for _, body in crashing.requests)


def test_all_that_were_under_way_as_the_server_died_are_in_the_journal(images, scripted, publish, jobs, monkeypatch):
    """Three were; the fourth thread, whose request failed before, learns of the server's end first."""
    monkeypatch.setattr(request_module, "CHECK_INTERVAL_S", 20)
    under_way, numbers, looks = threading.Barrier(4), itertools.count(), itertools.count(1)
    successor = ServerPool.successor

    def serve(handler, body):
        if (number := next(numbers)) < 4:
            under_way.wait(20)
        if number in (1, 2, 3):
            break_connection(handler)
        else:
            report_dead_engine(handler)

    def look(pool, server):
        found = successor(pool, server)
        if next(looks) == 4:  # of the three whose connections broke, and of the one that was answered
            publish(None, state=State.DEAD, crashes=1, reason="it crashed")
        return found

    monkeypatch.setattr(ServerPool, "successor", look)
    images.add(*NAMES)
    publish(scripted.url)
    scripted.answers = [serve]
    (job,) = jobs(changes={"client": {"backoff_s": 0.5}})
    with pytest.raises(ServerDeadError, match="it crashed"):
        ChunkRun(job).run()
    lines = [line for path in job.journal.glob("*.jsonl") for line in read_json_lines(path)]
    assert len({line["id"] for line in lines if "crashed" in line}) == 3


@pytest.mark.parametrize(("reason", "asked"), [("server_error", True), (None, True), ("timeout", False)])
def test_retry_failed_asks_again_for_what_was_set_aside(poison, crashing, run, make_config, reason, asked):
    crashing.spare = 2
    assert run().failures == {poison: "server_error"}
    crashing.spare = 1000
    assert retry_failed(make_config(), "captions", None, reason).apply() == asked
    assert run().failures == {poison: "server_error"}
    assert (crashing.crashes > 2) == asked


def test_a_fallback_under_way_at_two_crashes_is_not_asked_again_by_the_next_run(
    images, unsure, run, ask_questions, publish
):
    answer_well, crashes = unsure.answers[0], 0

    def crash(handler, body):
        nonlocal crashes
        if "structured_outputs" not in body:
            return answer_well(handler, body)
        crashes += 1
        publish(unsure.url, generation=1 + crashes, crashes=crashes)
        handler.close_connection = True
        return handler.connection.close()

    images.add("a.png")
    ask_questions(*UNSURE_QUESTIONS)
    unsure.answers = [crash]
    for _ in range(2):
        result = run("qa", changes=FALLBACK)
        assert result.failures == {}
        assert result.lines["q2"]["fallback"]["failure"] == "server_error"
        assert crashes == 2


def break_connection(handler):
    handler.close_connection = True
    handler.connection.close()


def report_dead_engine(handler):
    """As vLLM answers the requests in flight when its engine dies; vLLM itself ends some seconds later."""
    data = json.dumps({"error": {"message": "EngineCore encountered an issue.", "code": 500}}).encode()
    handler.send_response(500)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.mark.slow
@pytest.mark.parametrize("die", [break_connection, report_dead_engine])
def test_a_crash_that_shows_only_later_is_the_items_all_the_same(images, scripted, publish, run, monkeypatch, die):
    monkeypatch.setattr(request_module, "END_CHECKS", 1)
    backoff_s, pause = 0.1, ServerPool.pause

    def pause_and_see(pool, seconds):
        if (
            seconds >= backoff_s
        ):  # the last attempt has failed for good: the crash shows later, as on a slow file system
            crashes = len(scripted.requests)
            publish(scripted.url, generation=1 + crashes, crashes=crashes)
        pause(pool, seconds)

    monkeypatch.setattr(ServerPool, "pause", pause_and_see)
    images.add("a.png")
    publish(scripted.url)
    scripted.answers = [lambda handler, body: die(handler)]
    result = run(changes={"client": {"backoff_s": backoff_s, "max_attempts": 9}})
    assert result.failures == {"a.png": "server_error"}
    assert "crashed 2 times" in result.lines["a.png"]["detail"]
    assert len(scripted.requests) == 2


def test_a_clock_that_jumps_changes_nothing(images, server, run, monkeypatch):
    images.add(*NAMES)
    jumps = itertools.cycle([0.0, 1e9, 3.0, 2e9])  # years ahead and back, at each call
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    server.fail({"status": 503, "headers": {"Retry-After": "0.1"}}, times=1)
    result = run()
    assert set(result.answers) == set(NAMES)
    again = run()
    assert (again.answers, again.header["known"]) == (result.answers, len(NAMES))


def test_an_image_that_vanished_after_the_listing_is_a_missing_image(images, server, jobs, run):
    images.add(*NAMES)
    (job,) = jobs()
    (images.path / NAMES[0]).unlink()
    ChunkRun(job).run()
    _, *lines = read_json_lines(job.result)
    assert [(line["id"], line["failure"]) for line in lines if "failure" in line] == [(NAMES[0], "missing_image")]
    assert len([line for line in lines if "answer" in line]) == len(NAMES) - 1


@pytest.mark.slow
def test_an_image_without_permission_to_read_is_unreadable(
    images, server, jobs, start_python, tmp_path, ask_questions, without_privileges
):
    images.add("a.png", "b.png", "closed/c.png")
    ask_questions(("q1", "What?", ["a.png"]), ("q2", "What?", ["b.png"]), ("q3", "What?", ["closed/c.png"]))
    (job,) = jobs("qa")
    (images.path / "b.png").chmod(0)
    (images.path / "closed").chmod(0)
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    process = start_python(without_privileges + RUN, tmp_path / "job.pickle")
    _, said = process.communicate()
    (images.path / "closed").chmod(0o700)
    assert process.returncode == 0, said
    _, *lines = read_json_lines(job.result)
    assert {line["id"]: line["failure"] for line in lines if "failure" in line} == {
        "q2": "unreadable_image",
        "q3": "unreadable_image",
    }
    assert all("Permission denied" in line["detail"] for line in lines if "failure" in line)


def test_a_questions_path_that_leads_out_of_the_data_set_is_refused(images, server, run, ask_questions, tmp_path):
    images.add("a.png")
    outside = tmp_path / "outside.png"
    outside.write_bytes((images.path / "a.png").read_bytes())
    ask_questions(
        ("q1", "What?", [str(outside)]),
        ("q2", "What?", ["../outside.png"]),
        ("q3", "What?", ["a.png", "../outside.png"]),
        ("q4", "What?", [str(images.path / "a.png")]),
    )
    result = run("qa")
    assert result.failures == dict.fromkeys(["q1", "q2", "q3"], "path_outside_dataset")
    assert set(result.answers) == {"q4"}
    assert [request["images"] for request in server.asked] == [[result.answers["q4"].split()[1].rstrip(".")]]


@pytest.mark.slow
def test_a_question_of_100_images_is_asked_whole_within_the_models_context(
    images, scripted, publish, run, encode, ask_questions
):
    publish(scripted.url)
    scripted.answers = [(200, {}, {"choices": [{"message": {"content": "A"}}]})]
    names = [f"image{number}.png" for number in range(100)]
    for number, name in enumerate(names):
        (images.path / name).write_bytes(encode(Image.new("RGB", (640, 640), (number, 0, 0))))
    ask_questions(("q1", "Which?", names))
    assert set(run("qa").answers) == {"q1"}
    (_, body), *more = scripted.requests
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    sent = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
    assert [image.getpixel((0, 0))[0] for image in sent] == list(range(100))
    assert sum(image.width * image.height // 32**2 for image in sent) < 8192
    assert more == []


def test_a_folder_named_like_an_image_is_no_item_and_what_is_in_it_is(images, server, run):
    images.add("a.png", "x.jpg/b.png")
    assert set(run().answers) == {"a.png", "x.jpg/b.png"}


@pytest.fixture
def odd_names(images, encode):
    """A folder of pictures with difficult names."""
    names = [
        "two\nlines.png",
        "\"double\" 'single' `back`.png",
        "$(reboot) {n} %s \\n.png",
        "{style} {0} {.png",
        "ünï-中文-😀-e\u0301.png",
        " leading and trailing .png",
        "-rf.png",
        "<script>alert(1).png",
        "n" * 251 + ".png",
        b"caf\xe9.png".decode("utf-8", "surrogateescape"),
        "folder\n中/inside.png",
    ]
    images.add("spare.png", *(f"{number}" for number in range(len(names))))
    for number, name in enumerate(names):
        (images.path / name).parent.mkdir(exist_ok=True)
        (images.path / str(number)).rename(images.path / name)
    (images.path / "spare.png").unlink()
    return names


def test_a_name_comes_through_whatever_is_in_it(images, server, run, jobs, odd_names, tmp_path, caplog, journal_ids):
    broken = 'broken\n"中" \udce9.png'
    (images.path / broken).write_text("no image")
    result = run(chunks=3)
    assert set(result.answers) == set(odd_names)
    assert len(set(result.answers.values())) == len(odd_names)
    assert result.failures == {broken: "unreadable_image"}
    assert sorted(journal_ids(jobs()[0])) == sorted(odd_names)
    assert all("\n" not in record.getMessage() for record in caplog.records)

    made = [str(tmp_path / f"{kind}.json") for kind in ("captions", "failures", "provenance", "statistics")]
    merge_captions([str(job.result) for job in jobs(chunks=3)], jobs()[0].settings, str(images.path), *made)
    captions, failures, provenance, _ = map(read_json, made)
    assert captions == result.answers
    assert set(failures) == {broken}
    assert provenance["counts"]["items"] == len(odd_names) + 1

    before = len(server.asked)
    assert run(chunks=1).answers == result.answers
    assert len(server.asked) == before


def test_a_question_comes_through_whatever_is_in_its_names(images, server, run, odd_names, ask_questions):
    odd_names = [name for name in odd_names if "\udce9" not in name]  # a parquet's text is UTF-8
    ask_questions(*((name, f"What is {name}?", [name]) for name in odd_names), ("none\n'\"", "What?", ["a\n.png"]))
    result = run("qa")
    assert set(result.answers) == set(odd_names)
    assert result.failures == {"none\n'\"": "missing_image"}


@pytest.mark.parametrize("task", ["captions", "qa"])
def test_the_audit_tells_every_failure_beforehand_and_no_other(
    images, server, run, jobs, make_config, ask_questions, task
):
    images.add(*NAMES)
    (images.path / "missing.png").symlink_to("nowhere.png")
    (images.path / "out.png").symlink_to("/etc/hostname")
    (images.path / "text.png").write_text("no image")
    Image.new("RGB", (40, 40)).save(images.path / "large.png")
    names = sorted(path.name for path in images.path.iterdir())
    ask_questions(*((name, "What?", [name]) for name in names), ("marks", "<image><image>", [NAMES[0]]))
    changes = {"client": {"images": {"max_source_pixels": 1000}}}
    config = make_config(changes)
    layout = Layout(config.output_dir, "tiny")
    jobs(task, changes=changes)
    audit(config, layout, [("", task)])
    rows = pd.read_csv(layout.audit, sep="\t").query("finding in @reasons", local_dict={"reasons": list(Reason)})
    failures = run(task, changes=changes).failures
    assert dict(zip(rows["item"], rows["finding"], strict=True)) == failures
    assert len(failures) == (4 if task == "captions" else 5)


def test_a_result_tells_the_contents_that_it_is_about_known_or_asked(images, server, run):
    images.add("a.png", "b.png")
    first = {name: line["files"] for name, line in run().lines.items()}
    assert {name: line["files"] for name, line in run().lines.items()} == first
    os.utime(images.path / "a.png", ns=(1, 1))
    assert {name: line["files"] for name, line in run().lines.items()} == first
    (images.path / "a.png").write_bytes((images.path / "b.png").read_bytes())
    assert run().lines["a.png"]["files"] == first["b.png"] != first["a.png"]
