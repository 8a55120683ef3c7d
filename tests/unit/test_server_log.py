"""The server's log: complete and in order, bounded in size, and no full disk ends the server."""

import os
import sys
from pathlib import Path

import pytest
from captionqa.server import server_log
from captionqa.server.server_log import ServerLog
from captionqa.server.server_process import ServerProcess


@pytest.fixture
def log(tmp_path):
    return ServerLog(tmp_path / "logs" / "server.log", "supervisor")


def printed(log, code):
    """Let a process print into the log until it ends; returns its exit code."""
    child = ServerProcess([sys.executable, "-c", code], dict(os.environ))
    log.follow(child.stdout).join(60)
    code = child.wait(60)
    child.end()
    return code


def test_what_the_server_prints_and_the_supervisor_says_goes_to_the_end_of_the_log(log):
    log.path.write_text("of the batch job\n")
    assert printed(log, "import sys; print('first'); print('complaint', file=sys.stderr)") == 0
    log.say("stopping")
    assert printed(log, "print('second')") == 0
    *before, said, last = log.path.read_text().splitlines()
    assert (before[0], sorted(before[1:]), last) == ("of the batch job", ["complaint", "first"], "second")
    assert said.endswith(" supervisor: stopping")


def test_a_log_that_fills_is_bounded_while_the_server_runs_and_keeps_its_beginning_and_its_end(log):
    line = "x" * 1023
    lines = 2 * server_log.LIMIT_BYTES // 1024
    code = f"print('the beginning')\nfor n in range({lines}): print('{line}')\nprint('the end')"
    sizes = []
    child = ServerProcess([sys.executable, "-c", code], dict(os.environ))
    reader = log.follow(child.stdout)
    while reader.is_alive():
        sizes.append(log.path.stat().st_size if log.path.exists() else 0)
        reader.join(0.01)
    assert child.wait() == 0
    child.end()
    assert max(sizes) <= server_log.LIMIT_BYTES + server_log.READ_BYTES
    text = log.path.read_text()
    assert text.startswith("the beginning\n")
    assert text.endswith(f"{line}\nthe end\n")
    assert "captionqa left out" in text
    assert set(map(len, text.splitlines()[-100:-1])) == {1023}


def test_a_log_is_cut_again_and_again(log, monkeypatch):
    monkeypatch.setattr(server_log, "LIMIT_BYTES", 4000)
    monkeypatch.setattr(server_log, "HEAD_BYTES", 1000)
    monkeypatch.setattr(server_log, "TAIL_BYTES", 1000)
    for number in range(1000):
        log.say(f"line {number}")
        assert log.path.stat().st_size <= 4000
    lines = log.path.read_text().splitlines()
    assert lines[0].endswith("line 0")
    assert [line.rpartition(" ")[2] for line in lines[-5:]] == ["995", "996", "997", "998", "999"]


def test_a_full_disk_costs_lines_and_nothing_else():
    full = ServerLog(Path("/dev/full"), "supervisor")
    full.say("no space left")
    assert printed(full, "for n in range(100_000): print('no space left', flush=True)") == 0
