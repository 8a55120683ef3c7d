"""Asking again on purpose: what would fail the same way is left, and a final file stays until there is a new one."""

from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.question_plan import plan_questions
from captionqa.errors import ConfigError
from captionqa.files import write_json
from captionqa.results.ask_again import Retry, question_faults, retry_failed


@pytest.fixture
def config(make_config):
    return make_config({"captions": None})


@pytest.fixture
def failed(config, images):
    """Write the one chunk result of a final file: {qid: failure}; each question is about the image of its name.

    The images `there.png`, `outside.png` (a link that leads out) and `elsewhere/` exist.
    """
    images.add("there.png")
    outside = images.path.parent / "elsewhere"
    outside.mkdir()
    (outside / "real.png").write_bytes((images.path / "there.png").read_bytes())
    (images.path / "outside.png").symlink_to(outside / "real.png")
    layout = Layout(config.output_dir, "tiny")

    def write(failures, names, question="What?\nA. x\nB. y"):
        frame = {"qid": list(failures), "question": question, "answer": "A", "image": names}
        pd.DataFrame(frame).to_parquet(config.qa.question_path)
        plan = plan_questions(Path(config.qa.question_path), images.path, 1, layout)
        settings_now = fingerprint(qa_settings(config, "tiny"))
        (result,) = map(Path, plan.results(layout.qa_work(), settings_now))
        header = {"format": FORMAT, "fingerprint": settings_now, "items": len(failures)}
        lines = [{"id": qid, "failure": failure, "detail": ""} for qid, failure in failures.items()]
        result.parent.mkdir(parents=True, exist_ok=True)
        write_chunk(result, header, lines)
        write_json(layout.qa("results"), {})
        return result

    return write


def test_only_what_asking_again_may_help_is_asked_again(config, failed):
    result = failed({"q1": "timeout"}, ["there.png"])
    reasons = {"invalid_question": 1, "timeout": 1, "ungradable_ground_truth": 1}
    write_json(Layout(config.output_dir, "tiny").qa("provenance"), {"counts": {"failures_by_reason": reasons}})
    assert question_faults(config, None, None) == {"invalid_question": 1, "ungradable_ground_truth": 1}
    retry = retry_failed(config, None, None, None)
    assert result.exists()
    assert retry.text().startswith("1 failed item will be asked again by the next run: 1 timeout\n")
    assert retry.apply() == 1
    assert not result.exists()


def test_the_final_file_stays_and_its_merge_gets_a_reason_to_run(config, failed):
    failed({"q1": "timeout"}, ["there.png"])
    layout = Layout(config.output_dir, "tiny")
    marker = AnswerFiles(layout.qa_work()).asked_again
    assert not marker.exists()
    retry_failed(config, None, None, None).apply()
    assert Path(layout.qa("results")).exists()
    assert marker.exists()


@pytest.mark.parametrize(
    ("reason", "image", "question", "remedy"),
    [
        ("missing_image", "nowhere.png", "What?", "put the files in their places"),
        ("missing_image", "there.png", "<image> and <image>?", "or correct the questions"),
        ("path_outside_dataset", "outside.png", "What?", "add their folder to client.images.allowed_roots"),
    ],
)
def test_what_would_fail_the_same_way_is_left_and_named(config, failed, reason, image, question, remedy):
    result = failed({"q1": reason}, [image], question)
    retry = retry_failed(config, None, None, None)
    assert retry.items == retry.apply() == 0
    assert result.exists()
    assert f"Left, since they would fail the same way: 1 {reason} ('q1'); " in retry.text()
    assert remedy in retry.text()


def test_what_would_fail_the_same_way_is_not_counted_beside_what_is_asked_again(config, failed):
    names = {f"q{number}": "missing_image" for number in range(5)}
    result = failed({**names, "q9": "timeout"}, ["nowhere.png"] * 5 + ["there.png"])
    retry = retry_failed(config, None, None, None)
    assert "1 failed item will be asked again by the next run: 1 timeout" in retry.text()
    assert "5 missing_image ('q0', 'q1', 'q2', ...)" in retry.text()
    retry.apply()
    assert not result.exists()


def test_a_question_that_fails_in_several_contexts_is_named_once_and_its_fault_counted_once(make_config):
    assert "4 missing_image ('q1', 'q2'); " in Retry(left={"missing_image": ["q1", "q2", "q1", "q2"]}).text()
    config = make_config({"captions": None, "qa": {"contexts": ["image", "none"]}})
    for suffix in ("", "_none"):
        counts = {"failures_by_reason": {"invalid_question": 2, "timeout": 1}}
        write_json(config.layout().qa("provenance", suffix), {"counts": counts})
    assert question_faults(config, None, None) == {"invalid_question": 2}


def test_an_image_that_is_there_now_is_asked_again(config, failed, images):
    result = failed({"q1": "missing_image"}, ["late.png"])
    images.add("late.png")
    assert retry_failed(config, None, None, "missing_image").apply() == 1
    assert not result.exists()


def test_a_path_that_is_inside_the_roots_now_is_asked_again(make_config, failed, images):
    result = failed({"q1": "path_outside_dataset"}, ["outside.png"])
    roots = {"client": {"images": {"allowed_roots": [str(images.path.parent / "elsewhere")]}}, "captions": None}
    assert retry_failed(make_config(roots), None, None, None).apply() == 1
    assert not result.exists()


@pytest.mark.parametrize("reason", ["invalid_question", "ungradable_ground_truth"])
def test_a_fault_of_the_question_file_is_refused_as_a_reason(config, failed, reason):
    failed({"q1": "timeout"}, ["there.png"])
    with pytest.raises(ConfigError, match=f"{reason} is a fault of the question file: correct it there"):
        retry_failed(config, None, None, reason)
