"""That no client can hold up the benchmark, and that one which failed leaves a row that says so."""

import argparse
import re
import socket
import sys
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest
import requests
from projects import ROOT

from bench import processes
from bench.__main__ import photograph_s
from bench.parts import gpu, styles
from bench.report import Row, table
from bench.running import Bench
from bench.sizes import FULL, QUICK

#: A client that starts another process, which keeps its output open, and tells that one's id.
STARTS_ANOTHER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
"""
FIGURES = {"images": 4, "wall_s": 1.0, "cpu_s": 1.0, "peak_mb": 10.0}


@pytest.mark.slow
def test_a_client_that_hangs_is_ended_with_all_it_started():
    process = processes.start([sys.executable, "-c", f"{STARTS_ANOTHER}time.sleep(600)"])
    child = psutil.Process(int(process.stdout.readline()))
    with pytest.raises(RuntimeError, match="was ended since it took more than 0 s"):
        processes.figures_of(process, timeout_s=0.1)
    assert process.poll() is not None
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_what_a_client_left_running_is_not_waited_for():
    process = processes.start([sys.executable, "-c", STARTS_ANOTHER])
    child = psutil.Process(int(process.stdout.readline()))
    try:
        with pytest.raises(RuntimeError, match="was ended since"):
            processes.figures_of(process, timeout_s=1.0)
    finally:
        child.kill()


def test_a_peer_that_failed_is_told_and_not_run_again(tmp_path):
    asked = []

    def fails():
        asked.append("peer")
        raise RuntimeError("bench.peers somebody failed:\nits server is not ready")

    rows = [Row("ceiling", "somebody", is_peer=True), Row("ceiling", "captionqa")]
    runs = {"somebody": fails, "captionqa": lambda: (["captionqa"], FIGURES)}
    Bench(replace(QUICK, rounds=3), tmp_path).interleaved(rows, runs)
    assert asked == ["peer"]
    assert "failed its server is not ready" in table(rows)
    assert rows[1].images_per_s == [4.0, 4.0, 4.0]


def test_what_a_server_does_while_it_is_measured_is_sampled(simulator, eventually, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "SAMPLE_S", 0.01)
    monkeypatch.setattr(gpu, "UTILIZATION", ("sh", "-c", f"echo 42; touch {tmp_path}/sampled"))
    url = simulator(slots=1, latency_s=60.0)
    asked = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) for _ in range(3)]
    for connection in asked:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    two_wait = 'num_requests_waiting{engine="0",model_name="simulator"} 2.0'
    eventually(lambda: two_wait in requests.get(f"{url}/metrics").text)
    with gpu.sampled(url) as seen:
        eventually((tmp_path / "sampled").exists, "a sample")
    for connection in asked:
        connection.close()
    assert seen == {"in engine": 3.0, "of it waiting": 2.0, "GPU busy %": 42.0}


def test_the_part_for_gpus_says_what_it_was_measured_on(monkeypatch):
    monkeypatch.setattr(gpu, "gpu_name", lambda: None)
    assert gpu.about("org/model")["note"] == gpu.NO_GPU
    monkeypatch.setattr(gpu, "gpu_name", lambda: "1 x NVIDIA L40S")
    assert gpu.about("org/model")["gpu"] == "1 x NVIDIA L40S"
    assert "note" not in gpu.about("org/model")
    for cores, several in ((2, 2), (16, 3), (128, 8)):
        monkeypatch.setattr(gpu.os, "cpu_count", lambda cores=cores: cores)
        assert gpu.api_server_counts() == (1, several)


def test_a_slow_machine_simulates_fewer_images_but_enough():
    assert [styles.simulated_images(1000, cost_s) for cost_s in (0.1, 0.24, 1.0)] == [1000, 500, 300]
    assert styles.simulated_images(60, 1.0) == 60


def test_the_costs_of_the_documented_run_of_styles_are_simulated_for_all_its_images(tmp_path, monkeypatch):
    started, asked = [], []

    @contextmanager
    def simulator(*arguments):
        started.append(arguments[-6:])
        yield "http://127.0.0.1:1"

    def rows_of(bench, kind, target, cache):
        asked.append((kind, target.count))
        return [Row("styles", "captionqa")]

    monkeypatch.setattr(styles.servers, "simulator", simulator)
    monkeypatch.setattr(styles, "_asked", rows_of)
    monkeypatch.setattr(Bench, "images", lambda *_: (tmp_path, 40.0))
    documented = (ROOT / "docs" / "performance.md").read_text().partition("--photograph-ms ")[2]
    costs_s = photograph_s(re.match(r"[\d.,]+", documented)[0])
    (row,) = styles.styles(Bench(FULL, tmp_path, photograph_s=costs_s))
    # what is said above the table
    assert started == [("--preprocess-s", "0.128", "--cached-images", "100", "--cached-s", "0.02")]
    assert asked == [(", simulated", 1000)]
    assert row.figures == {"simulated images": 1000, "of them in the cache": 100}
    with pytest.raises(argparse.ArgumentTypeError, match="'128' is no two numbers"):
        photograph_s("128")


def test_captionqas_own_failure_ends_the_benchmark(tmp_path):
    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Bench(QUICK, tmp_path).interleaved([Row("ceiling", "captionqa")], {"captionqa": fails})
