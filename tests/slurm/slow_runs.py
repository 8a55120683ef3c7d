"""Runs of which a test has time to disturb something."""


def start_slowly(project, *arguments, answers=2):
    """Start a run with slow answers, and return its driver once so many of them are journaled."""
    project.faults(delay_s=1)
    driver = project.start(*arguments)
    project.wait_for(lambda: project.journaled() >= answers)
    return driver


def finish(project, driver, items=10):
    """Let a slow run finish, and check that it has every item once and no failure."""
    project.faults()
    assert driver.wait(120) == 0, project.printed()
    assert len(project.captions()) == items
    assert project.captions(suffix="_failures") == {}
