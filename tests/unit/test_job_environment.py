"""The environment of jobs: this checkout's modules come first, once, and the user's own folders stay."""

import os

import captionqa
import pytest
from captionqa.run.job_environment import prefer_checkout

HERE = str(captionqa.WORKFLOW)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, [HERE]),
        ("", [HERE]),
        ("/users/own", [HERE, "/users/own"]),
        (os.pathsep.join(["/users/own", HERE, "/other"]), [HERE, "/users/own", "/other"]),
    ],
)
def test_the_checkout_comes_first_once(before, after, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", before or "")
    if before is None:
        monkeypatch.delenv("PYTHONPATH")
    for _ in range(2):  # a job's process does it once more
        prefer_checkout()
        assert os.environ["PYTHONPATH"].split(os.pathsep) == after
