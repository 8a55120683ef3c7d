"""One chat completion: a time limit and a size limit for the whole of it, and no answer that breaks the client."""

import json
import socket
import threading
import time
from contextlib import suppress

import pytest
from captionqa.client import chat_completion
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import ImagePart
from captionqa.client.request_errors import TransientError
from captionqa.errors import Reason
from captionqa.server.endpoint import Endpoint, State

SHORT_S = 0.3
#: A time limit of a request ends it by then, also on a busy machine.
SOON_S = 5.0
QUESTION = ChatRequest(["Which animal is this?"], max_tokens=9)
BEGINNINGS = {
    "blank lines": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"."),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n\n\r\n"),
    "promises": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


def complete(url, request=QUESTION, timeout_s=20.0, client=None):
    server = Endpoint(replica=0, request_id="1", settings="1", model="tiny", state=State.READY, url=url)
    return (client or CompletionClient(1, timeout_s, own=False)).complete(server, None, request.body({}))


def failure(url, **options):
    started = time.monotonic()
    with pytest.raises(TransientError) as error:
        complete(url, **options)
    assert time.monotonic() - started < SOON_S
    return error.value


def answer(text="A cat.", **usage):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage}


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_what_a_reasoning_parser_took_out_stands_beside_the_text(scripted, name):
    body = answer("B.")
    body["choices"][0]["message"][name] = "It may be A."
    scripted.answers = [(200, {}, body), (200, {}, answer("B."))]
    got = complete(scripted.url)
    assert (got["text"], got["reasoning"]) == ("B.", "It may be A.")
    assert "reasoning" not in complete(scripted.url)


@pytest.mark.parametrize("what", BEGINNINGS)
def test_an_answer_that_trickles_is_a_timeout(scripted, what):
    over = threading.Event()

    def trickle(handler, body):
        beginning, more = BEGINNINGS[what]
        deadline = time.monotonic() + 2 * SOON_S
        with suppress(OSError):
            handler.wfile.write(beginning)
            while not over.wait(SHORT_S / 10) and time.monotonic() < deadline:
                handler.wfile.write(more)
        handler.close_connection = True

    scripted.answers = [trickle]
    error = failure(scripted.url, timeout_s=SHORT_S)
    over.set()
    assert error.reason is Reason.TIMEOUT


def test_a_request_that_the_server_does_not_read_is_a_timeout():
    picture = ImagePart(b"data:image/png;base64," + b"A" * 30_000_000)  # more than the kernel takes unread
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert failure(url, request=ChatRequest([picture], 9), timeout_s=SHORT_S).reason is Reason.TIMEOUT


@pytest.mark.slow
def test_a_connection_that_waited_unused_has_the_whole_time_for_the_next_request(scripted):
    def answer_late(handler, body):
        time.sleep(SHORT_S / 2)
        data = json.dumps(answer()).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    scripted.answers = [answer_late]
    client = CompletionClient(1, SHORT_S * 4, own=False)
    for _ in range(3):
        time.sleep(SHORT_S)
        assert complete(scripted.url, client=client)["text"] == "A cat."


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_without_end_is_a_failure_and_is_not_kept(scripted, monkeypatch, declared):
    monkeypatch.setattr(chat_completion, "MAX_ANSWER_BYTES", 1 << 20)
    sent = []

    def pour(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 9000000000\r\n" if declared else b"") + b"\r\n")
        with suppress(OSError):
            while sum(sent) < 1 << 30:
                sent.append(handler.connection.send(b" " * 65536))
        handler.close_connection = True

    scripted.answers = [pour]
    error = failure(scripted.url)
    assert (error.reason, str(error)) == (Reason.SERVER_ERROR, "the answer is larger than 1 MB")
    assert sum(sent) < 1 << 26


@pytest.mark.parametrize(
    "count", ["1e999", "-1e999", "NaN", "-3", "1e300", "9" * 400, "9" * 4000, '"many"', "[1]", "null"]
)
def test_a_token_count_without_sense_counts_as_none_and_the_answer_is_kept(scripted, count):
    data = json.dumps(answer(prompt_tokens=7, completion_tokens="COUNT")).replace('"COUNT"', count).encode()
    scripted.answers = [(200, {}, data)]
    got = complete(scripted.url)
    assert (got["text"], got["prompt_tokens"], got["completion_tokens"]) == ("A cat.", 7, 0)


@pytest.mark.parametrize(
    "value", [None, 7, {"content": None}, {"content": [{"token": "A"}]}, {"content": [{"token": "A", "logprob": "x"}]}]
)
def test_log_probabilities_of_no_known_form_are_left_out_and_the_answer_is_kept(scripted, value):
    given = answer()
    given["choices"][0]["logprobs"] = value
    scripted.answers = [(200, {}, given)]
    got = complete(scripted.url)
    assert (got["text"], "logprobs" in got) == ("A cat.", False)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"choices": [{"message": {"content": ' + b'{"a": ' * 100_000,
        json.dumps(answer([{"type": "text", "text": "A cat."}])),
        json.dumps(answer()).replace('"stop"', "[1e999]"),
        b"9" * 5000,
        b"1e999",
        b'"' + b"x" * 100_000,
    ],
    ids=["lists", "deep choices", "deep content", "parts", "finish_reason", "digits", "infinite", "long"],
)
def test_json_that_is_no_chat_completion_is_a_failure_in_one_short_sentence(scripted, data):
    scripted.answers = [(200, {}, data.encode() if isinstance(data, str) else data)]
    error = failure(scripted.url)
    assert error.reason is Reason.SERVER_ERROR
    assert str(error).startswith("the answer is no chat completion: ")
    assert len(str(error)) < 400


def test_a_servers_message_that_is_nested_without_end_is_quoted_as_it_is(scripted):
    scripted.answers = [(500, {}, b"[" * 50_000)]
    assert str(failure(scripted.url)).startswith("HTTP 500: [[[")
