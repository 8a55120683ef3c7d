"""A driver that is suspended (SIGSTOP) for longer than its lease holds."""

import signal

import pytest
from projects import PATIENCE_S

pytestmark = pytest.mark.slow


def test_a_driver_that_was_suspended_too_long_says_so_and_the_next_run_asks_only_for_the_rest(project):
    project.faults(hold=3)
    driver = project.start()
    project.wait_for(lambda: project.journaled() > 2)
    driver.send_signal(signal.SIGSTOP)
    project.wait_for(lambda: [process.pid for process in project.processes()] == [driver.pid])
    kept = project.journaled()
    driver.send_signal(signal.SIGCONT)
    assert driver.wait(PATIENCE_S) != 0
    said = "longer than server.lease_timeout_s (8 s), so its server and jobs end by themselves"
    assert project.printed().count(said) == 2  # at once, and once more at the end of the run
    assert "Traceback" not in project.printed()
    assert not project.processes()

    project.faults()
    project.forget_requests()
    project.run()
    assert len(project.requests()) == 26 - kept
    assert project.asked_once()
    assert len(project.captions("short")) == 10
    assert not project.processes()
