"""Questions in several contexts, from start to end: one server, and of a finished run only what is new."""

import json

import pytest
from projects import MODEL, stand_in_server

pytestmark = pytest.mark.slow

READER = "reader"
CLOSING = {"start_server": 1, "release": 2, "page": 1, "check_failures": 1, "default": 1}


def test_a_context_or_a_style_that_is_added_to_a_finished_run_asks_only_what_is_new(completed):
    """The stand-in's answers are digests of what it was asked, so a caption is known by its image."""
    images_alone = completed.qa("results")
    completed.forget_requests()
    completed.config["qa"]["contexts"] = ["image", "caption", "none", "gray"]
    text = completed.run()
    assert completed.ran() == {**CLOSING, "answer_chunk": 8, "merge_captions": 2, "merge_qa": 5, "compare_contexts": 1}
    assert text.count("the server is starting") == 1
    requests = completed.requests()
    assert not [request for request in requests if "caption for the given image" in request["text"]]
    of_images = [request for request in requests if request["images"]]
    assert len({tuple(request["images"]) for request in of_images}) == 2  # one gray picture, or two
    captions = completed.captions("short")
    asked = {request["text"] for request in requests}
    assert f"[Image: {captions['a/5.png']}]\n[Image: {captions['b/4.png']}]\nWhat is it?\nA. this\nB. that" in asked
    assert completed.qa("results") == images_alone
    record = completed.qa("caption_short_results")["q0"]
    assert (record["context"], record["image_paths"]) == ("caption_short", ["a/1.png"])
    assert completed.qa("none_metrics")["context"] == "none"
    comparison = json.loads((completed.out / "comparison.json").read_text())
    cells = {cell["context"]: cell["correct"] for cell in comparison["cells"]}
    assert len(cells) == 5
    assert cells["none"] == completed.qa("none_metrics")["correct_answers"]
    assert (completed.out / "comparison.md").exists()
    assert (completed.out / "comparison.csv").exists()

    completed.forget_requests()
    completed.config["captions"]["prompt_styles"].append("LONG")
    completed.run()
    assert completed.ran() == {
        **CLOSING,
        "caption_chunk": 2,
        "answer_chunk": 2,
        "merge_captions": 3,
        "merge_qa": 6,
        "compare_contexts": 1,
    }
    long, others = [], []
    for request in completed.requests():
        (long if "very long" in request["text"] else others).append(request["text"])
    captions = completed.captions("long")
    assert len(long) == 10
    assert all(any(f"[Image: {caption}]" in text for caption in captions.values()) for text in others)
    assert len(others) == 6
    assert completed.plan() == {}

    # what cannot be read stops the plan, though all files that would be made are there
    links = completed.out / "work" / "items" / "qa" / "caption_links.json"
    links.unlink()
    links.mkdir()
    said = "captionqa: out/work/items/qa/caption_links.json: Is a directory; is output_dir a folder"
    assert said in completed.run("-n", check=False)


def test_captions_of_the_questions_images_alone_and_of_a_file(project):
    known = {"a/1.png": "a red one", "a/3": "a green one", "q3": "a blue one"}
    (project.folder / "known.json").write_text(json.dumps(known))
    project.config["captions"] = {"prompt_styles": ["SHORT"], "chunks": 1}
    project.config["qa"] |= {"contexts": ["caption"], "captions_from": str(project.folder / "known.json"), "chunks": 1}
    project.config["client"]["max_failed_fraction"] = 1
    project.run()
    assert set(project.captions("short")) == {
        f"{name}.png" for name in ("a/1", "a/3", "a/5", "a/7", "b/0", "b/2", "b/4")
    }
    assert project.qa("caption_file_results").keys() == {"q0", "q1", "q3"}
    failures = project.qa("caption_file_failures")
    assert {failure["reason"] for failure in failures.values()} == {"missing_caption"}
    assert not (project.out / "qa" / MODEL / f"{MODEL}_qa_results.json").exists()
    assert project.plan() == {}
    project.forget_requests()
    (project.folder / "known.json").write_text(json.dumps(known | {"q5": "a new one"}))
    project.run()
    assert [request["text"].partition("\n")[0] for request in project.requests()] == ["[Image: a new one]"]


@pytest.fixture
def read(project):
    """The project with a reader, each task in one chunk, and a way to read one of its answers files."""
    reader = {"path": ".", "served_model_name": READER, "server": stand_in_server(project.folder)}
    reader["server"]["env"]["STAND_IN_REQUESTS"] = str(project.folder / "reader.jsonl")
    project.config["models"][READER] = reader
    project.config["captions"] |= {"prompt_styles": ["SHORT"], "chunks": 1}
    project.config["qa"] |= {"contexts": ["image", "caption", "none"], "reader": READER, "chunks": 1}

    def answers(kind):
        return json.loads((project.out / "qa" / READER / f"{READER}_{kind}.json").read_text())

    return answers


def server_changes(project, model):
    """(state, time) of the last server of a model, from the first to the last."""
    return json.loads((project.out / "work" / model / "server" / "endpoint-0.json").read_text())["changes"]


def asked(path):
    return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_reader_answers_from_the_captions_of_another_model_once_its_server_has_ended(project, read):
    to_reader = project.folder / "reader.jsonl"
    text = project.run("-n")
    first = f"10 images to caption, 6 questions to answer (12 requests) by {MODEL}, 1 server to start"
    assert f"{first}; then 6 questions to answer (12 requests) by {READER}, 1 server to start" in text
    project.run()
    captions = project.captions("short")
    assert f"[Image: {captions['a/1.png']}]\nWhat is it?\nA. this\nB. that" in asked(to_reader)
    # with nothing all questions are equal, and asked once
    assert asked(to_reader).count("What is it?\nA. this\nB. that") == 1
    assert len(asked(to_reader)) == 6 + 1
    assert len(project.requests()) == 10 + 6 + 1
    ended, started = server_changes(project, MODEL)[-1], server_changes(project, READER)[0]
    assert ended[0] == "dead"
    assert ended[1] < started[1]
    assert not [request for request in project.requests() if "[Image: " in request["text"]]

    provenance = read(f"with_{MODEL}_short_provenance")
    assert (provenance["settings"]["model"], provenance["captions"]["settings"]["model"]) == (READER, MODEL)
    assert read(f"with_{MODEL}_short_metrics")["model"] == READER
    assert read(f"with_{MODEL}_short_failures") == {}
    assert not list(project.out.glob("qa/*/*_qa_caption_*"))
    status = project.captionqa("status")
    assert f"{READER}: qa caption SHORT of {MODEL}" in status
    assert f"{READER}: qa none" in status

    # of a finished run only what is new is asked, and only the server that it needs starts
    requests = len(project.requests())
    to_reader.unlink()
    project.config["qa"]["caption_template"] = "({caption})"
    text = project.run()
    assert project.ran() == {
        **CLOSING,
        "release": 1,
        "answer_chunk": 1,
        "merge_qa": 1,
        "merge_reader_qa": 1,
        "compare_contexts": 1,
    }
    assert text.count("the server is starting") == 1
    assert len(asked(to_reader)) == 6
    assert len(project.requests()) == requests
    assert project.plan() == {}

    # a setting of both models asks both again in one run
    project.config["qa"]["max_tokens"] = 99
    plan = project.plan()
    assert (plan["start_server"], plan["answer_chunk"], plan["merge_reader_qa"]) == (2, 4, 1)


def test_two_servers_side_by_side_and_a_style_that_both_models_get(project, read):
    project.config["servers"] = "side_by_side"
    project.config["export"] = {"qa": ["jsonl"]}
    text = project.run()
    assert text.count("the server is starting") == 2
    assert server_changes(project, READER)[0][1] < server_changes(project, MODEL)[-1][1]
    assert (project.out / "export" / "qa" / READER / f"{READER}_with_{MODEL}_short_jsonl").is_dir()
    requests = len(project.requests())
    project.config["captions"]["prompt_styles"].append("LONG")
    project.run()
    assert len(project.requests()) == requests + 10
    assert len(asked(project.folder / "reader.jsonl")) == 7 + 6
    assert read(f"with_{MODEL}_long_metrics")["total_questions"] == 6
    comparison = json.loads((project.out / "comparison.json").read_text())
    assert [(cell["model"], cell["context"]) for cell in comparison["cells"]] == [
        (MODEL, "image"),
        (MODEL, "none"),
        (READER, "caption_short"),
        (READER, "caption_long"),
        (READER, "none"),
    ]
    assert project.plan() == {}
    for command in ("estimate", "audit", "retry-failed", "forget"):
        project.captionqa(command)
    assert project.plan()["answer_chunk"] == 5


def test_a_change_of_one_of_two_models_costs_its_cells_alone_and_without_it_the_table_is_smaller(project, read):
    """Both caption and answer; without a reader the second is one like the first."""
    del project.config["qa"]["reader"]
    project.config["models"]["two"] = project.config["models"].pop(READER)
    project.config["qa"]["contexts"] = ["image", "caption"]
    project.run()
    of_second = project.folder / "reader.jsonl"
    assert len(project.requests()) == len(asked(of_second)) == 10 + 6 + 6

    def compared():
        return {(cell["model"], cell["context"]) for cell in json.loads(comparison.read_text())["cells"]}

    comparison = project.out / "comparison.json"
    assert compared() == {(model, context) for model in (MODEL, "two") for context in ("image", "caption_short")}
    of_second.unlink()
    project.forget_requests()
    project.config["models"]["two"]["sampling"] = {"temperature": 0.5}
    text = project.run()
    assert text.count("the server is starting") == 1
    assert (len(project.requests()), len(asked(of_second))) == (0, 10 + 6 + 6)
    provenance = json.loads((project.out / "qa" / "two" / "two_qa_provenance.json").read_text())
    assert provenance["settings"]["sampling"]["temperature"] == 0.5
    del project.config["models"]["two"]
    project.run()
    assert project.ran() == {"compare_contexts": 1, "page": 1, "check_failures": 1, "default": 1}
    assert compared() == {(MODEL, "image"), (MODEL, "caption_short")}
