"""What a rerun runs: exactly what is missing or changed, and no request for an answer that is known."""

import json
import shutil
from collections import Counter

import pandas as pd
import pytest
from projects import KILL_PAGE_JOB, MODEL, ROOT, STYLES, draw_image

pytestmark = pytest.mark.slow

#: What comes after any chunk that runs.
CLOSING = {"release": 2, "merge_captions": 2, "merge_qa": 1, "page": 1, "check_failures": 1, "default": 1}


def forget_records(project):
    """Leave Snakemake without what it noted of the files, as where a run starts from another folder."""
    shutil.rmtree(project.folder / ".snakemake")


def test_a_complete_run_has_nothing_to_do_and_needs_no_server(completed):
    assert completed.plan() == {}
    assert "captionqa: nothing to do: " in completed.run()
    assert not completed.processes()
    # by another name of a module, all finished results of earlier versions would be merged again
    records = [json.loads(path.read_text()) for path in (completed.folder / ".snakemake" / "metadata").iterdir()]
    merges = [record["input"] for record in records if record["rule"].startswith("merge_")]
    assert merges
    assert all(f"{ROOT}/workflow/rules/../captionqa/results/provenance.py" in inputs for inputs in merges)


def test_every_item_is_in_the_results_or_the_failures(completed):
    (completed.folder / "images" / "broken.jpg").write_bytes(b"no image at all")
    completed.config["client"]["max_failed_fraction"] = 0.2
    completed.run()
    for style in STYLES:
        captions, failures = completed.captions(style), completed.captions(style, "_failures")
        assert list(captions) == sorted(captions)
        assert set(captions) == {f"{'a' if n % 2 else 'b'}/{n}.png" for n in range(10)}
        assert {name: failure["reason"] for name, failure in failures.items()} == {"broken.jpg": "unreadable_image"}
    results, metrics = completed.qa("results"), completed.qa("metrics")
    assert set(results) == {f"q{number}" for number in range(6)}
    assert metrics["total_questions"] == 6
    assert metrics["correct_answers"] == sum(record["is_correct"] for record in results.values()) == 3
    assert metrics["overall_accuracy"] == 0.5
    assert metrics["category_metrics"]["uncategorized"]["total"] == 6


def test_a_lost_chunk_and_final_file_come_back_without_a_request(completed):
    captions = completed.captions()
    completed.chunks("simple")[0].unlink()
    (completed.out / "captions" / MODEL / f"{MODEL}_simple.json").unlink()
    completed.forget_requests()
    completed.run()
    assert completed.ran() == {"start_server": 1, "caption_chunk": 1, **CLOSING}
    assert completed.requests() == []
    assert completed.captions() == captions


def test_a_page_that_is_not_there_is_made_without_a_server_unless_it_is_not_wanted(completed):
    page = completed.out / "report" / "index.html"
    page.unlink()
    assert completed.plan() == {"page": 1, "check_failures": 1, "default": 1}
    completed.config["report"] = {"page": False}
    text = completed.run()
    assert not page.exists()
    assert "browser" not in text
    assert completed.plan() == {}


def test_complete_results_whose_page_cannot_be_made_are_no_failed_run(completed):
    page, chunk = completed.out / "report" / "index.html", completed.chunks("short")[0]
    page.unlink()
    kept = chunk.rename(chunk.with_suffix(".kept"))
    text = completed.run()
    fault = f"the results are complete, but their page could not be made: {chunk.relative_to(completed.folder)}"
    assert fault in text.partition("captionqa: done in")[2]
    assert "browser" not in text
    kept.rename(chunk)
    assert "look at the results in a browser: out/report/index.html" in completed.run()
    assert completed.ran()["page"] == 1


def test_complete_results_whose_page_job_is_killed_are_no_failed_run(completed, tmp_path, monkeypatch):
    (completed.out / "report" / "index.html").unlink()
    (tmp_path / "sitecustomize.py").write_text(KILL_PAGE_JOB.replace("SCRIPT", ".page.py"))
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        text = completed.run()
    told = [line.strip() for line in text.splitlines() if "killed" in line]
    log = f"out/logs/{MODEL}/page.log"
    assert told == [
        "the results are complete, but their page could not be made: the job that makes it was killed, mostly since "
        f"memory ran out; log: {log}",
    ]
    assert "the same command makes it; captionqa view" in text.partition("captionqa: done in")[2]
    assert "a job of page" not in text
    assert "look at the results in a browser: out/report/index.html" in completed.run()
    assert completed.ran()["page"] == 1


def test_a_lost_final_file_is_merged_again_without_a_server(completed):
    captions = completed.captions()
    (completed.out / "captions" / MODEL / f"{MODEL}_simple.json").unlink()
    completed.run()
    assert completed.ran() == {"merge_captions": 1, "page": 1, "check_failures": 1, "default": 1}
    assert completed.captions() == captions


def test_a_corrected_ground_truth_is_graded_again_without_a_server(completed):
    path = completed.folder / "questions.parquet"
    questions = pd.read_parquet(path)
    before = completed.qa("results"), completed.qa("metrics")
    assert completed.qa("flips") == {}
    truth = {qid: record["gt_letter"] for qid, record in before[0].items()}
    questions.loc[0, "answer"] = {"A": "\\boxed{B}", "B": "\\boxed{A}"}[truth["q0"]]
    questions.to_parquet(path)
    completed.forget_requests()
    text = completed.run()
    assert completed.ran() == {"merge_qa": 1, "page": 1, "check_failures": 1, "default": 1}
    assert "regraded: 1 of 6 answers flipped (1 now " in text
    assert "  where " not in text
    assert completed.requests() == []
    assert completed.qa("flips").keys() == {"q0"}
    assert abs(completed.qa("metrics")["correct_answers"] - before[1]["correct_answers"]) == 1
    assert completed.qa("results")["q0"]["gt_answer"] == questions.loc[0, "answer"]
    assert completed.plan() == {}


def test_a_row_that_cannot_be_asked_is_a_named_failure_and_the_rest_goes_on(completed):
    path = completed.folder / "questions.parquet"
    questions = pd.read_parquet(path)
    questions.loc[1, "question"] = None
    questions.loc[2, "question"] = " "
    questions.loc[3, "answer"] = "C"
    questions.to_parquet(path)
    completed.forget_requests()
    text = completed.run()  # half of the questions fail, and none of these faults counts for max_failed_fraction
    assert "4 questions in 2 chunks (2 more are invalid)" in text
    assert "no request is left to send, so no server starts" in text
    assert completed.requests() == []
    assert {qid: failure["reason"] for qid, failure in completed.qa("failures").items()} == {
        "q1": "invalid_question",
        "q2": "invalid_question",
        "q3": "ungradable_ground_truth",
    }
    assert set(completed.qa("results")) == {"q0", "q4", "q5"}
    assert completed.qa("metrics")["total_questions"] == 6
    said = completed.captionqa("retry-failed")
    assert "0 failed items will be asked again" in said
    assert "Not asked again: 2 invalid_question, 1 ungradable_ground_truth" in said
    assert completed.plan() == {}


def test_missing_images_are_named_at_once_and_neither_start_a_server_nor_fail_the_run(completed):
    started = (completed.out / "logs" / MODEL / "server-0.log").stat().st_mtime_ns
    (completed.folder / "images" / "a" / "7.png").unlink()
    completed.forget_requests()
    text = completed.run()
    assert "6 questions in 2 chunks (1 names a missing image)" in text
    assert "no request is left to send, so no server starts" in text
    assert (completed.out / "logs" / MODEL / "server-0.log").stat().st_mtime_ns == started
    assert not (completed.out / "logs" / MODEL / "server-0.previous.log").exists()
    assert completed.qa("failures").keys() == {"q5"}
    assert len(completed.captions()) == 9
    said = completed.captionqa("retry-failed")
    assert "0 failed items will be asked again" in said
    assert "Left, since they would fail the same way: 1 missing_image ('q5')" in said
    assert completed.plan() == {}
    draw_image(completed.folder / "images" / "a" / "7.png", 7)
    completed.run()
    assert completed.qa("failures") == {}


def test_failures_that_are_retried_leave_the_final_files_until_the_next_run_has_new_ones(project):
    needle = "<image>Write a very short caption for the given image."
    project.faults(fault={"status": 400}, only=needle)
    project.config["client"]["max_failed_fraction"] = 1
    project.run()
    captions, failures = project.captions("simple"), project.captions("short", "_failures")
    assert len(captions) == len(failures) == 10
    project.captionqa("retry-failed")
    assert (project.captions("simple"), project.captions("short", "_failures")) == (captions, failures)

    broken = project.config["models"][MODEL]["server"]
    project.config["models"][MODEL]["server"] = broken | {"command": ["/nowhere/vllm"]}
    project.run(check=False)
    assert (project.captions("simple"), project.captions("short", "_failures")) == (captions, failures)

    project.config["models"][MODEL]["server"] = broken
    project.faults()
    project.forget_requests()
    project.run()
    assert project.ran() == {"start_server": 1, "caption_chunk": 2, **CLOSING}
    assert len(project.requests()) == 10
    assert len(project.captions("short")) == 10
    assert project.captions("short", "_failures") == {}
    assert project.plan() == {}


def test_what_was_forgotten_comes_back_by_an_undo_without_a_request(completed):
    captions, results = completed.captions(), completed.qa("results")
    said = completed.captionqa("forget")
    assert "26 items were forgotten" in said
    assert "captions SIMPLE: 10 of 10 answers" in said
    assert (completed.captions(), completed.qa("results")) == (captions, results)
    assert completed.plan()["caption_chunk"] == 4
    completed.captionqa("forget", "--undo")
    completed.forget_requests()
    completed.run()
    assert completed.ran() == {"merge_captions": 2, "merge_qa": 1, "page": 1, "check_failures": 1, "default": 1}
    assert completed.requests() == []
    assert (completed.captions(), completed.qa("results")) == (captions, results)


def test_a_changed_server_setting_asks_nothing_and_changed_max_tokens_with_it_asks_for_all_of_their_task(completed):
    completed.config["models"][MODEL]["server"]["extra_args"] = ["--some-option"]
    assert completed.plan() == {}
    completed.config["captions"]["max_tokens"] = 99
    forget_records(completed)
    assert completed.plan() == {"start_server": 1, "caption_chunk": 4, **CLOSING}
    completed.config["qa"]["max_tokens"] = 98
    completed.forget_requests()
    completed.run()
    assert completed.ran() == {"start_server": 1, "caption_chunk": 4, "answer_chunk": 2, **CLOSING}
    assert Counter(request["max_tokens"] for request in completed.requests()) == {99: 20, 98: 6}
    clients = json.loads((completed.out / "logs" / MODEL / "verdict.json").read_text())["clients"]
    assert (clients["jobs"], clients["asked"]) == (6, 26)  # of this run alone


def test_new_and_edited_images_are_asked_and_removed_ones_leave_the_captions_and_touched_ones_are_known(completed):
    images = completed.folder / "images"
    for number in range(3):
        draw_image(images / "new" / f"{number}.png", 40 + number)
    draw_image(images / "a" / "1.png", 77)
    (images / "b" / "6.png").unlink()
    (images / "a" / "3.png").touch()
    before = completed.captions()
    completed.forget_requests()
    completed.run()
    assert completed.ran()["start_server"] == 1
    assert 2 <= completed.ran()["caption_chunk"] <= 4
    after = completed.captions()
    new = {f"new/{number}.png" for number in range(3)}
    assert (after.keys() - before.keys(), before.keys() - after.keys()) == (new, {"b/6.png"})
    assert {name for name in before.keys() & after.keys() if after[name] != before[name]} == {"a/1.png"}
    # and the two questions on the edited image
    assert len(completed.requests()) == (len(new) + 1) * len(STYLES) + 2


def test_another_number_of_chunks_asks_for_nothing(completed):
    completed.config["captions"]["chunks"] = 5
    completed.config["qa"]["chunks"] = 3
    before = completed.captions(), completed.qa("results")
    completed.forget_requests()
    completed.run()
    assert completed.requests() == []
    assert (completed.captions(), completed.qa("results")) == before


def test_a_changed_prompt_and_a_users_own_style_are_asked_alone_and_a_task_that_is_left_out_is_left_alone(completed):
    del completed.config["qa"]
    assert "start_server" not in completed.plan()
    prompts = {"SHORT": "Say it in three words.", "POEM": "Write a poem."}
    completed.config["captions"] |= {"prompts": prompts, "prompt_styles": ["SIMPLE", "SHORT", "POEM"]}
    completed.forget_requests()
    closing = {"release": 1, "merge_captions": 3, "page": 1, "check_failures": 1, "default": 1}
    completed.run()
    assert completed.ran() == {"start_server": 1, "caption_chunk": 4, **closing}
    assert Counter(request["text"] for request in completed.requests()) == {
        f"<image>{prompt}": 10 for prompt in prompts.values()
    }
    assert len(completed.captions("poem")) == 10
