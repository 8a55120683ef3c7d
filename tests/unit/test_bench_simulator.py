"""The benchmark's simulator: a smoke test, so that it does not rot."""

import asyncio
import base64
import json
import socket
import threading
import time
from contextlib import closing, suppress

import pytest
import requests

from bench.counters import PROMPT_TOKENS, Counters
from bench.load import body_of, load
from bench.simulator import CAPTION, Connection, Engine, Settings

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Describe this image in detail."}]}]


def metrics(url):
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return {name.partition("{")[0]: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def ask(url, **more):
    body = {"model": "simulator", "messages": MESSAGES, "max_tokens": 64, **more}
    return requests.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def test_an_answer_is_a_chat_completion_with_its_usage(simulator):
    answer = ask(simulator(tokens=30)).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].startswith(CAPTION)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": 30,
        "total_tokens": PROMPT_TOKENS + 30,
    }


def test_a_stream_ends_with_usage_and_done(simulator):
    answer = ask(simulator(), stream=True, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    text = "".join(piece["delta"].get("content", "") for event in events for piece in json.loads(event)["choices"])
    assert text.startswith(CAPTION)
    assert json.loads(events[-1])["usage"]["completion_tokens"] == 64


def test_whole_bodies_are_read_on_one_connection_after_the_other_and_counted(simulator):
    url = simulator(tokens=7)
    image = {"type": "image_url", "image_url": {"url": "data:," + base64.b64encode(bytes(3_000_000)).decode()}}
    with requests.Session() as session:
        for _ in range(3):
            body = {"model": "simulator", "messages": [{"role": "user", "content": [image]}]}
            assert session.post(f"{url}/v1/chat/completions", json=body, timeout=30).status_code == 200
        assert session.get(f"{url}/health", timeout=10).status_code == 200
    found = metrics(url)
    assert found["vllm:request_success_total"] == 3
    assert found["vllm:generation_tokens_total"] == 21
    assert found["vllm:num_requests_running"] == found["vllm:num_requests_waiting"] == 0


def test_slots_are_filled_and_the_rest_waits(simulator, eventually):
    url = simulator(slots=2, latency_s=600)

    def wait_for_an_answer():
        with suppress(requests.ConnectionError):  # the simulator ends before
            ask(url)

    for _ in range(5):
        threading.Thread(target=wait_for_an_answer, daemon=True).start()
    eventually(lambda: metrics(url)["vllm:num_requests_waiting"] == 3, "three that wait")
    assert metrics(url)["vllm:num_requests_running"] == 2


def test_who_waits_has_a_slot_once_another_is_done(simulator):
    url = simulator(slots=1, latency_s=0.01)
    asyncio.run(load(url, body_of(1), requests=5, concurrency=5))
    found = metrics(url)
    assert found["vllm:request_success_total"] == 5
    assert found["vllm:num_requests_running"] == found["vllm:num_requests_waiting"] == 0


def test_a_request_takes_its_latency_and_its_tokens(simulator):
    assert Settings(latency_s=0.5, tokens=100, tokens_per_s=200).seconds_per_request == 1.0
    assert Settings().seconds_per_request == 0


@pytest.mark.parametrize(("key", "status"), [("secret", 200), ("wrong", 401), (None, 401)])
def test_a_key_guards_what_generates_and_not_health(simulator, key, status):
    url = simulator(key="secret")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert requests.get(f"{url}/v1/models", headers=headers, timeout=10).status_code == status
    assert requests.post(f"{url}/v1/chat/completions", headers=headers, data=b"{}", timeout=10).status_code == status
    assert requests.get(f"{url}/health", timeout=10).status_code == 200
    assert requests.get(f"{url}/version", timeout=10).json() == {"version": "simulator"}


def test_a_client_that_wants_the_connection_closed_has_its_way(simulator):
    url = simulator()
    host, port = url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(1000):  # ends only when the server closes
            received += data
    assert received.startswith(b"HTTP/1.1 200")


def test_the_bare_load_generator_sends_just_what_it_was_told(simulator):
    url = simulator()
    asyncio.run(load(url, body_of(10), requests=50, concurrency=8))
    assert metrics(url)["vllm:request_success_total"] == 50


def test_the_bare_load_generator_fails_where_it_is_refused(simulator):
    with pytest.raises(ConnectionError, match="401"):
        asyncio.run(load(simulator(key="secret"), body_of(1), requests=5, concurrency=2))


def test_an_api_server_preprocesses_one_request_at_a_time(simulator):
    url = simulator(api_servers=2, preprocess_s=0.1)
    started = time.perf_counter()
    asyncio.run(load(url, body_of(1), requests=4, concurrency=4))
    assert time.perf_counter() - started >= 0.2  # two one after the other at each
    assert metrics(url)["vllm:request_success_total"] == 4


def test_an_api_server_keeps_its_last_images(simulator):
    url = simulator(preprocess_s=0.001, cached_images=2)
    for name in "abacab":
        image = {"type": "image_url", "image_url": {"url": f"file:///{name}.jpg"}}
        assert ask(url, messages=[{"role": "user", "content": [image]}]).status_code == 200
    found = metrics(url)
    assert (found["vllm:mm_cache_queries_total"], found["vllm:mm_cache_hits_total"]) == (6, 2)


def test_a_new_connection_goes_to_the_api_server_that_has_the_fewest():
    async def connected():
        engine = Engine(Settings(api_servers=3), Counters(1), 0)
        connections = [Connection(engine) for _ in range(5)]
        for connection in connections[:4]:
            connection.connection_made(None)
        connections[1].connection_lost(None)
        connections[4].connection_made(None)
        return [connection.api_server for connection in connections]

    assert asyncio.run(connected()) == [0, 1, 2, 0, 1]
