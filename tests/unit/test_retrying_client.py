"""The client: it retries only where that can help, and only the model's own output is an answer."""

import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest
from captionqa.client import circuit_breaker as circuit_module
from captionqa.client import retried_request as request_module
from captionqa.client import server_pool as pool_module
from captionqa.client.adaptive_concurrency import initial_limit
from captionqa.client.api_key import ApiKeys
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import ImagePart
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.retrying_client import RetryingClient
from captionqa.client.server_pool import ServerPool
from captionqa.config.prompts import place_images
from captionqa.config.settings import request_parameters
from captionqa.errors import ItemFailure, Reason, RunStoppedError, ServerDeadError, ServerRefusedError
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import State

TEXT = "<image>Which animal is this?"
REQUEST = ChatRequest([ImagePart(b"data:image/png;base64,AAAA"), "Which animal is this?"], max_tokens=9)
#: The same in OpenAI's chat format.
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "text", "text": "Which animal is this?"},
        ],
    }
]


def completion(content, **changes):
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}} | changes


GOOD = (200, {}, completion("A cat."))


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    """Look at the endpoint files more often, so that waiting for a change of them is short."""
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(request_module, "CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(request_module, "STALE_FILE_S", 0.1)


@pytest.fixture
def make_client(make_config, server_folder):
    """A client of the servers published in the folder; settings of `client` may be changed."""

    def make(sampling=None, own=False, **changes):
        settings = make_config({"client": changes}).client
        limiter = InFlightLimiter(initial_limit(settings.concurrency))
        lease = LeaseWatch(server_folder, 600)
        pool = ServerPool(server_folder, lease, settings.server_wait_s, settings.backoff_s, limiter)
        keys = ApiKeys(server_folder, own)
        made = RetryingClient(pool, settings, keys, request_parameters({"sampling": sampling or settings.sampling}))
        made.pool, made.limiter = pool, limiter
        return made

    return make


def no_trial(server):
    raise AssertionError("no server is on trial here")


@pytest.fixture
def ask(make_client):
    return lambda **changes: make_client(**changes).ask(REQUEST)


def failure(call, **changes):
    with pytest.raises(ItemFailure) as error:
        call(**changes)
    return error.value


@pytest.fixture
def in_background():
    """Run something in a thread; gives a function that waits for its result, or for the exception that it raised."""

    def start(call):
        box = {}

        def run():
            try:
                box["value"] = call()
            except Exception as error:
                box["value"] = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def outcome():
            thread.join(60)
            return box["value"]

        outcome.over = lambda: not thread.is_alive()
        return outcome

    return start


def close(handler, body=None):
    handler.close_connection = True
    handler.connection.close()


def answer_well(handler):
    body = json.dumps(GOOD[2]).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def half(handler, body=None):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "half of an ans')
    handler.close_connection = True


def test_an_answer_has_the_models_words_the_counts_and_the_server(publish, stand_in, ask):
    publish(stand_in.url, generation=3, versions={"vllm": "1.2"})
    answer = ask()
    assert answer["text"].endswith("The answer is A.")
    assert (answer["finish_reason"], answer["prompt_tokens"], answer["completion_tokens"]) == ("stop", 10, 5)
    assert answer["server"] == {"url": stand_in.url, "generation": 3, "vllm": "1.2"}


def test_an_answer_cut_by_its_length_is_kept_as_such(publish, stand_in, ask):
    publish(stand_in.url)
    stand_in.fail("length")
    answer = ask()
    assert (answer["text"], answer["finish_reason"]) == ("cut short", "length")


@pytest.mark.parametrize("finish_reason", ["abort", "error"])
def test_half_an_answer_of_a_server_that_gave_up_is_no_answer(publish, scripted, ask, finish_reason):
    publish(scripted.url)
    half_way = {"message": {"role": "assistant", "content": "The answer is"}, "finish_reason": finish_reason}
    scripted.answers = [(200, {}, {"choices": [half_way]}), GOOD]
    assert ask()["text"] == "A cat."
    scripted.answers = [(200, {}, {"choices": [half_way]})]
    assert failure(ask).reason is Reason.SERVER_ERROR


def test_a_request_carries_model_messages_length_sampling_and_key(publish, scripted, make_client, server_folder):
    publish(scripted.url)
    endpoint.write_key(server_folder, "secret")
    scripted.answers = [GOOD]
    sampling = {"temperature": 0.5, "top_k": 3, "seed": None}
    assert make_client(sampling=sampling).ask(REQUEST)["text"] == "A cat."
    headers, body = scripted.requests[0]
    assert body == {"model": "tiny", "messages": MESSAGES, "max_tokens": 9, "temperature": 0.5, "top_k": 3}
    assert headers["Authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [GOOD]
    ask()
    assert "Authorization" not in scripted.requests[0][0]


TRANSIENT = [
    *({"status": status} for status in (408, 429, 500, 502, 503, 504, 599)),
    *("half", "html", "close", "no choices", "empty", "null"),
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=str)
def test_what_may_pass_is_asked_again(publish, stand_in, ask, fault):
    publish(stand_in.url)
    stand_in.fail(fault, times=1)
    assert ask()["text"].endswith("The answer is A.")
    assert len(stand_in.asked) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 500}, Reason.SERVER_ERROR),
        ({"status": 429}, Reason.SERVER_ERROR),
        ({"status": 408}, Reason.TIMEOUT),
        ("half", Reason.SERVER_ERROR),
        ("html", Reason.SERVER_ERROR),
        ("close", Reason.SERVER_ERROR),
        ("no choices", Reason.SERVER_ERROR),
    ],
    ids=str,
)
def test_what_does_not_pass_is_a_failure_after_max_attempts(publish, stand_in, ask, fault, reason):
    publish(stand_in.url)
    stand_in.fail(fault, only=TEXT)
    error = failure(ask, max_attempts=3)
    assert error.reason is reason
    assert "3 attempts" in error.detail
    assert len(stand_in.asked) == 3


def test_no_answer_in_time_is_a_timeout_after_max_attempts(publish, stand_in, ask, eventually):
    publish(stand_in.url)
    stand_in.fail("hang", only=TEXT)
    assert failure(ask, max_attempts=2, request_timeout_s=0.2).reason is Reason.TIMEOUT
    # on a busy machine a trial takes too long as well, and then all attempts are made again
    eventually(lambda: len(stand_in.asked) == 2 * len(stand_in.trials) > 0, "two requests before each trial")


def test_an_answer_that_stops_half_way_is_a_timeout_too(publish, scripted, ask):
    over = threading.Event()

    def stop_half_way(handler, body):
        half(handler)
        over.wait(60)

    publish(scripted.url)
    scripted.answers = [stop_half_way]
    assert failure(ask, max_attempts=1, request_timeout_s=0.2).reason is Reason.TIMEOUT
    over.set()


def test_a_timeout_is_asked_again(publish, stand_in, ask):
    publish(stand_in.url)
    stand_in.fail("hang", times=1)
    assert ask(request_timeout_s=0.5)["text"].endswith("The answer is A.")


@pytest.mark.parametrize("status", [400, 403, 409, 413, 415, 422])
def test_a_rejected_request_is_not_asked_again(publish, stand_in, ask, status):
    publish(stand_in.url)
    stand_in.fail({"status": status, "body": {"error": {"message": "the image is broken"}}})
    error = failure(ask, max_attempts=5)
    assert error.reason is Reason.REQUEST_REJECTED
    assert f"HTTP {status}: the image is broken" in error.detail
    assert len(stand_in.asked) == 1


@pytest.mark.parametrize("fault", ["empty", "null"])
def test_an_empty_output_is_asked_again_once_only(publish, stand_in, ask, fault):
    publish(stand_in.url)
    stand_in.fail(fault)
    assert failure(ask, max_attempts=5).reason is Reason.EMPTY_OUTPUT
    assert len(stand_in.asked) == 2


def test_an_answer_that_was_cut_within_its_reasoning_is_no_empty_output(publish, scripted, ask):
    publish(scripted.url)
    body = completion(None)
    body["choices"][0]["finish_reason"] = "length"
    body["choices"][0]["message"]["reasoning"] = "It may be A, or"
    scripted.answers = [(200, {}, body)]
    assert ask()["reasoning"] == "It may be A, or"


def test_white_space_is_an_empty_output(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(200, {}, completion(" \n\t"))]
    assert failure(ask).reason is Reason.EMPTY_OUTPUT


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "CUDA error", "code": 500}},
        {"object": "error", "message": "the engine died"},
        {"choices": []},
        {"choices": [{"message": {}}]},
        {"choices": [{"text": "no chat"}]},
        {"choices": [{"message": {"content": ["a", "list"]}}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": None},
        ["The answer is A."],
        "The answer is A.",
        None,
        b"<html><body>The answer is A.</body></html>",
        b"The answer is A.",
        b"",
        b"\xff\xfe",
    ],
    ids=str,
)
def test_an_error_text_never_becomes_an_answer(publish, scripted, ask, body):
    publish(scripted.url)
    scripted.answers = [(200, {}, body)]
    error = failure(ask, max_attempts=2)
    assert error.reason is Reason.SERVER_ERROR
    assert len(scripted.requests) == 2


def test_the_detail_of_a_failure_does_not_hold_the_image(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(400, {}, {"error": {"message": "x" * 100_000}})]
    assert len(failure(ask).detail) < 1000


@pytest.mark.slow
def test_retry_after_in_seconds_is_obeyed(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(429, {"Retry-After": "1"}, b""), GOOD]
    began = time.monotonic()
    assert ask()["text"] == "A cat."
    assert time.monotonic() - began >= 1


@pytest.mark.slow
def test_retry_after_as_a_date_is_obeyed(publish, scripted, ask):
    publish(scripted.url)
    until = (datetime.now(UTC) + timedelta(seconds=1.5)).replace(microsecond=0)
    scripted.answers = [(503, {"Retry-After": format_datetime(until, usegmt=True)}, b""), GOOD]
    assert ask()["text"] == "A cat."
    assert datetime.now(UTC) >= until


@pytest.mark.slow
def test_a_trial_after_the_last_attempt_obeys_retry_after_too(publish, scripted, ask):
    def try_out(handler, body):
        tried.append(time.monotonic())
        answer_well(handler)

    publish(scripted.url)
    tried, scripted.trial, scripted.answers = [], try_out, [(429, {"Retry-After": "1"}, b"")]
    began = time.monotonic()
    assert failure(ask, max_attempts=1, server_wait_s=0.1).reason is Reason.SERVER_ERROR
    assert [at - began >= 1 for at in tried] == [True]


@pytest.mark.parametrize("value", ["soon", "", "-5", "nan", formatdate(0, usegmt=True)])
def test_a_retry_after_without_sense_is_no_obstacle(publish, scripted, ask, value):
    publish(scripted.url)
    scripted.answers = [(429, {"Retry-After": value}, b""), GOOD]
    assert ask()["text"] == "A cat."


def test_a_long_retry_after_is_not_taken_for_a_dead_server(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(429, {"Retry-After": "0.4"}, b""), GOOD]
    assert ask(server_wait_s=0.2)["text"] == "A cat."


@pytest.mark.slow
def test_a_date_to_retry_after_is_read_by_the_servers_own_clock(publish, scripted, ask):
    def come_back(handler, body):
        handler.send_response_only(503)
        handler.send_header("Date", "Mon, 01 Jan 2035 12:00:00 GMT")
        handler.send_header("Retry-After", "Mon, 01 Jan 2035 12:00:01 GMT")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    publish(scripted.url)
    scripted.answers = [come_back, GOOD]
    began = time.monotonic()
    assert ask()["text"] == "A cat."
    assert time.monotonic() - began >= 1


@pytest.mark.slow
def test_retry_after_is_obeyed_by_all_threads(publish, scripted, make_client, in_background, eventually):
    publish(scripted.url)
    scripted.answers = [(429, {"Retry-After": "1"}, b""), GOOD]
    made = make_client(concurrency=4)
    began = time.monotonic()
    told = in_background(lambda: made.ask(REQUEST))
    eventually(lambda: made.limiter.overloads, "the first answer")
    others = [in_background(lambda: (made.ask(REQUEST), time.monotonic())) for _ in range(3)]
    assert all(outcome()[1] - began >= 1 for outcome in others)
    assert told()["text"] == "A cat."


def test_a_server_that_takes_few_requests_at_a_time_costs_no_item(publish, scripted, make_client, in_background):
    taken = itertools.count()

    def take_every_eighth(handler, body):
        if next(taken) % 8 == 7:
            return answer_well(handler)
        handler.send_response(429)
        handler.send_header("Retry-After", "0.01")
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    publish(scripted.url)
    scripted.answers = [take_every_eighth]
    made = make_client(concurrency=8, max_attempts=2)
    outcomes = [in_background(lambda: made.ask(REQUEST)["text"]) for _ in range(8)]
    assert [outcome() for outcome in outcomes] == ["A cat."] * 8


@pytest.mark.parametrize(
    ("answer", "overloads"),
    [((429, {}, b""), 1), ((408, {}, b""), 1), ((503, {}, b""), 0), (close, 0), (GOOD, 0)],
)
def test_a_server_without_time_for_a_request_is_noted(publish, scripted, make_client, answer, overloads):
    publish(scripted.url)
    scripted.answers = [answer, GOOD]
    made = make_client()
    assert made.ask(REQUEST)["text"] == "A cat."
    limiter = made.limiter
    assert (limiter.overloads, limiter.answered, limiter.in_flight) == (overloads, 1, 0)


def test_a_request_that_takes_too_long_is_noted(publish, scripted, make_client):
    over = threading.Event()

    def answer_late(handler, body):
        over.wait(60)
        handler.close_connection = True

    publish(scripted.url)
    scripted.answers = [answer_late, GOOD]
    made = make_client(request_timeout_s=0.2, max_attempts=100)
    assert made.ask(REQUEST)["text"] == "A cat."
    over.set()
    limiter = made.limiter
    # on a busy machine a good answer takes too long as well
    assert (limiter.overloads, limiter.answered, limiter.in_flight) == (len(scripted.requests) - 1, 1, 0)


def test_an_item_that_alone_is_put_off_for_ever_fails_after_a_while(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(429, {"Retry-After": "0.01"}, b"too long")]
    assert "HTTP 429: too long (2 attempts)" in failure(ask, max_attempts=2, server_wait_s=0.2).detail


def test_retry_after_of_one_server_keeps_nobody_from_another(publish, scripted, stand_in, ask):
    publish(scripted.url, replica=0)
    publish(stand_in.url, replica=1)
    scripted.answers = [(429, {"Retry-After": "500"}, b"")]
    assert [ask()["text"].endswith("The answer is A.") for _ in range(4)] == [True] * 4


@pytest.mark.parametrize(("status", "what"), [(401, "the key"), (404, "the model 'tiny'")])
def test_a_server_that_refuses_the_key_or_the_model_blames_no_item(publish, scripted, ask, status, what):
    publish(scripted.url)
    scripted.answers = [(status, {}, {"error": {"message": "not so"}})]
    with pytest.raises(ServerRefusedError, match=f"refuses {what} .HTTP {status}: not so"):
        ask(max_attempts=5)


def test_a_key_that_changed_is_read_anew(publish, scripted, ask, server_folder):
    def refuse(handler, body):
        endpoint.write_key(server_folder, "new")
        handler.send_error(401)

    endpoint.write_key(server_folder, "old")
    publish(scripted.url)
    scripted.answers = [refuse, GOOD]
    assert ask(max_attempts=1)["text"] == "A cat."
    assert [headers["Authorization"] for headers, _ in scripted.requests] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("status", [401, 404])
def test_another_server_on_the_port_of_one_that_is_replaced_is_no_refusal(publish, scripted, stand_in, ask, status):
    def wrong_server(handler, body):
        publish(stand_in.url, generation=2)
        handler.send_error(status)

    publish(scripted.url)
    scripted.answers = [wrong_server]
    assert ask(max_attempts=1)["text"].endswith("The answer is A.")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_follows_no_redirect(publish, scripted, stand_in, ask, status, server_folder):
    endpoint.write_key(server_folder, "secret")
    publish(scripted.url)
    elsewhere = f"{stand_in.url}/v1/chat/completions"
    scripted.answers = [(status, {"Location": elsewhere}, b"")]
    with pytest.raises(ServerRefusedError, match=f"refuses this address .HTTP {status}: it has moved to {elsewhere}"):
        ask()
    assert stand_in.asked == []


def test_an_image_in_bytes_is_sent_like_one_in_text(publish, scripted, make_client):
    publish(scripted.url)
    scripted.answers = [GOOD]
    text, urls = '<image> or "é" <image>\n', ["data:image/png;base64,AAAA", "data:image/png;base64,BBBB"]
    in_bytes, in_text = ([ImagePart(url) for url in given] for given in ([url.encode() for url in urls], urls))
    made = make_client()
    for images in (in_text, in_bytes):
        made.ask(ChatRequest(place_images(text, images), 9, allowed_answers=["A", "B"]))
    (_, first), (_, second) = scripted.requests
    assert first == second
    assert first["structured_outputs"] == {"choice": ["A", "B"]}


def test_one_connection_is_used_again_and_one_that_was_closed_is_made_anew(publish, scripted, make_client, monkeypatch):
    ports, closed, close_request = [], threading.Event(), scripted.close_request

    def closes(request):
        close_request(request)
        closed.set()

    def note(handler, body):
        ports.append(handler.client_address[1])
        answer_well(handler)
        handler.close_connection = len(ports) == 2

    monkeypatch.setattr(scripted, "close_request", closes)
    publish(scripted.url)
    scripted.answers = [note]
    made = make_client(max_attempts=1)
    for number in range(4):
        made.ask(REQUEST)
        assert number != 1 or closed.wait(20)  # the client sees by then that the server closed the second one
    assert len(ports) == 4
    assert (len({*ports[:2]}), len({*ports[2:]}), len({*ports})) == (1, 1, 2)


def outage(scripted, seconds, status=503):
    """Let a server answer with errors for some time, and well from then on."""
    over = time.monotonic() + seconds

    def serve(handler, body):
        if time.monotonic() < over:
            handler.send_error(status)
        else:
            answer_well(handler)

    scripted.trial, scripted.answers = serve, [serve]


@pytest.mark.slow
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_an_outage_of_a_server_that_seems_ready_costs_no_item(
    publish, scripted, make_client, in_background, max_attempts
):
    publish(scripted.url)
    outage(scripted, seconds=2)
    made = make_client(max_attempts=max_attempts, backoff_s=0.05)
    outcomes = [in_background(lambda: made.ask(REQUEST)) for _ in range(8)]
    assert [outcome()["text"] for outcome in outcomes] == ["A cat."] * 8


@pytest.mark.slow
def test_an_outage_of_a_server_is_not_met_with_a_storm_of_requests(publish, scripted, make_client, in_background):
    publish(scripted.url)
    outage(scripted, seconds=2)
    made = make_client(max_attempts=1000, backoff_s=0.2)
    for outcome in [in_background(lambda: made.ask(REQUEST)) for _ in range(12)]:
        outcome()
    # 12 good ones, a window of bad ones, and those in flight with the last of them
    assert len(scripted.requests) <= 12 + 2 * circuit_module.WINDOW


def test_an_outage_without_an_end_fails_the_chunk_and_blames_no_item(publish, scripted, ask):
    publish(scripted.url)
    outage(scripted, seconds=1000)
    with pytest.raises(ServerDeadError, match=r"answered nothing for 0 s .client.server_wait_s.*HTTP 503"):
        ask(server_wait_s=0.3, max_attempts=2)


@pytest.mark.slow
def test_a_server_that_puts_everybody_off_for_ever_fails_the_chunk(publish, scripted, ask):
    asked = []

    def put_off(handler, body):
        asked.append(body)
        handler.send_response(429)
        handler.send_header("Retry-After", "0.2")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    publish(scripted.url)
    scripted.trial, scripted.answers = put_off, [put_off]
    with pytest.raises(ServerDeadError, match="HTTP 429"):
        ask(server_wait_s=0.3, max_attempts=2, backoff_s=0.001)
    assert len(asked) < 8  # two attempts, and a trial after each Retry-After


def test_an_item_that_fails_alone_is_to_blame_though_nothing_else_is_asked(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [(500, {}, b"no")]
    assert failure(ask, max_attempts=3).reason is Reason.SERVER_ERROR
    assert len(scripted.requests) == 3


def test_a_sick_server_among_healthy_ones_costs_no_item(publish, scripted, stand_in, make_client, in_background):
    publish(scripted.url, replica=0)
    publish(stand_in.url, replica=1)
    outage(scripted, seconds=1000)
    made = make_client(max_attempts=2, server_wait_s=1)
    texts = [f"question {number}" for number in range(40)]
    outcomes = [in_background(lambda text=text: made.ask(ChatRequest([text], 9))["text"]) for text in texts]
    assert len({outcome() for outcome in outcomes}) == 40
    assert all(isinstance(outcome(), str) for outcome in outcomes)


def test_waits_between_attempts_grow(publish, stand_in, ask):
    publish(stand_in.url)
    stand_in.fail({"status": 500}, only=TEXT)
    failure(ask, max_attempts=4, backoff_s=0.05)
    times = [request["time"] for request in stand_in.asked]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True)] == [True] * 3


def test_clients_that_failed_together_do_not_come_back_together(
    publish, stand_in, make_client, in_background, monkeypatch
):
    waits, pause, backoff_s = [], ServerPool.pause, 0.1
    monkeypatch.setattr(ServerPool, "pause", lambda pool, seconds: waits.append(seconds) or pause(pool, seconds))
    publish(stand_in.url)
    stand_in.fail({"status": 500}, times=1)
    made = make_client(backoff_s=backoff_s)
    texts = [f"question {number}" for number in range(6)]  # too few to be taken for an outage
    for outcome in [in_background(lambda text=text: made.ask(ChatRequest([text], 9))) for text in texts]:
        outcome()
    assert len(stand_in.asked) == 2 * len(texts)
    assert len(set(waits)) == len(texts)
    assert all(backoff_s <= wait <= 2 * backoff_s for wait in waits)


def test_waiting_for_a_replaced_server_does_not_spend_attempts(publish, stand_in, make_client, in_background):
    publish(None, state=State.REPLACING, generation=2)
    outcome = in_background(lambda: make_client(max_attempts=1).ask(REQUEST))
    time.sleep(0.2)
    assert not outcome.over()
    publish(stand_in.url, generation=2)
    assert outcome()["text"].endswith("The answer is A.")
    assert len(stand_in.asked) == 1


def test_a_server_that_is_not_up_yet_is_waited_for(publish, stand_in, make_client, in_background):
    outcome = in_background(lambda: make_client(max_attempts=1).ask(REQUEST))
    time.sleep(0.1)
    publish(None, state=State.STARTING)
    time.sleep(0.1)
    publish(stand_in.url)
    assert outcome()["text"].endswith("The answer is A.")


def test_a_refused_connection_does_not_spend_attempts(publish, stand_in, refused_url, make_client, in_background):
    publish(refused_url)
    outcome = in_background(lambda: make_client(max_attempts=1).ask(REQUEST))
    time.sleep(0.2)
    assert not outcome.over()
    publish(stand_in.url, generation=2)
    assert outcome()["text"].endswith("The answer is A.")


@pytest.mark.parametrize("how", [close, half])
def test_a_request_that_breaks_as_its_server_is_replaced_does_not_spend_attempts(publish, scripted, stand_in, ask, how):
    def die(handler, body):
        publish(stand_in.url, generation=2)
        how(handler)

    publish(scripted.url, generation=1)
    scripted.answers = [die]
    assert ask(max_attempts=1)["text"].endswith("The answer is A.")


def test_a_request_on_which_every_server_crashes_is_a_failure(publish, scripted, ask):
    def crash(handler, body):
        publish(scripted.url, generation=1 + len(scripted.requests), crashes=len(scripted.requests))
        close(handler)

    publish(scripted.url, generation=1)
    scripted.answers = [crash]
    error = failure(ask, max_attempts=5)
    assert error.reason is Reason.SERVER_ERROR
    assert "crashed 2 times" in error.detail
    assert len(scripted.requests) == 2


def test_a_request_whose_servers_are_taken_down_in_order_is_not_to_blame(publish, scripted, ask):
    def taken_down(handler, body):
        publish(scripted.url, generation=1 + len(scripted.requests))
        close(handler)

    publish(scripted.url, generation=1)
    scripted.answers = [taken_down, taken_down, taken_down, GOOD]
    assert ask(max_attempts=1)["text"] == "A cat."


def test_an_item_that_crashes_the_server_takes_no_other_with_it(publish, scripted, make_client, in_background):
    under_way, another, generations = threading.Barrier(4), threading.Event(), [1]

    def crash():
        generations.append(len(generations) + 1)
        publish(scripted.url, generation=generations[-1], crashes=len(generations) - 1)

    def serve(handler, body):
        before = len(generations)
        if before == 1:
            if under_way.wait(20) == 0:
                crash()
            under_way.wait(20)
            return close(handler)
        if "poison" in str(body):
            another.wait(0.2)
            crash()
            return close(handler)
        another.set()
        time.sleep(0.1)
        another.clear()
        return answer_well(handler) if len(generations) == before else close(handler)

    publish(scripted.url)
    scripted.answers = [serve]
    made = make_client()
    texts = ["poison", "one", "two", "three"]
    outcomes = [in_background(lambda text=text: made.ask(ChatRequest([text], 9))) for text in texts]
    poison, *others = [outcome() for outcome in outcomes]
    assert poison.reason is Reason.SERVER_ERROR
    assert [other["text"] for other in others] == ["A cat."] * 3


def test_a_request_that_breaks_on_a_server_that_stays_does_spend_attempts(publish, scripted, ask):
    publish(scripted.url)
    scripted.answers = [close, close, GOOD]
    assert failure(ask, max_attempts=2).reason is Reason.SERVER_ERROR
    assert len(scripted.requests) == 2


def test_endpoint_files_that_cannot_be_read_for_a_moment_are_no_obstacle(publish, stand_in, make_client, server_folder):
    publish(stand_in.url)
    made = make_client()
    assert made.ask(REQUEST)["text"].endswith("The answer is A.")
    (server_folder / "endpoint-0.json").unlink()
    (server_folder / "endpoint-0.json").mkdir()  # reading it is an error, for root too
    time.sleep(0.05)
    assert made.ask(REQUEST)["text"].endswith("The answer is A.")


def test_a_dead_server_is_an_error_that_says_why(publish, ask):
    publish(None, state=State.DEAD, reason="its process ended with signal SIGKILL")
    with pytest.raises(ServerDeadError, match="ended with signal SIGKILL"):
        ask()


def test_who_waits_for_a_server_learns_of_its_death(publish, make_client, in_background):
    publish(None, state=State.REPLACING)
    outcome = in_background(lambda: make_client().ask(REQUEST))
    time.sleep(0.1)
    publish(None, state=State.DEAD, reason="it was restarted 3 times before")
    assert isinstance(outcome(), ServerDeadError)


def test_a_request_that_breaks_as_its_server_dies_blames_the_server(publish, scripted, ask):
    def die(handler, body):
        publish(None, state=State.DEAD, reason="gone")
        close(handler)

    publish(scripted.url)
    scripted.answers = [die]
    with pytest.raises(ServerDeadError):
        ask(max_attempts=1)


@pytest.mark.parametrize("stopped", [False, True])
def test_who_was_under_way_as_a_server_died_is_told_before_the_end(
    publish, scripted, make_client, stopped, monkeypatch
):
    monkeypatch.setattr(request_module, "END_CHECKS", 1000)  # the server's end is published late on a busy machine
    made, told = make_client(), []

    def die():
        publish(None, state=State.DEAD, crashes=1, reason="gone")
        if stopped:  # another thread learned of it first, and ended the chunk
            made.pool.stopped.set()

    def crash(handler, body):
        threading.Timer(0.03, die).start()
        close(handler)

    publish(scripted.url)
    scripted.answers = [crash]
    with pytest.raises(ServerDeadError):
        made.ask(REQUEST, on_crash=told.append)
    assert [server.url for server in told] == [scripted.url]


def test_a_server_that_is_never_reached_is_an_error_after_a_while(publish, refused_url, ask):
    publish(refused_url)
    with pytest.raises(ServerDeadError, match="server_wait_s"):
        ask(server_wait_s=0.3, max_attempts=1)


def test_a_server_whose_name_is_unknown_is_an_error_after_a_while(publish, ask):
    publish("http://stand-in.invalid:8000")
    with pytest.raises(ServerDeadError, match="server_wait_s"):
        ask(server_wait_s=0.3, max_attempts=1)


@pytest.mark.slow
def test_time_in_the_queue_is_not_counted(publish, stand_in, make_client, in_background):
    publish(None, state=State.QUEUED, generation=2)
    outcome = in_background(lambda: make_client(server_wait_s=0.2).ask(REQUEST))
    time.sleep(1)
    assert not outcome.over()
    publish(stand_in.url, generation=2)
    assert outcome()["text"].endswith("The answer is A.")


def test_no_server_at_all_is_an_error_after_a_while(ask):
    with pytest.raises(ServerDeadError, match="server_wait_s"):
        ask(server_wait_s=0.3)


def test_a_released_lease_stops_who_waits_for_a_server(publish, keeper, make_client, in_background):
    publish(None, state=State.REPLACING)
    outcome = in_background(lambda: make_client().ask(REQUEST))
    time.sleep(0.1)
    keeper.release()
    assert isinstance(outcome(), RunStoppedError)


def test_a_released_lease_stops_who_waits_for_another_attempt(publish, stand_in, keeper, make_client, in_background):
    publish(stand_in.url)
    stand_in.fail({"status": 500})
    outcome = in_background(lambda: make_client(max_attempts=1000).ask(REQUEST))
    time.sleep(0.1)
    keeper.release()
    assert isinstance(outcome(), RunStoppedError)


def test_a_stopped_chunk_wakes_who_waits(publish, make_client, in_background):
    publish(None, state=State.REPLACING)
    made = make_client()
    outcome = in_background(lambda: made.ask(REQUEST))
    made.pool.stopped.set()
    assert isinstance(outcome(), RunStoppedError)


def test_the_least_loaded_server_is_taken(publish, make_client):
    for replica in (0, 1, 2):
        publish(f"http://node:{replica}", replica=replica)
    pool = make_client(concurrency=6).pool
    taken = [pool.acquire(no_trial) for _ in range(6)]
    assert sorted(server.replica for server in taken) == [0, 0, 1, 1, 2, 2]
    for server in taken:
        if server.replica == 1:
            pool.release(server, reached=True)
    assert [pool.acquire(no_trial).replica for _ in range(2)] == [1, 1]


def test_only_healthy_servers_are_taken(publish, make_client):
    publish(None, replica=0, state=State.DEAD)
    publish(None, replica=1, state=State.REPLACING)
    publish("http://node:2", replica=2)
    publish(None, replica=3, state=State.STARTING)
    pool = make_client().pool
    assert {pool.acquire(no_trial).replica for _ in range(4)} == {2}


@pytest.mark.parametrize("gone", [0, 1])
def test_clients_move_on_when_one_of_several_servers_cannot_be_reached(publish, stand_in, refused_url, ask, gone):
    publish(refused_url, replica=gone)
    publish(stand_in.url, replica=1 - gone)
    assert ask(server_wait_s=1, max_attempts=1)["text"].endswith("The answer is A.")


def test_clients_move_on_when_one_of_several_servers_dies(publish, scripted, stand_in, ask):
    def die(handler, body):
        publish(None, replica=0, state=State.DEAD, reason="gone")
        close(handler)

    publish(scripted.url, replica=0)
    publish(stand_in.url, replica=1)
    scripted.answers = [die]
    assert ask(max_attempts=1)["text"].endswith("The answer is A.")


@pytest.mark.parametrize("own", [False, True])
def test_a_proxy_is_used_for_outside_servers_only(
    publish, stand_in, refused_url, monkeypatch, make_client, own, server_folder
):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    generation_key.write(server_folder, publish(stand_in.url), "secret")
    monkeypatch.setenv("http_proxy", refused_url)
    asking = make_client(own=own, server_wait_s=0.3)
    if own:
        assert asking.ask(REQUEST)["text"].endswith("The answer is A.")
    else:
        with pytest.raises(ServerDeadError):
            asking.ask(REQUEST)


def test_a_proxy_with_a_password_passes_requests_on_and_no_proxy_is_respected(
    publish, scripted, stand_in, monkeypatch, make_client, server_folder
):
    endpoint.write_key(server_folder, "secret")
    publish("http://outside.invalid:8000")
    monkeypatch.setenv("http_proxy", scripted.url.replace("//", "//user:word@"))
    scripted.answers = [GOOD]
    assert make_client().ask(REQUEST)["text"] == "A cat."
    ((headers, _),) = scripted.requests
    assert headers["Host"] == "outside.invalid:8000"
    assert headers["Proxy-Authorization"] == "Basic dXNlcjp3b3Jk"
    assert headers["Authorization"] == "Bearer secret"
    publish(stand_in.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert make_client().ask(REQUEST)["text"].endswith("The answer is A.")


def test_many_threads_get_their_own_answers(publish, stand_in, make_client, in_background):
    publish(stand_in.url)
    stand_in.fail({"status": 503}, times=1)
    made = make_client(concurrency=16)
    texts = [f"question {number}" for number in range(48)]
    outcomes = [in_background(lambda text=text: made.ask(ChatRequest([text], 9))["text"]) for text in texts]
    answers = [outcome() for outcome in outcomes]
    assert all(isinstance(answer, str) for answer in answers)
    assert len(set(answers)) == 48
