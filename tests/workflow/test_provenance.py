"""What stands beside the final files of a real run."""

import json
import platform
import subprocess

import pytest
from captionqa.driver.bottleneck import MIN_REQUEST_TIME_S
from captionqa.server.model_revision import model_revision
from projects import MODEL, ROOT

pytestmark = pytest.mark.slow


def test_provenance_names_all_that_a_result_depends_on(completed):
    for made in (completed.captions("short", "_provenance"), completed.qa("provenance")):
        (server,) = made["servers"]
        assert made["settings"]["model"] == MODEL
        assert server["versions"] == {
            "vllm": "stand-in",
            "model_revision": model_revision(str(completed.folder), [], {}),
        }
        assert {"--model", "--max-model-len", "--dtype"} <= set(server["argv"])
        assert made["answered_by"][0]["model_revision"] == server["versions"]["model_revision"]
        assert made["settings"]["sampling"]["temperature"] == 0
        assert made["packages"]["python"] == platform.python_version()
        assert all(made["packages"].values())
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        assert made["captionqa"]["git_commit"] == (head or None)
        assert isinstance(made["captionqa"]["git_dirty"], bool if head else type(None))
        assert len(made["dataset_fingerprint"]) == len(made["content_fingerprint"]) == 24
        assert made["started"] <= made["finished"]
        assert made["tokens"]["prompt"] == 10 * made["counts"]["answered"]
        assert made["tokens"]["completion"] == 5 * made["counts"]["answered"]
        assert {"host", "job"} <= made["clients"][0].keys()
    assert completed.captions("short", "_provenance")["settings"]["prompt"].startswith("Write a very short")
    assert completed.qa("provenance")["question_file"]["path"] == "questions.parquet"


def test_the_verdict_accounts_for_the_whole_time_of_the_run(completed):
    made = json.loads((completed.out / "logs" / MODEL / "verdict.json").read_text())
    phases = made["phases"]
    assert sum(phases.values()) == pytest.approx(made["seconds"])
    assert phases["queue"] == 0
    assert all(phases[name] > 0 for name in ("planning", "start", "first_client", "asking", "merging", "else"))
    assert made["asking"]["seconds"] == pytest.approx(phases["asking"])
    assert made["asking"]["without_server_s"] == 0
    assert (made["clients"]["jobs"], made["clients"]["asked"]) == (6, 26)
    assert made["limit"] == "unknown" or phases["asking"] >= MIN_REQUEST_TIME_S  # in so short a time
