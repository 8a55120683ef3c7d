"""Which version of its model a run is planned with: known ones, new ones, and those of answers without a record."""

import dataclasses
import json
from pathlib import Path

import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.check import check
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.driver.planned_model import plan_model
from captionqa.files import read_json_lines, write_json
from captionqa.server.endpoint import Endpoint, State

COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-cache"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def weights(tmp_path):
    """A local model's folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"1" * 1000)
    return folder


@pytest.fixture
def planned(make_config, tmp_path):
    """Plan a run and save the record as the driver does; gives (fingerprint of the captions, message)."""

    def plan(save=True, **model):
        config = make_config({"models": {"tiny": model}})
        found = plan_model(config, Layout(config.output_dir, "tiny"))
        if save:
            found.save(Layout(config.output_dir, "tiny"))
        return fingerprint(caption_settings(found.config, "tiny", "SIMPLE")), found.message

    return plan


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "output"), "tiny")


def served(layout, config, **endpoint):
    """Leave the files of a server that has run for a configuration."""
    layout.server.mkdir(parents=True, exist_ok=True)
    request = {"request_id": "r", "model_path": config.model.path, "server": dataclasses.asdict(config.model.server)}
    write_json(layout.server_files.request, request)
    named = {"replica": 0, "request_id": "r", "settings": "s", "model": "org/tiny"}
    Endpoint(**{**named, **endpoint}).publish(layout.server)


def test_the_first_version_leaves_the_fingerprint_as_it_was_without_versions(planned, weights, make_config):
    plain = make_config({"models": {"tiny": {"path": str(weights)}}})
    before = fingerprint(caption_settings(plain, "tiny", "SIMPLE"))
    assert planned(path=str(weights)) == (before, None)
    assert planned(path=str(weights)) == (before, None)


def test_retouched_weights_of_the_same_size_ask_again_and_restored_ones_do_not(planned, weights):
    first, _ = planned(path=str(weights))
    (weights / "model.safetensors").write_bytes(b"1" * 999 + b"2")
    second, message = planned(path=str(weights))
    assert second != first
    assert "its revision was local-" in message
    assert planned(path=str(weights)) == (second, None)
    (weights / "model.safetensors").write_bytes(b"1" * 1000)
    third, message = planned(path=str(weights))
    assert third == first
    assert "its revision was local-" in message


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float16"},
        {"extra_args": ["--quantization", "awq"]},
        {"extra_args": ["--chat-template", "other.jinja"]},
        {"extra_args": ["--lora-modules", "a=/adapters/a"]},
        {"extra_args": ["--mm-processor-kwargs.max_pixels=9"]},
    ],
    ids=str,
)
def test_an_option_that_decides_answers_asks_again_and_says_why(planned, weights, change):
    first, _ = planned(path=str(weights))
    second, message = planned(path=str(weights), server=change)
    assert second != first
    name = "--dtype" if "dtype" in change else change["extra_args"][0].partition("=")[0]
    assert f"{name} was not set, is " in message
    assert planned(path=str(weights))[0] == first


def test_an_option_that_decides_nothing_asks_for_nothing(planned, weights):
    first = planned(path=str(weights))
    other = {"extra_args": ["--gpu-memory-utilization", "0.5"], "port": 9, "replicas": 2, "tensor_parallel_size": 2}
    assert planned(path=str(weights), server=other) == first


def test_a_chat_template_that_changes_under_its_name_asks_again(planned, weights, tmp_path):
    template = tmp_path / "own.jinja"
    template.write_text("one")
    server = {"extra_args": ["--chat-template", str(template)]}
    first, _ = planned(path=str(weights), server=server)
    template.write_text("two")
    second, message = planned(path=str(weights), server=server)
    assert second != first
    assert f"the content of {template} changed" in message


def test_a_dry_run_changes_nothing_for_a_run_that_goes_on(planned, weights, make_config):
    first, _ = planned(path=str(weights))
    (weights / "config.json").write_text('{"other": 1}')
    assert planned(save=False, path=str(weights))[0] != first
    job = make_config({"models": {"tiny": {"path": str(weights)}}})
    assert fingerprint(caption_settings(job, "tiny", "SIMPLE")) == first


def test_jobs_have_the_version_that_the_driver_planned(planned, weights, raw_config, schema):
    planned(path=str(weights))
    (weights / "config.json").write_text('{"other": 1}')
    second, _ = planned(path=str(weights))
    raw = raw_config({"models": {"tiny": {"path": str(weights)}}})
    check(raw, schema)
    (weights / "config.json").write_text('{"third": 1}')  # what the folder has by now is not the job's business
    assert fingerprint(caption_settings(Config.of(json.loads(json.dumps(raw))), "tiny", "SIMPLE")) == second


def test_a_hubs_commit_that_only_a_server_learns_belongs_to_the_run_that_started_it(planned, layout, make_config):
    first, message = planned(path="org/tiny")
    assert message is None
    config = make_config({"models": {"tiny": {"path": "org/tiny"}}})
    served(layout, config, versions={"model_revision": COMMIT}, state=State.DEAD)
    assert planned(path="org/tiny") == (first, None)
    served(layout, config, versions={"model_revision": OTHER_COMMIT}, state=State.DEAD)
    second, message = planned(path="org/tiny")
    assert second != first
    assert COMMIT in message
    assert OTHER_COMMIT in message
    # naming the first commit is that version again
    assert planned(path="org/tiny", server={"extra_args": ["--revision", COMMIT]})[0] == first


def test_another_revision_of_a_hubs_model_asks_again_before_its_commit_is_known(planned):
    first, _ = planned(path="org/tiny")
    second, message = planned(path="org/tiny", server={"extra_args": ["--revision", "v2"]})
    assert second != first
    assert "--revision was not set, is v2" in message


def test_an_existing_server_that_says_another_root_asks_again(planned, layout, make_config):
    url = {"path": "org/tiny", "url": "http://node:8000/v1"}
    first, _ = planned(**url)
    config = make_config({"models": {"tiny": url}})
    here = {"state": State.READY, "url": "http://node:8000"}
    served(layout, config, request_id="own", versions={"model_root": "/models/a"}, **here)
    assert planned(**url) == (first, None)
    served(layout, config, request_id="own", versions={"model_root": "/models/b"}, **here)
    second, message = planned(**url)
    assert second != first
    assert "it serves /models/a, and says /models/b" in message


@pytest.fixture
def earlier(jobs, server, server_folder, images, publish, layout):
    """Answers as captionqa 0.1 left them: results and a journal, and no record of versions."""

    def leave(revision, argv=("vllm", "--dtype", "auto", "--generation-config", "vllm")):
        images.add("a.png", "b.png")
        publish(server.url, versions={"model_revision": revision}, argv=list(argv))
        (job,) = jobs()
        ChunkRun(job).run()
        assert not layout.model_versions.exists()
        return job

    return leave


def test_answers_without_a_record_count_as_the_present_models_and_this_is_said_once(earlier, planned):
    job = earlier("unknown")
    now, message = planned(path="org/tiny")
    assert now == fingerprint(job.settings)
    assert "count as answers of the model as it is now" in message
    assert planned(path="org/tiny") == (now, None)


def test_of_answers_without_a_record_what_they_say_of_their_server_counts(earlier, planned):
    job = earlier(COMMIT)
    now, message = planned(path="org/tiny", server={"extra_args": ["--revision", OTHER_COMMIT]})
    assert now != fingerprint(job.settings)
    assert f"its revision was {COMMIT}, is {OTHER_COMMIT}" in message
    assert planned(path="org/tiny", server={"extra_args": ["--revision", COMMIT]})[0] == fingerprint(job.settings)


def test_of_answers_without_a_record_the_servers_command_line_counts(earlier, planned):
    job = earlier("unknown", argv=["vllm", "--dtype", "auto", "--chat-template", "a.jinja"])
    now, message = planned(path="org/tiny")
    assert now != fingerprint(job.settings)
    assert "--chat-template was a.jinja, is not set" in message


def test_a_journal_alone_says_its_models_revision_too(earlier, planned):
    job = earlier(COMMIT)
    Path(job.result).unlink()
    assert planned(path="org/tiny", server={"extra_args": ["--revision", OTHER_COMMIT]})[0] != fingerprint(job.settings)


def test_of_a_mixed_journal_the_other_models_answers_are_asked_again(earlier, jobs, images, server, publish):
    job = earlier(COMMIT)
    asked = len(server.asked)
    images.add("c.png")
    publish(server.url, versions={"model_revision": OTHER_COMMIT})
    (job,) = jobs()
    ChunkRun(job).run()
    assert len(server.asked) == asked + 1  # as versions before did: two models in one file
    version = {"source": "org/tiny", "options": {}, "files": {}, "revision": OTHER_COMMIT, "root": None}
    Path(job.result).unlink()
    ChunkRun(dataclasses.replace(job, model_version=version)).run()
    assert len(server.asked) == asked + 3
    answers = [line["answer"]["server"] for line in read_json_lines(job.result) if "answer" in line]
    assert [server["model_revision"] for server in answers] == [OTHER_COMMIT] * 3
