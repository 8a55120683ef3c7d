"""Runs of which a test has time to disturb something."""

from projects import PATIENCE_S


def start_slowly(project, *arguments, answers=2):
    """Start a run, and return its driver once so many further answers are journaled and each client waits for one.

    The servers give no more of them until the test takes their faults away: each client job has one request in flight.
    """
    known, asked = project.journaled(), len(project.requests())
    project.faults(delay_s=1, hold=answers)
    driver = project.start(*arguments)
    project.wait_for(lambda: project.journaled() >= known + answers)
    project.wait_for(lambda: len(project.requests()) >= asked + answers + project.config["captions"]["chunks"])
    return driver


def finish(project, driver, items=10):
    """Let a slow run finish, and check that it has every item once and no failure."""
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert len(project.captions()) == items
    assert project.captions(suffix="_failures") == {}
