"""Several data sets in one configuration: one server start for each model, and only what is new is asked."""

import json

import pandas as pd
import pytest
import yaml
from projects import KILL_PAGE_JOB, MODEL, draw_image, stand_in_server

pytestmark = pytest.mark.slow

SECOND = "two"
#: Two models, two data sets, two contexts, in as many lines as a page has.
CONFIG = """
output_dir: out
models:
  stand-in: &model {path: ., served_model_name: stand-in, server: SERVER}
  two: {<<: *model, served_model_name: two, server: SECOND}
captions:
  docs: &captions {dataset_path: docs, prompt_styles: [SHORT], chunks: 2}
  photos: {<<: *captions, dataset_path: photos}
qa:
  docs: &qa {question_path: docs.parquet, contexts: [image, caption], chunks: 2}
  photos: {<<: *qa, question_path: photos.parquet}
client: {concurrency: 4, backoff_s: 0.1, max_attempts: 3}
"""
QUESTION = "{}: what is number {}?\nA. this\nB. that"


def add_data(project, name, images, questions):
    """A folder of images, and a file of questions on them."""
    for number in range(images):
        draw_image(project.folder / name / f"{number}.png", hash_of(name) + number)
    pd.DataFrame(
        {
            "qid": [f"q{number}" for number in range(questions)],
            "question": [QUESTION.format(name, number) for number in range(questions)],
            "answer": ["A", "B"] * (questions // 2),
            "image": [f"{name}/{number % images}.png" for number in range(questions)],
        }
    ).to_parquet(project.folder / f"{name}.parquet")


def hash_of(name):
    return {"docs": 0, "photos": 5, "maps": 10}[name]


@pytest.fixture
def project(project):
    """A project of two models and two data sets; what the second model is asked is in a file of its own."""
    add_data(project, "docs", 4, 6)
    add_data(project, "photos", 3, 4)
    project.config = yaml.safe_load(CONFIG)
    for name, requests in ((MODEL, "requests.jsonl"), (SECOND, "two.jsonl")):
        project.config["models"][name]["server"] = stand_in_server(project.folder)
        project.config["models"][name]["server"]["env"]["STAND_IN_REQUESTS"] = str(project.folder / requests)
    return project


@pytest.fixture
def asked(project):
    """Ask for, and forget, what each model was asked since the last time."""

    def read():
        found = {}
        for name, path in ((MODEL, project.folder / "requests.jsonl"), (SECOND, project.folder / "two.jsonl")):
            found[name] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            path.unlink(missing_ok=True)
        return {name: requests for name, requests in found.items() if requests}

    return read


def read(project, data_set, model, kind):
    return json.loads((project.out / data_set / "qa" / model / f"{model}_{kind}.json").read_text())


def texts(requests):
    return [request["text"] for request in requests]


def test_two_models_and_two_data_sets_and_what_a_change_of_one_cell_asks(project, asked, tmp_path, monkeypatch):
    text = project.run("-n")
    # captions, then questions with their images and with captions
    assert (
        "would ask 2 models, one after another:\n"
        f"  {MODEL}, 1 server to start\n"
        f"  {SECOND}, 1 server to start:\n"
        "    docs: 4 images to caption and 6 questions to answer (12 requests)\n"
        "    photos: 3 images to caption and 4 questions to answer (8 requests)\n"
        "  together 54 requests\n"
    ) in text
    text = project.run()
    assert text.count("the server is starting") == 2
    requests = asked()
    assert {name: len(found) for name, found in requests.items()} == {MODEL: 4 + 12 + 3 + 8, SECOND: 4 + 12 + 3 + 8}
    for model in (MODEL, SECOND):
        for data_set, questions in (("docs", 6), ("photos", 4)):
            assert read(project, data_set, model, "qa_metrics")["answered_questions"] == questions
            assert read(project, data_set, model, "qa_caption_short_metrics")["answered_questions"] == questions
            captions = project.out / data_set / "captions" / model / f"{model}_short.json"
            caption = json.loads(captions.read_text())["0.png"]
            assert f"[Image: {caption}]\n{QUESTION.format(data_set, 0)}" in texts(requests[model])
    assert (project.out / "work" / MODEL / "server" / "ready.json").exists()
    assert not (project.out / "captions").exists()
    assert not (project.out / "docs" / "work" / MODEL / "server").exists()
    assert not list((project.out / "work" / MODEL / "errors").glob("*"))
    for data_set in ("docs", "photos"):
        assert (project.out / data_set / "report" / "index.html").exists()
    assert "look at the results in a browser: out/report/index.html" in text
    assert project.plan() == {}
    status = project.captionqa("status")
    assert f"docs: {MODEL}: captions SHORT" in status
    assert f"photos: {SECOND}: qa caption SHORT" in status
    assert "nothing is left to send" in project.captionqa("estimate")

    # a prompt of one data set
    project.config["captions"]["docs"]["prompts"] = {"SHORT": "Name it."}
    project.run()
    requests = asked()
    assert set(requests) == {MODEL, SECOND}
    for found in requests.values():
        assert sum(text.endswith("Name it.") for text in texts(found)) == 4
        assert len(found) == 4 + 6
        assert not any("photos" in text for text in texts(found))

    # one more data set
    add_data(project, "maps", 2, 2)
    project.config["qa"]["maps"] = {"question_path": "maps.parquet", "chunks": 1}
    project.config["audit"] = {"stop_on": ["unreadable_image"]}
    assert "audit of 2 items: " in project.run()
    requests = asked()
    assert {name: len(found) for name, found in requests.items()} == {MODEL: 2, SECOND: 2}
    assert all("maps" in text for found in requests.values() for text in texts(found))

    # one data set and one model less, and the job of the page of all killed
    del project.config["qa"]["docs"], project.config["captions"]["docs"], project.config["models"][SECOND]
    (tmp_path / "sitecustomize.py").write_text(KILL_PAGE_JOB.replace("SCRIPT", ".page_of_all.py"))
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        text = project.run()
    assert asked() == {}
    assert "the server is starting" not in text
    assert "their page could not be made: the job that makes it was killed" in text.partition("captionqa: done in")[2]
    assert set(project.plan()) == {"page_of_all", "check_failures", "default"}

    # what the next run asks again
    said = project.captionqa("forget", "--data-set", "photos", "--task", "qa")
    assert "photos: qa: 4 of 4 answers" in said
    assert "maps" not in said
    project.run()
    assert len(asked()[MODEL]) == 8
    assert project.plan() == {}


def test_a_failed_chunk_of_one_data_set_holds_back_no_merge_of_another(project, asked):
    del project.config["models"][SECOND]
    project.config["qa"]["docs"]["contexts"] = project.config["qa"]["photos"]["contexts"] = ["image"]
    journal = project.out / "docs" / "work" / MODEL / "qa" / "journal"
    journal.parent.mkdir(parents=True)
    journal.touch()  # no folder can be made there, so that each chunk of these questions fails
    text = project.run("--keep-going", check=False)
    assert "of docs" in text
    assert read(project, "photos", MODEL, "qa_metrics")["answered_questions"] == 4
    assert (project.out / "docs" / "captions" / MODEL / f"{MODEL}_short.json").exists()
    assert not (project.out / "docs" / "qa").exists()
    page = project.out / "photos" / "report" / "index.html"
    assert page.stat().st_mtime_ns, "it has the page of an unfinished run"
    journal.unlink()
    project.config["export"] = {"qa": ["jsonl"], "captions": ["jsonl"]}
    asked()
    project.run()
    assert read(project, "docs", MODEL, "qa_metrics")["answered_questions"] == 6
    assert not any("photos" in text for text in texts(asked()[MODEL]))
    for data_set in ("docs", "photos"):
        exports = project.out / data_set / "export"
        assert (exports / "qa" / MODEL / f"{MODEL}_qa_jsonl" / ".export").exists()
        assert (exports / "captions" / MODEL / f"{MODEL}_short_jsonl" / ".export").exists()
