"""However a run ends, the driver cancels its Slurm jobs: clients that wait in the queue do not see the lease."""

import pickle

import pytest
from captionqa.config.layout import Layout

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
