"""Concurrency that finds its own level: the law against simulated servers, and chunk jobs against real ones."""

import heapq
import json
import random
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from captionqa.client import adaptive_concurrency as concurrency_module
from captionqa.client import chunk_run as inference_module
from captionqa.client import server_pool as pool_module
from captionqa.client.adaptive_concurrency import CUT, LEAST, LOOK_S, MOST, START, WANTED_WAITING, Level, Tuner
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.in_flight_limit import Gate
from captionqa.client.server_pool import Pool
from captionqa.files import read_json_lines
from captionqa.run.lease import LeaseWatch
from captionqa.server.endpoint import State
from captionqa.server.probe import ServerLoad

TICK_S = 0.02
PAUSE_S = 1.0


class Job:
    """A chunk job with endless items that has at most `at_once` requests ready; it joins at its first tick."""

    def __init__(self, at_once=10**6):
        self.gate = Gate(START)
        self.level = Level(self.gate)
        self.at_once = at_once
        self.put_off = []


class Server:
    """A simulated server with slots and a queue; one that takes only so many requests refuses the rest with 429."""

    def __init__(self, slots, latency_s=0.5, takes=10**6, tells=True):
        self.slots, self.latency_s, self.takes, self.tells = slots, latency_s, takes, tells
        self.now, self.running, self.waiting, self.jobs = 0.0, [], deque(), []
        self.refused = 0
        self._chance = random.Random(7)

    def run(self, *jobs, seconds):
        """Let these jobs ask for so long; those of before that are not among them have left."""
        next_look, until = self.now + LOOK_S, self.now + seconds
        while self.now < until:
            self.now += TICK_S
            while self.running and self.running[0][0] <= self.now:
                _, _, job = heapq.heappop(self.running)
                job.gate.answered += 1
                job.gate.leave()
            for job in jobs:
                job.put_off = [until for until in job.put_off if until > self.now]
                while job.gate.in_flight + len(job.put_off) < min(job.gate.limit, job.at_once):
                    job.gate.enter()
                    self._take(job)
            while self.waiting and len(self.running) < self.slots:
                seconds_each = self.latency_s * self._chance.uniform(0.8, 1.2)
                heapq.heappush(self.running, (self.now + seconds_each, self._chance.random(), self.waiting.popleft()))
            if self.now >= next_look:
                next_look += LOOK_S
                for job in jobs:
                    job.level.look(self.now, self.load if self.tells else None)

    def _take(self, job):
        if len(self.running) + len(self.waiting) < self.takes:
            return self.waiting.append(job)
        self.refused += 1
        job.gate.overloads += 1
        job.gate.leave()
        return job.put_off.append(self.now + PAUSE_S)

    @property
    def load(self):
        return ServerLoad(len(self.running) + len(self.waiting), 0, len(self.waiting))


@pytest.mark.parametrize("slots", [2, 8, 64, 200])
def test_a_server_is_kept_full_with_a_short_queue(slots):
    server, job = Server(slots), Job()
    server.run(job, seconds=60)
    assert len(server.running) == slots
    assert WANTED_WAITING / 2 <= len(server.waiting) <= 2 * WANTED_WAITING


def test_a_large_server_is_filled_soon():
    server, job = Server(200), Job()
    server.run(job, seconds=8)
    assert len(server.running) == 200


def test_no_more_than_the_most_are_in_flight():
    server, job = Server(10 * MOST), Job()
    server.run(job, seconds=30)
    assert job.gate.limit == job.gate.in_flight == MOST


def test_requests_that_take_long_do_not_make_the_level_swing():
    server, job = Server(64, latency_s=10), Job()
    server.run(job, seconds=300)
    levels = []
    for _ in range(100):
        server.run(job, seconds=1)
        levels.append(job.gate.limit)
    assert len(server.running) == 64
    assert 64 < min(levels) <= max(levels) <= 64 + 2 * WANTED_WAITING


def test_jobs_that_come_one_after_another_end_with_the_same_level():
    server, jobs = Server(64), []
    for _ in range(8):
        jobs.append(Job())
        server.run(*jobs, seconds=5)
    server.run(*jobs, seconds=60)
    levels = [job.gate.limit for job in jobs]
    assert max(levels) <= 1.3 * min(levels)
    assert len(server.running) == 64
    assert len(server.waiting) <= 1.5 * 8 * WANTED_WAITING


def test_who_stays_takes_the_slots_of_who_left():
    server, jobs = Server(64), [Job() for _ in range(4)]
    server.run(*jobs, seconds=30)
    server.run(jobs[0], seconds=20)
    assert len(server.running) == 64


@pytest.mark.parametrize("tells", [True, False])
def test_a_server_that_refuses_what_is_too_much_is_asked_for_less(tells):
    server, job = Server(slots=100, takes=20, tells=tells), Job()
    server.run(job, seconds=60)
    settled, answered = server.refused, job.gate.answered
    server.run(job, seconds=300)
    assert job.gate.limit <= 20
    # a step that was too much now and then is how it is found out that the server takes no more
    assert server.refused - settled <= 0.01 * (job.gate.answered - answered)
    assert job.gate.answered - answered >= 0.8 * 300 * 20 / server.latency_s


def test_jobs_share_fairly_what_a_server_takes_that_tells_nothing():
    server, jobs = Server(slots=100, takes=60, tells=False), [Job()]
    server.run(*jobs, seconds=60)
    jobs.append(Job())
    server.run(*jobs, seconds=60)
    before = [job.gate.answered for job in jobs]
    server.run(*jobs, seconds=600)
    answered = [job.gate.answered - count for job, count in zip(jobs, before, strict=True)]
    assert max(answered) <= 1.5 * min(answered)
    assert sum(answered) >= 0.7 * 600 * 60 / server.latency_s


def test_what_was_sent_before_a_change_cuts_the_level_no_more():
    job = Job()
    for _ in range(START):
        job.gate.enter()
    for second in range(5):
        job.gate.overloads += 5
        job.level.look(second, None)
    assert job.gate.limit == round(CUT * START)
    for _ in range(START):
        job.gate.leave()
    job.gate.overloads += 1
    job.level.look(6, None)
    assert job.gate.limit == round(CUT**2 * START)


def test_the_level_never_falls_to_nothing():
    job = Job()
    for second in range(20):
        job.gate.overloads += 1
        job.level.look(second, None)
    assert job.gate.limit == LEAST == 1


@pytest.mark.parametrize("tells", [True, False])
def test_a_job_that_does_not_use_its_level_keeps_it(tells):
    server, job = Server(200, tells=tells), Job(at_once=40)
    server.run(job, seconds=60)
    assert job.gate.limit == START


def test_a_step_that_the_job_cannot_use_is_taken_back():
    server, job = Server(200), Job(at_once=70)
    server.run(job, seconds=60)
    assert job.gate.limit <= 100


def test_without_metrics_the_level_climbs_while_answers_come_faster():
    server, job = Server(200, tells=False), Job()
    server.run(job, seconds=120)
    assert len(server.running) == 200


def test_without_metrics_a_step_that_brings_nothing_is_taken_back():
    server, job = Server(64, tells=False), Job()
    server.run(job, seconds=600)
    assert START <= job.gate.limit <= START + 16


def test_metrics_that_go_away_and_come_back_do_no_harm():
    server, job = Server(64), Job()
    for tells in (True, False, True):
        server.tells = tells
        server.run(job, seconds=60)
        assert len(server.running) == 64
    assert len(server.waiting) <= 2 * WANTED_WAITING


def test_a_gate_lets_in_no_more_than_its_limit_and_a_wider_one_wakes_who_waits(eventually):
    gate = Gate(2)
    threads = [threading.Thread(target=gate.enter, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: gate.in_flight == 2)
    gate.leave()
    eventually(lambda: sum(thread.is_alive() for thread in threads) == 2)
    assert gate.in_flight == gate.peak == 2
    gate.resize(4)
    eventually(lambda: not any(thread.is_alive() for thread in threads))
    assert gate.in_flight == 4


def test_threads_beyond_the_limit_take_no_item_until_it_is_raised(eventually):
    gate = Gate(1)
    gate.await_seat(0)
    thread = threading.Thread(target=gate.await_seat, args=[1], daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    gate.resize(2)
    eventually(lambda: not thread.is_alive())


@pytest.fixture
def metrics_server():
    """Start servers of a /metrics page with these requests running and waiting; None: they have no such page."""
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
    """A tuner of the servers published in the folder by now."""

    def make(key=None):
        gate = Gate(START)
        pool = Pool(server_folder, LeaseWatch(server_folder, 600), 30, 0.01, gate)
        pool.pause(0)
        made = Tuner(gate, pool, lambda: key, trust_env=False)
        made.gate = gate
        return made

    return make


def test_the_load_is_that_of_all_healthy_servers_and_is_read_with_the_key(publish, metrics_server, make_tuner):
    servers = [metrics_server(60, 4), metrics_server(3, 0), metrics_server(9, 9)]
    for replica, server in enumerate(servers):
        publish(server.url, replica, State.REPLACING if replica == 2 else State.READY)
    load = make_tuner("secret").load()
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
    assert make_tuner().load() == ServerLoad(6, 5, 1)


def test_the_last_items_are_sent_at_once_unless_the_server_had_no_time(make_tuner):
    for overloads, limit in ((0, START), (1, 9)):
        tuner = make_tuner()
        tuner.gate.resize(9)
        tuner.gate.overloads = overloads
        tuner.finish()
        assert tuner.gate.limit == limit


@pytest.fixture
def run_chunk(images, jobs, monkeypatch):
    """Ask for the captions of so many images with a setting of `client.concurrency`; gives the result's header."""
    monkeypatch.setattr(pool_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(concurrency_module, "LOOK_S", 0.05)
    monkeypatch.setattr(inference_module, "BEAT_S", 0.02)

    def run(count, concurrency):
        images.add(*(f"image{number}.png" for number in range(count)))
        (job,) = jobs(changes={"client": {"concurrency": concurrency}})
        ChunkRun(job).run()
        header, *lines = read_json_lines(job.result)
        assert sum("answer" in line for line in lines) == count
        return header

    return run


def test_a_chunk_job_leaves_a_small_server_a_short_queue(publish, simulator, run_chunk):
    publish(simulator(slots=4, latency_s=0.03))
    assert 4 < run_chunk(200, "auto")["concurrency"] <= START / 2


def test_a_chunk_job_raises_its_level_on_a_large_server(publish, simulator, run_chunk, monkeypatch):
    monkeypatch.setattr(concurrency_module, "START", 4)
    publish(simulator(slots=40, latency_s=0.3))
    assert run_chunk(120, "auto")["concurrency"] >= 8


def test_a_fixed_figure_stays_whatever_the_server_says(publish, simulator, run_chunk):
    publish(simulator(slots=1, latency_s=0.01))
    before = threading.active_count()
    assert run_chunk(30, 5)["concurrency"] == 5
    assert threading.active_count() <= before + 5


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
    assert run_chunk(300, "auto")["concurrency"] <= START / 2
