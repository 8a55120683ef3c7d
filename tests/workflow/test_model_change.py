"""Another model under the same name: no answer of one stands beside an answer of the other, and going back is free."""

import json
import shutil
import sys

import pytest
from projects import MODEL, PATIENCE_S, job_counts

pytestmark = pytest.mark.slow

REFUSED = "it serves another model than this run was planned with"
#: "Downloads" the commit that hub.txt names into the cache, as vLLM does while it loads, and becomes the stand-in.
DOWNLOADING = """
import os, sys
from pathlib import Path
refs = Path(os.environ["HF_HOME"], "hub", "models--org--tiny", "refs")
refs.mkdir(parents=True, exist_ok=True)
refs.joinpath("main").write_text(Path("hub.txt").read_text())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def revisions(project, style="simple"):
    return {server["model_revision"] for server in project.captions(style, "_provenance")["answered_by"]}


def test_replaced_weights_ask_for_all_again_with_the_reason_and_restored_ones_for_nothing(completed):
    captions, first = completed.captions(), revisions(completed)
    weights = completed.folder / "model.safetensors"
    weights.write_bytes(b"another model")
    completed.forget_requests()
    text = completed.run("-n")
    assert f"the model {MODEL} is not as it was in the last run: its revision was local-" in text
    assert (job_counts(text)["caption_chunk"], job_counts(text)["answer_chunk"]) == (4, 2)
    assert f"the model {MODEL} is not as it was in the last run" in completed.run()
    assert len(completed.requests()) == 26
    assert completed.asked_once()
    assert revisions(completed).isdisjoint(first)
    assert completed.plan() == {}
    weights.unlink()
    completed.forget_requests()
    completed.run()
    assert not completed.ran().keys() & {"caption_chunk", "answer_chunk"}
    assert "merge_captions" in completed.ran()
    assert completed.requests() == []
    assert completed.captions() == captions
    assert revisions(completed) == first


def test_a_server_option_that_decides_answers_asks_again_and_one_that_does_not_asks_nothing(completed):
    server = completed.config["models"][MODEL]["server"]
    server["extra_args"] = ["--gpu-memory-utilization", "0.5"]
    server["port"] = 8123
    assert completed.plan() == {}
    template = completed.folder / "own.template"
    template.write_text("one")
    server["extra_args"] += ["--chat-template", "own.template"]
    completed.forget_requests()
    assert "--chat-template was not set, is own.template" in completed.run()
    assert len(completed.requests()) == 26
    template.write_text("two")
    completed.forget_requests()
    assert "the content of own.template changed" in completed.run()
    assert len(completed.requests()) == 26


def test_weights_that_are_replaced_while_a_run_goes_on_end_it_at_the_servers_next_start(project):
    project.faults(hold=3)
    driver = project.start()
    project.wait_for(lambda: project.journaled() >= 3)
    (project.folder / "model.safetensors").write_bytes(b"another model")
    project.kill("stand_in_server.py")
    assert driver.wait(PATIENCE_S) != 0
    assert REFUSED in project.printed()
    assert not any(project.out.glob("captions/*/*_simple.json"))
    before = project.journaled()
    assert before < 26
    project.faults()
    project.forget_requests()
    assert f"the model {MODEL} is not as it was in the last run" in project.run()
    assert len(project.requests()) == 26
    assert all(len(revisions(project, style)) == 1 for style in ("simple", "short"))


def test_a_hubs_model_that_moves_on_unseen_is_refused_once_and_then_asked_for_all(project):
    cache = project.folder / "cache"
    model = project.config["models"][MODEL]
    stand_in = model["server"]["command"][1]
    (project.folder / "download.py").write_text(DOWNLOADING)
    model["path"] = "org/tiny"
    model["server"]["command"] = [sys.executable, str(project.folder / "download.py"), stand_in]
    model["server"]["env"]["HF_HOME"] = str(cache)
    (project.folder / "hub.txt").write_text("a" * 40)
    project.run()
    assert revisions(project) == {"a" * 40}
    assert project.plan() == {}
    (project.folder / "hub.txt").write_text("b" * 40)
    shutil.rmtree(cache)
    project.config["captions"]["max_tokens"] = 99
    project.forget_requests()
    text = project.run(check=False)
    assert REFUSED in text
    assert f"its revision was {'a' * 40}, is {'b' * 40}" in text
    assert project.requests() == []
    assert revisions(project) == {"a" * 40}  # of the file that is there
    assert f"its revision was {'a' * 40}, is {'b' * 40}" in project.run()
    assert len(project.requests()) == 26
    assert revisions(project) == {"b" * 40}
    assert not project.processes()


def test_a_run_of_the_version_before_continues_and_says_what_it_takes_its_answers_for(completed):
    """Its folders have no record of the model's versions, and name revisions by the sizes of files alone."""
    record = completed.out / "work" / MODEL / "model_versions.json"
    (version,) = json.loads(record.read_text())["versions"]
    record.unlink()
    completed.forget_requests()
    text = completed.run("-n")
    assert "count as answers of the model as it is now" in text
    assert "captionqa: nothing to do: " in text
    completed.config["captions"]["prompt_styles"].append("LONG")
    completed.run()
    assert len(completed.requests()) == 10
    assert json.loads(record.read_text()) == {"versions": [version], "planned": 0}
