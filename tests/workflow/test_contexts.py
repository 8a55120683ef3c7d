"""Questions in several contexts, from start to end: one server, and of a finished run only what is new."""

import json

import pytest
from projects import MODEL

pytestmark = pytest.mark.slow

CLOSING = {"start_server": 1, "release": 2, "page": 1, "check_failures": 1, "default": 1}


def test_a_context_or_a_style_that_is_added_to_a_finished_run_asks_only_what_is_new(completed):
    """The stand-in's answers are digests of what it was asked, so a caption is known by its image."""
    images_alone = completed.qa("results")
    completed.forget_requests()
    completed.config["qa"]["contexts"] = ["image", "caption", "none", "gray"]
    assert completed.plan() == {**CLOSING, "answer_chunk": 8, "merge_captions": 2, "merge_qa": 5, "compare_contexts": 1}
    text = completed.run()
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
    assert completed.plan() == {}

    completed.forget_requests()
    completed.config["captions"]["prompt_styles"].append("LONG")
    assert completed.plan() == {
        **CLOSING,
        "caption_chunk": 2,
        "answer_chunk": 2,
        "merge_captions": 3,
        "merge_qa": 6,
        "compare_contexts": 1,
    }
    completed.run()
    long, others = [], []
    for request in completed.requests():
        (long if "very long" in request["text"] else others).append(request["text"])
    captions = completed.captions("long")
    assert len(long) == 10
    assert all(any(f"[Image: {caption}]" in text for caption in captions.values()) for text in others)
    assert len(others) == 6
    assert completed.plan() == {}


def test_captions_of_the_questions_images_alone_and_of_a_file(project):
    known = {"a/1.png": "a red one", "a/3": "a green one", "q3": "a blue one"}
    (project.folder / "known.json").write_text(json.dumps(known))
    del project.config["captions"]["dataset_path"]
    project.config["captions"]["prompt_styles"] = ["SHORT"]
    project.config["qa"] |= {"contexts": ["caption"], "captions_from": str(project.folder / "known.json")}
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
