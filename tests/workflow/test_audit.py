"""The audit as a user meets it: asked for by name, or as what stops a run before any server starts."""

import pytest
from projects import MODEL

pytestmark = pytest.mark.slow


def test_an_audit_stops_a_run_before_its_server_starts_and_can_be_asked_for_alone(project):
    (project.folder / "images" / "empty.png").touch()
    project.config["audit"] = {"stop_on": ["unreadable_image"]}
    text = project.run(check=False)
    assert "captionqa: the audit found 1 unreadable_image, on which audit.stop_on stops the run" in text
    assert "Traceback" not in text
    assert not (project.out / "work" / MODEL / "server" / "request.json").exists()

    project.config["audit"] = {}
    (project.out / "audit.tsv").unlink()
    text = project.run("audit")
    assert project.ran() == {"audit": 1}
    assert "1 unreadable_image: the run fails the item without asking" in text
    assert "empty.png\tunreadable_image" in (project.out / "audit.tsv").read_text()
    assert project.requests() == []


def test_without_a_word_no_image_is_looked_at_before_the_run(completed):
    assert not (completed.out / "audit.tsv").exists()
