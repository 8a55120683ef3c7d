"""Adaptive concurrency: the control law against simulated servers, and chunk jobs against real ones."""

import heapq
import json
import logging
import random
import re
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from captionqa.client import adaptive_concurrency as concurrency_module
from captionqa.client import chunk_run as chunk_run_module
from captionqa.client import concurrency_tuner as tuner_module
from captionqa.client import server_pool as pool_module
from captionqa.client.adaptive_concurrency import (
    DECREASE_FACTOR,
    INITIAL_LIMIT,
    MAX_LIMIT,
    MIN_LIMIT,
    TARGET_QUEUED,
    AdaptiveLimit,
)
from captionqa.client.api_key import ApiKeys
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.concurrency_tuner import UPDATE_S, ConcurrencyTuner
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.server_pool import ServerPool
from captionqa.files import read_json_lines
from captionqa.run.lease import LeaseWatch
from captionqa.server import endpoint
from captionqa.server.endpoint import State
from captionqa.server.probe import EngineLoad

TICK_S = 0.02
PAUSE_S = 1.0


class Job:
    """A chunk job with endless items that has at most `at_once` requests ready; it joins at its first tick."""

    def __init__(self, at_once=10**6):
        self.limiter = InFlightLimiter(INITIAL_LIMIT)
        self.adaptive_limit = AdaptiveLimit(self.limiter)
        self.at_once = at_once
        self.put_off = []


class Server:
    """A simulated server with slots and a queue.

    Above `takes` requests it refuses the rest with 429. If it `tells`, it publishes its load. Before its queue a
    request is `link_s` on its way and takes `front_s` of the one thread of the front end. As in vLLM, one that arrives
    in the engine may be seen to wait.
    """

    def __init__(self, slots, latency_s=0.5, takes=10**6, tells=True, front_s=0.0, link_s=0.0):
        self.slots, self.latency_s, self.takes, self.tells = slots, latency_s, takes, tells
        self.front_s, self.link_s, self.front, self.front_is_free_at = front_s, link_s, [], 0.0
        self.now, self.running, self.waiting, self.jobs = 0.0, [], deque(), []
        self.refused = self.finished = 0
        self._chance = random.Random(7)

    def run(self, *jobs, seconds):
        """Let these jobs send requests for this time; earlier jobs that are not among them have left."""
        next_look, until = self.now + UPDATE_S, self.now + seconds
        while self.now < until:
            self.now += TICK_S
            while self.running and self.running[0][0] <= self.now:
                _, _, job = heapq.heappop(self.running)
                job.limiter.answered += 1
                self.finished += 1
                job.limiter.release()
            for job in jobs:
                job.put_off = [until for until in job.put_off if until > self.now]
                while job.limiter.in_flight + len(job.put_off) < min(job.limiter.limit, job.at_once):
                    job.limiter.acquire()
                    self._take(job)
            while self.front and self.front[0][0] <= self.now:
                self.waiting.append(heapq.heappop(self.front)[2])
            while self.waiting and len(self.running) < self.slots:
                seconds_each = self.latency_s * self._chance.uniform(0.8, 1.2)
                heapq.heappush(self.running, (self.now + seconds_each, self._chance.random(), self.waiting.popleft()))
            if self.now >= next_look:
                next_look += UPDATE_S
                for job in jobs:
                    job.adaptive_limit.update(self.now, self.load if self.tells else None)

    def _take(self, job):
        if len(self.running) + len(self.waiting) < self.takes:
            begins = max(self.now + self.link_s, self.front_is_free_at)
            self.front_is_free_at = begins + self.front_s if self.front_s else 0.0
            heapq.heappush(self.front, (begins + self.front_s, self._chance.random(), job))
            return None
        self.refused += 1
        job.limiter.overloads += 1
        job.limiter.release()
        return job.put_off.append(self.now + PAUSE_S)

    @property
    def load(self):
        waiting = len(self.waiting) + (self.front_s > 0 and len(self.running) > 0 and self._chance.random() < 0.5)
        return EngineLoad(len(self.running) + len(self.waiting), 0, waiting, finished=self.finished)


@pytest.mark.parametrize("slots", [2, 8, 64, 200])
def test_a_server_is_kept_full_with_a_short_queue(slots):
    server, job = Server(slots), Job()
    server.run(job, seconds=60)
    assert len(server.running) == slots
    assert TARGET_QUEUED / 2 <= len(server.waiting) <= 2 * TARGET_QUEUED


def test_a_large_server_is_filled_soon():
    server, job = Server(200), Job()
    server.run(job, seconds=8)
    assert len(server.running) == 200


def test_no_more_than_the_most_are_in_flight():
    server, job = Server(10 * MAX_LIMIT), Job()
    server.run(job, seconds=30)
    assert job.limiter.limit == job.limiter.in_flight == MAX_LIMIT


def test_requests_that_take_long_do_not_make_the_limit_swing():
    server, job = Server(64, latency_s=10), Job()
    server.run(job, seconds=300)
    limits = []
    for _ in range(100):
        server.run(job, seconds=1)
        limits.append(job.limiter.limit)
    assert len(server.running) == 64
    assert 64 < min(limits) <= max(limits) <= 64 + 2 * TARGET_QUEUED


def test_jobs_that_come_one_after_another_end_with_the_same_limit():
    server, jobs = Server(64), []
    for _ in range(8):
        jobs.append(Job())
        server.run(*jobs, seconds=5)
    server.run(*jobs, seconds=60)
    limits = [job.limiter.limit for job in jobs]
    assert max(limits) <= 1.3 * min(limits)
    assert len(server.running) == 64
    assert len(server.waiting) <= 1.5 * 8 * TARGET_QUEUED


@pytest.mark.parametrize(("count", "front_s"), [(1, 0.02), (1, 0.07), (1, 0.3), (4, 0.05)])
def test_a_front_end_that_is_the_limit_gets_a_short_queue_and_no_more(count, front_s):
    server, jobs = Server(200, front_s=front_s), [Job() for _ in range(count)]
    highest = []
    for _ in range(480):
        server.run(*jobs, seconds=1)
        highest.append(max(job.limiter.limit for job in jobs))
    assert max(highest) == INITIAL_LIMIT
    assert min(highest[-120:]) <= 2.5 * TARGET_QUEUED + len(server.running)
    answered = sum(job.limiter.answered for job in jobs)
    assert answered >= 0.97 * (480 - server.latency_s) / front_s


@pytest.mark.parametrize("link_s", [0.1, 0.3, 1.0])
def test_requests_that_are_long_on_their_way_are_no_reason_to_send_fewer(link_s):
    server, job = Server(100, link_s=link_s), Job()
    server.run(job, seconds=120)
    before = job.limiter.answered
    server.run(job, seconds=60)
    possible = min(100 / server.latency_s, MAX_LIMIT / (server.latency_s + link_s))
    assert job.limiter.answered - before >= 0.85 * 60 * possible


def test_a_front_end_that_gets_faster_is_sent_more():
    server, job = Server(64, front_s=0.07), Job()
    server.run(job, seconds=120)
    assert job.limiter.limit <= INITIAL_LIMIT / 2
    server.front_s = 0.0
    server.run(job, seconds=60)
    assert len(server.running) == 64


def test_who_stays_takes_the_slots_of_who_left():
    server, jobs = Server(64), [Job() for _ in range(4)]
    server.run(*jobs, seconds=30)
    server.run(jobs[0], seconds=20)
    assert len(server.running) == 64


@pytest.mark.parametrize("tells", [True, False])
def test_a_server_that_refuses_what_is_too_much_is_asked_for_less(tells):
    server, job = Server(slots=100, takes=20, tells=tells), Job()
    server.run(job, seconds=60)
    settled, answered = server.refused, job.limiter.answered
    server.run(job, seconds=300)
    assert job.limiter.limit <= 20
    # a step that is too large now and then is how the job finds the server's limit
    assert server.refused - settled <= 0.01 * (job.limiter.answered - answered)
    assert job.limiter.answered - answered >= 0.8 * 300 * 20 / server.latency_s


def test_jobs_share_fairly_what_a_server_takes_that_tells_nothing():
    server, jobs = Server(slots=100, takes=60, tells=False), [Job()]
    server.run(*jobs, seconds=60)
    jobs.append(Job())
    server.run(*jobs, seconds=60)
    before = [job.limiter.answered for job in jobs]
    server.run(*jobs, seconds=600)
    answered = [job.limiter.answered - count for job, count in zip(jobs, before, strict=True)]
    assert max(answered) <= 1.5 * min(answered)
    assert sum(answered) >= 0.7 * 600 * 60 / server.latency_s


def test_what_was_sent_before_a_change_lowers_the_limit_no_more():
    job = Job()
    for _ in range(INITIAL_LIMIT):
        job.limiter.acquire()
    for second in range(5):
        job.limiter.overloads += 5
        job.adaptive_limit.update(second, None)
    assert job.limiter.limit == round(DECREASE_FACTOR * INITIAL_LIMIT)
    for _ in range(INITIAL_LIMIT):
        job.limiter.release()
    job.limiter.overloads += 1
    job.adaptive_limit.update(6, None)
    assert job.limiter.limit == round(DECREASE_FACTOR**2 * INITIAL_LIMIT)


def test_the_limit_never_falls_to_nothing():
    job = Job()
    for second in range(20):
        job.limiter.overloads += 1
        job.adaptive_limit.update(second, None)
    assert job.limiter.limit == MIN_LIMIT == 1


@pytest.mark.parametrize("tells", [True, False])
def test_a_job_that_does_not_use_its_limit_keeps_it(tells):
    server, job = Server(200, tells=tells), Job(at_once=40)
    server.run(job, seconds=60)
    assert job.limiter.limit == INITIAL_LIMIT


def test_a_step_that_the_job_cannot_use_is_taken_back():
    server, job = Server(200), Job(at_once=70)
    server.run(job, seconds=60)
    assert job.limiter.limit <= 100


def test_without_metrics_the_limit_climbs_while_answers_come_faster():
    server, job = Server(200, tells=False), Job()
    server.run(job, seconds=120)
    assert len(server.running) == 200


def test_without_metrics_a_step_that_brings_nothing_is_taken_back():
    server, job = Server(64, tells=False), Job()
    server.run(job, seconds=600)
    assert INITIAL_LIMIT <= job.limiter.limit <= INITIAL_LIMIT + 16


def test_metrics_that_go_away_and_come_back_do_no_harm():
    server, job = Server(64), Job()
    for tells in (True, False, True):
        server.tells = tells
        server.run(job, seconds=60)
        assert len(server.running) == 64
    assert len(server.waiting) <= 2 * TARGET_QUEUED


def test_a_limiter_admits_no_more_than_its_limit_and_a_higher_one_wakes_who_waits(eventually):
    limiter = InFlightLimiter(2)
    threads = [threading.Thread(target=limiter.acquire, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: limiter.in_flight == 2)
    limiter.release()
    eventually(lambda: sum(thread.is_alive() for thread in threads) == 2)
    assert limiter.in_flight == limiter.peak == 2
    limiter.resize(4)
    eventually(lambda: not any(thread.is_alive() for thread in threads))
    assert limiter.in_flight == 4


def test_threads_beyond_the_limit_take_no_item_until_it_is_raised(eventually):
    limiter = InFlightLimiter(1)
    limiter.await_worker_slot(0)
    thread = threading.Thread(target=limiter.await_worker_slot, args=[1], daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    limiter.resize(2)
    eventually(lambda: not thread.is_alive())


@pytest.fixture
def metrics_server():
    """Start servers whose /metrics page shows (running, waiting) requests; without these they have no such page."""
    servers = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, self.headers["Authorization"]))
            if self.server.load is None:
                return self.send_error(404)
            running, waiting = self.server.load
            self.send_response(200)
            self.end_headers()
            names = {"num_requests_running": running, "num_requests_waiting": waiting, "generation_tokens_total": 5}
            return self.wfile.write("".join(f'vllm:{name}{{a="b"}} {names[name]}\n' for name in names).encode())

        def log_message(self, *args):
            pass

    def start(*load):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.load, server.asked = load or None, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def make_tuner(server_folder):
    """A tuner for the servers that are published in the folder by now."""

    def make():
        limiter = InFlightLimiter(INITIAL_LIMIT)
        pool = ServerPool(server_folder, LeaseWatch(server_folder, 600), 30, 0.01, limiter)
        pool.pause(0)
        made = ConcurrencyTuner(limiter, pool, ApiKeys(server_folder, own=False))
        made.limiter = limiter
        return made

    return make


def test_a_request_that_waits_for_the_limit_pauses(publish, server_folder):
    publish("http://127.0.0.1:1")
    limiter, pauses = InFlightLimiter(1), []
    pool = ServerPool(server_folder, LeaseWatch(server_folder, 600), 30, 0.01, limiter, pauses.append)
    limiter.acquire()
    threading.Timer(0.1, limiter.release).start()
    pool.acquire(lambda server: None)
    assert len(pauses) == 1


def test_the_load_is_that_of_all_healthy_servers_and_is_read_with_the_key(
    publish, metrics_server, make_tuner, server_folder
):
    endpoint.write_key(server_folder, "secret")
    servers = [metrics_server(60, 4), metrics_server(3, 0), metrics_server(9, 9)]
    for replica, server in enumerate(servers):
        publish(server.url, replica, State.REPLACING if replica == 2 else State.READY)
    load = make_tuner().load()
    assert (load.requests, load.waiting) == (67, 4)
    assert servers[0].asked == servers[1].asked == [("/metrics", "Bearer secret")]
    assert servers[2].asked == []


def test_servers_without_metrics_are_no_error_and_are_not_asked_at_each_look(
    publish, metrics_server, refused_url, make_tuner
):
    silent, telling = metrics_server(), metrics_server(5, 1)
    publish(silent.url, 0)
    publish(refused_url, 1)
    tuner = make_tuner()
    assert [tuner.load() for _ in range(3)] == [None] * 3
    assert silent.asked == [("/metrics", None)]
    publish(telling.url, 2)
    assert make_tuner().load() == EngineLoad(6, 5, 1)


def test_the_last_items_are_sent_at_once_unless_the_server_had_no_time(make_tuner):
    for overloads, limit in ((0, INITIAL_LIMIT), (1, 9)):
        tuner = make_tuner()
        tuner.limiter.resize(9)
        tuner.limiter.overloads = overloads
        tuner.finish()
        assert tuner.limiter.limit == limit


@pytest.fixture
def run_chunk(images, jobs, monkeypatch):
    """Ask for the captions of `count` images with this `client.concurrency`; gives the result's header."""
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(tuner_module, "UPDATE_S", 0.05)
    monkeypatch.setattr(chunk_run_module, "HEARTBEAT_S", 0.02)

    def run(count, concurrency):
        images.add(*(f"image{number}.png" for number in range(count)))
        (job,) = jobs(changes={"client": {"concurrency": concurrency}})
        ChunkRun(job).run()
        header, *lines = read_json_lines(job.result)
        assert sum("answer" in line for line in lines) == count
        return header

    return run


@pytest.mark.slow
def test_a_chunk_job_leaves_a_small_server_a_short_queue(publish, simulator, run_chunk):
    publish(simulator(slots=4, latency_s=0.03))
    assert 4 < run_chunk(200, "auto")["concurrency"] <= INITIAL_LIMIT / 2


@pytest.mark.slow
def test_a_chunk_job_raises_its_limit_on_a_large_server(publish, simulator, run_chunk, monkeypatch):
    monkeypatch.setattr(concurrency_module, "INITIAL_LIMIT", 4)
    publish(simulator(slots=40, latency_s=0.3))
    assert run_chunk(120, "auto")["concurrency"] >= 8


@pytest.mark.slow
def test_a_chunk_job_shortens_the_queue_of_a_slow_front_end(publish, simulator, run_chunk, caplog):
    caplog.set_level(logging.INFO)
    publish(simulator(slots=100, latency_s=0.01, preprocess_s=0.015))  # far slower than a client on a busy machine
    run_chunk(450, "auto")  # whether it stays short depends on a throughput that a busy machine may change
    limits = [int(limit) for limit in re.findall(r"requests in flight: (\d+) at most", caplog.text)]
    assert min(limits, default=INITIAL_LIMIT) <= INITIAL_LIMIT / 2


def test_a_fixed_figure_stays_whatever_the_server_says(publish, simulator, run_chunk):
    publish(simulator(slots=1, latency_s=0.01))
    before = threading.active_count()
    assert run_chunk(30, 5)["concurrency"] == 5
    assert threading.active_count() <= before + 5


@pytest.mark.slow
def test_a_server_that_answers_429_is_asked_for_less_and_no_item_fails(publish, scripted, run_chunk):
    free = threading.BoundedSemaphore(6)

    def take_six(handler, body):
        taken = free.acquire(blocking=False)
        if taken:
            time.sleep(0.03)
        data = json.dumps({"choices": [{"message": {"content": "A cat."}}]} if taken else {}).encode()
        handler.send_response(200 if taken else 429)
        handler.send_header("Content-Length", str(len(data)))
        if taken:
            free.release()
        else:
            handler.send_header("Retry-After", "0.02")
        handler.end_headers()
        handler.wfile.write(data)

    publish(scripted.url)
    scripted.answers = [take_six]
    assert run_chunk(300, "auto")["concurrency"] <= INITIAL_LIMIT / 2
