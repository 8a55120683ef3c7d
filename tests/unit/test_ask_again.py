"""Asking again on purpose: a fault of the question file is never asked again."""

from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.question_plan import plan_questions
from captionqa.errors import ConfigError
from captionqa.files import write_json
from captionqa.results.ask_again import question_faults, retry_failed


@pytest.fixture
def config(make_config):
    return make_config({"captions": None})


@pytest.fixture
def failed(config, images):
    """The one chunk result of a final file with three failures: a timeout, an invalid row, an ungradable answer."""
    images.add("a.png")
    layout = Layout(config.output_dir, "tiny")
    pd.DataFrame(
        {"qid": ["q1", "q2", "q3"], "question": "What?\nA. x\nB. y", "answer": ["A", None, "C"], "image": "a.png"}
    ).to_parquet(config.qa.question_path)
    plan = plan_questions(Path(config.qa.question_path), images.path, 1, layout)
    settings_now = fingerprint(qa_settings(config, "tiny"))
    (result,) = map(Path, plan.results(layout.qa_work, settings_now))
    lines = [{"id": "q1", "failure": "timeout", "detail": ""}, {"id": "q3", "answer": {"text": "A"}}]
    result.parent.mkdir(parents=True)
    write_chunk(result, {"format": FORMAT, "fingerprint": settings_now, "items": 2}, lines)
    reasons = {"invalid_question": 1, "timeout": 1, "ungradable_ground_truth": 1}
    write_json(layout.qa("provenance"), {"counts": {"failures_by_reason": reasons}})
    return result


def test_only_what_asking_again_may_help_is_asked_again(config, failed):
    assert question_faults(config, None, None) == {"invalid_question": 1, "ungradable_ground_truth": 1}
    assert retry_failed(config, None, None, None) == 1
    assert not failed.exists()


@pytest.mark.parametrize("reason", ["invalid_question", "ungradable_ground_truth"])
def test_a_fault_of_the_question_file_is_refused_as_a_reason(config, failed, reason):
    with pytest.raises(ConfigError, match=f"{reason} is a fault of the question file: correct it there"):
        retry_failed(config, None, None, reason)
    assert failed.exists()
