"""Questions and captions that are asked more than once, from start to end: of a finished run only what is new."""

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

QUESTION = "What is it?\nA. this\nB. that\nC. both\nD. none"


def test_rounds_contexts_and_samples_ask_only_what_is_new_and_totals_add_up(project):
    """Five questions with choices and an open one. The stand-in says A, whatever stands there."""
    questions = pd.read_parquet(project.folder / "questions.parquet")
    questions["question"] = [QUESTION] * 5 + ["What is it?"]
    questions.to_parquet(project.folder / "questions.parquet")
    del project.config["captions"]
    project.run()
    assert len(project.requests()) == 6
    once = project.qa("results")
    assert not any("rounds" in record for record in once.values())
    assert "repeats" not in project.qa("metrics")

    project.forget_requests()
    project.config["qa"] |= {"shuffle_choices": {"rounds": 3, "seed": 3}, "contexts": ["image", "none"]}
    project.run()
    asked = project.requests()
    of_images = [request["text"].replace("<image>", "") for request in asked if request["images"]]
    assert len(of_images) == 10
    assert QUESTION not in of_images
    others = {request["text"] for request in asked if not request["images"]}
    assert others == {QUESTION, "What is it?", *of_images}
    results, metrics = project.qa("results"), project.qa("metrics")
    assert results["q5"] == once["q5"]
    for qid in ("q0", "q1", "q2", "q3", "q4"):
        record = results[qid]
        assert record["question"] == QUESTION
        assert "permutation" not in record["rounds"][0]
        for one in record["rounds"]:
            letter = "ABCD"[one.get("permutation", range(4))[0]]
            assert one["predicted_letter"] == letter
            assert one["is_correct"] == (letter == record["gt_letter"])
        assert record["rounds"][0]["model_output"] == once[qid]["model_output"]
    repeats = metrics["repeats"]
    assert (repeats["questions"], repeats["requests"], repeats["failed_requests"]) == (5, 15, 0)
    assert [one["questions"] for one in repeats["by_round"]] == [5, 5, 5]
    assert repeats["mean_accuracy"] == sum(one["accuracy"] for one in repeats["by_round"]) / 3
    assert metrics["total_questions"] == len(results) == 6
    assert project.qa("none_metrics")["repeats"]["requests"] == 15
    cell = next(cell for cell in project.comparison()["cells"] if cell["context"] == "image")
    assert (cell["questions"], cell["correct"]) == (6, metrics["correct_answers"])
    assert project.plan() == {}

    project.forget_requests()
    project.config["qa"] |= {"samples": 2, "contexts": ["image"]}
    project.config["client"] |= {"sampling": {"temperature": 0.7, "seed": 11}, "max_failed_fraction": 1}
    moved = [results["q0"]["choices"][number] for number in results["q0"]["rounds"][2]["permutation"]]
    spoiled = "<image>What is it?\n" + "\n".join(map(". ".join, zip("ABCD", moved, strict=True)))
    project.faults(fault={"status": 400}, only=spoiled)
    project.run()
    asked = project.requests()
    assert sorted(request["seed"] for request in asked) == [11] * 16 + [12] * 16
    failures, results, metrics = project.qa("failures"), project.qa("results"), project.qa("metrics")
    assert "round 3, sample 1: " in failures["q0"]["detail"]
    assert results.keys().isdisjoint(failures)
    assert metrics["total_questions"] == len(results) + len(failures) == 6
    repeats, failed = metrics["repeats"], sum(request["text"] == spoiled for request in asked)
    assert repeats["requests"] == repeats["answered_requests"] + repeats["failed_requests"] == 32
    assert repeats["failed_requests"] == failed
    (project.folder / "faults.json").unlink()
    project.forget_requests()
    assert f"{failed} failed items will be asked again" in project.captionqa("retry-failed")
    project.run()
    assert len(project.requests()) == failed
    assert not project.qa("failures")
    assert {one["seed"] for record in project.qa("results").values() for one in record["rounds"]} == {11, 12}


def test_further_samples_of_captions_have_files_and_seeds_of_their_own(project):
    project.config["captions"] |= {"prompt_styles": ["SIMPLE"], "samples": 3}
    del project.config["qa"]
    project.config["client"]["sampling"] = {"temperature": 0.7}
    project.run()
    seeds = [request["seed"] for request in project.requests()]
    assert [seeds.count(seed) for seed in (None, 1, 2)] == [10, 10, 10]
    for number, seed in ((2, 1), (3, 2)):
        assert project.captions(f"simple_sample{number}").keys() == project.captions().keys()
        provenance = project.captions(f"simple_sample{number}", "_provenance")
        assert provenance["settings"]["sampling"]["seed"] == seed
    assert "captions SIMPLE sample 3" in project.captionqa("status")
    assert project.plan() == {}
