"""However a run ends, the driver cancels its Slurm jobs: clients that wait in the queue do not see the lease."""

import pickle

import pytest
from captionqa.config.layout import Layout
from captionqa.driver.failure_report import failure_messages

#: A driver whose main thread ends in the way that is asked for.
ENDS = """
import os, pickle, signal, sys, time
from captionqa.driver.driver import Driver

with open(sys.argv[1], "rb") as file:
    config, layout = pickle.load(file)
driver = Driver(config, layout, interrupt=sys.argv[2] != "Ctrl-C twice")
driver.begin({}, {"tiny": False}, {"tiny": {"name": "run"}})
if sys.argv[2] == "a stop signal":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
elif sys.argv[2] == "Ctrl-C twice":
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        driver.cancel()
elif sys.argv[2] == "an error":
    raise RuntimeError
elif sys.argv[2] == "an error that is handled":
    driver.cancel()
else:
    driver.end()
"""
ALL = ["run", "run-server-0", "run-server-1"]


@pytest.fixture
def scancel(tmp_path, monkeypatch):
    """A scancel that knows the jobs in ALL and, like Slurm's, takes one name at a time; returns what it cancelled."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    cancelled = tmp_path / "cancelled"
    cancelled.touch()
    script = folder / "scancel"
    check = f'[ "$2" != "--name=$known" ] || echo "$known" >> {cancelled}'
    script.write_text(f"#!/bin/sh\nfor known in {' '.join(ALL)}; do {check}; done\n")
    script.chmod(0o755)
    return lambda: cancelled.read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "left"),
    [("a stop signal", []), ("Ctrl-C twice", []), ("an error", []), ("an error that is handled", []), ("success", ALL)],
)
def test_a_run_that_does_not_succeed_cancels_its_slurm_jobs_once_however_it_ends(
    end, left, scancel, make_config, tmp_path, start_python
):
    config = make_config({"models": {"tiny": {"server": {"replicas": 2}}}})
    (tmp_path / "driver.pickle").write_bytes(pickle.dumps((config, Layout(config.output_dir, "tiny"))))
    process = start_python(ENDS, tmp_path / "driver.pickle", end)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode == 0) == (end in ("Ctrl-C twice", "an error that is handled", "success")), errors
    assert scancel() == [name for name in ALL if name not in left]


#: A driver that stands still for longer than its lease holds, and whose jobs have failed before it looks at them again.
SUSPENDED = """
import pickle, sys, time
from captionqa.driver import driver
from captionqa.run import lease

with open(sys.argv[1], "rb") as file:
    config, layout = pickle.load(file)
lease.RENEW_INTERVAL_S = driver.WATCH_INTERVAL_S = 3600
run = driver.Driver(config, layout)
run.begin({}, {"tiny": False})
time.sleep(2.5)
lease.RENEW_INTERVAL_S = 0
run.cancel()
"""


@pytest.mark.slow
def test_a_driver_that_stood_still_says_so_also_where_its_run_ends_before_it_looks_at_its_jobs(
    make_config, tmp_path, start_python
):
    config = make_config({"models": {"tiny": {"server": {"lease_timeout_s": 2}}}})
    layout = Layout(config.output_dir, "tiny")
    (tmp_path / "driver.pickle").write_bytes(pickle.dumps((config, layout)))
    process = start_python(SUSPENDED, tmp_path / "driver.pickle")
    output = "".join(process.communicate(timeout=60))
    assert process.returncode == 0, output
    assert output.count("longer than server.lease_timeout_s (2 s)") == 1
    assert any("the driver stood still" in text for text in failure_messages(layout))
