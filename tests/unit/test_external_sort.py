"""Sorting on disk: the same order as in memory, and no file that outlives the process."""

import os
import signal
import subprocess
import sys

import pytest
from captionqa.external_sort import ExternalSort
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters() | st.sampled_from("\ud800\udce9\udfff"), max_size=4)
RECORDS = st.lists(st.tuples(st.integers(0, 3), TEXT, st.none()), max_size=30)


@given(records=RECORDS, run=st.integers(1, 8))
def test_the_order_is_pythons_own_whatever_fits_in_memory(tmp_path_factory, records, run):
    with ExternalSort(tmp_path_factory.getbasetemp(), run_records=run) as sort:
        for record in records:
            sort.add(record)
        assert len(sort) == len(records)
        assert list(sort) == sorted(records)


def test_records_that_fit_in_memory_take_no_file(tmp_path):
    with ExternalSort(tmp_path / "none") as sort:
        sort.add((1, "a"))
        assert list(sort) == [(1, "a")]
    assert not (tmp_path / "none").exists()


def test_no_more_than_a_run_and_a_block_of_each_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("captionqa.external_sort.BLOCK_RECORDS", 5)
    read = []
    with ExternalSort(tmp_path, run_records=100) as sort:
        for number in range(1000):
            sort.add((number * 7919 % 1000,))
            assert len(sort._records) < 100
        inner = sort._file.read
        monkeypatch.setattr(sort._file, "read", lambda where: read.append(where) or inner(where))
        records = iter(sort)
        next(records)
        assert len(read) == 10
        assert [0, *(record[0] for record in records)] == list(range(1000))


@pytest.mark.parametrize("end", ["error", "kill"])
def test_nothing_is_left_of_a_sort_that_was_ended(tmp_path, workflow_folder, end):
    code = (
        "import os, sys; from captionqa.external_sort import ExternalSort\n"
        "with ExternalSort(sys.argv[1], run_records=10) as sort:\n"
        "    for number in range(1000): sort.add((number,))\n"
        "    print('spilled', os.fstat(sort._file._file.fileno()).st_size > 0, flush=True)\n"
        "    sys.stdin.read(1) or sys.exit(1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(workflow_folder)},
    )
    with process:
        assert process.stdout.readline() == "spilled True\n"
        if end == "kill":
            process.send_signal(signal.SIGKILL)
        process.stdin.close()
    assert process.returncode == (-signal.SIGKILL if end == "kill" else 1)
    assert list(tmp_path.iterdir()) == []
