"""The heartbeat of an API server when its disk fails."""

import asyncio
import errno
import os

from captionqa.server import heartbeat
from captionqa.server.server_process import TEMPORARY_VARIABLE


def test_a_heartbeat_that_cannot_be_written_any_more_is_none_of_a_process_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setenv(TEMPORARY_VARIABLE, str(tmp_path))
    real, failures = os.utime, iter([None, OSError(errno.ENOSPC, "full")])

    def utime(descriptor):
        if (error := next(failures)) is not None:
            raise error
        real(descriptor)

    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0)
    monkeypatch.setattr(heartbeat.os, "utime", utime)
    asyncio.run(heartbeat.beat())
    assert heartbeat.last_beats(tmp_path) == {}
