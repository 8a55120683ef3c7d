"""That no client can hold up the benchmark, and that one which failed leaves a row that says so."""

import sys
from dataclasses import replace

import psutil
import pytest

from bench import clients
from bench.__main__ import Bench
from bench.report import Row, table
from bench.sizes import QUICK

#: A client that starts another process, which keeps its output open, and tells that one's id.
STARTS_ANOTHER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
"""
FIGURES = {"images": 4, "wall_s": 1.0, "cpu_s": 1.0, "peak_mb": 10.0}


@pytest.mark.slow
def test_a_client_that_hangs_is_ended_with_all_it_started():
    process = clients.start([sys.executable, "-c", f"{STARTS_ANOTHER}time.sleep(600)"])
    child = psutil.Process(int(process.stdout.readline()))
    with pytest.raises(RuntimeError, match="was ended since it took more than 0 s"):
        clients.figures_of(process, timeout_s=0.1)
    assert process.poll() is not None
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_what_a_client_left_running_is_not_waited_for():
    process = clients.start([sys.executable, "-c", STARTS_ANOTHER])
    child = psutil.Process(int(process.stdout.readline()))
    try:
        with pytest.raises(RuntimeError, match="was ended since"):
            clients.figures_of(process, timeout_s=1.0)
    finally:
        child.kill()


def test_a_peer_that_failed_is_told_and_not_run_again(tmp_path):
    asked = []

    def fails():
        asked.append("peer")
        raise RuntimeError("bench.peers somebody failed:\nits server is not ready")

    rows = [Row("ceiling", "somebody", is_peer=True), Row("ceiling", "captionqa")]
    runs = {"somebody": fails, "captionqa": lambda: (["captionqa"], FIGURES)}
    Bench(replace(QUICK, rounds=3), tmp_path)._interleaved(rows, runs)
    assert asked == ["peer"]
    assert "failed its server is not ready" in table(rows)
    assert rows[1].images_per_s == [4.0, 4.0, 4.0]


def test_captionqas_own_failure_ends_the_benchmark(tmp_path):
    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Bench(QUICK, tmp_path)._interleaved([Row("ceiling", "captionqa")], {"captionqa": fails})
