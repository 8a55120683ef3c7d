"""Whether a server is needed: it is for a request that may have to be sent, and for nothing else."""

import pandas as pd
import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.pending_requests import PendingRequests, count_requests, needs_server
from captionqa.config.answer_files import journal_segment
from captionqa.config.layout import Layout
from captionqa.dataset import image_source as source_module
from captionqa.dataset.final_files import final_files
from captionqa.dataset.planning import plan_task

NAMES = [f"image{number}.png" for number in range(12)]
MISSING = ("m8", "What?", ["nowhere.png"])
OUTSIDE = ("m9", "What?", ["../outside.png"])
ONE_TOO_FEW = ("m7", "<image> or <image>?", ["image0.png"])


@pytest.fixture
def ask_questions(make_config, images):
    """Write the parquet of questions; each is (qid, question, images)."""
    images.add(*NAMES)
    (images.path.parent / "outside.png").write_bytes((images.path / NAMES[0]).read_bytes())

    def write(*rows):
        frame = pd.DataFrame(rows, columns=["qid", "question", "image"])
        frame.assign(answer="A").to_parquet(make_config().qa.question_path)

    return write


@pytest.fixture
def needed(jobs, make_config):
    """Whether a server is needed for chunks of a task, by default all of them."""

    def check(task="qa", changes=None, chunks=1):
        found = jobs(task, chunks, changes)
        config = make_config(changes)
        return needs_server(config, Layout(config.output_dir, "tiny"), [str(job.result) for job in found])

    return check


@pytest.fixture
def run(jobs):
    def all_chunks(task="qa", changes=None, chunks=1):
        for job in jobs(task, chunks, changes):
            ChunkRun(job).run()

    return all_chunks


def test_a_question_that_is_asked_more_than_once_is_counted_once(ask_questions, make_config):
    ask_questions(*((f"q{number}", "What?\nA. red\nB. blue", ["image1.png"]) for number in range(3)))
    repeats = {"shuffle_choices": {"rounds": 2}, "samples": 2}
    config = make_config({"captions": None, "qa": repeats, "client": {"sampling": {"temperature": 1}}})
    layout = Layout(config.output_dir, "tiny")
    plan_task(config, layout, "qa")
    [file] = final_files(config, layout, "qa")
    counts = count_requests(config, layout, file.results(config, layout))["qa"]
    assert (counts.items, counts.requests) == (3, 12)


def test_questions_whose_captions_are_to_be_made_are_counted_as_the_most_that_may_be_asked(ask_questions, make_config):
    ask_questions(("q1", "What?", ["image1.png"]), ("q2", "What?", ["image2.png"]))
    config = make_config({"qa": {"contexts": ["caption"]}})
    layout = Layout(config.output_dir, "tiny")
    for task in config.tasks_as_planned:
        plan_task(config, layout, task)
    [file] = final_files(config, layout, "qa")
    results = file.results(config, layout)
    assert count_requests(config, layout, results)["qa"] == PendingRequests(2, 2)
    file.files.journal.mkdir(parents=True)
    journal_segment(file.files.journal, 0).touch()  # it may know some of them
    assert count_requests(config, layout, results)["qa"] == PendingRequests(2, 2, at_most=True)


@pytest.mark.parametrize(
    ("questions", "is_needed"),
    [
        ([MISSING], False),
        ([OUTSIDE], False),
        ([ONE_TOO_FEW], False),
        ([MISSING, OUTSIDE, ONE_TOO_FEW], False),
        ([MISSING, ("q1", "What?", ["image1.png"])], True),
    ],
)
def test_an_item_that_fails_before_its_request_needs_no_server(ask_questions, needed, questions, is_needed):
    ask_questions(*questions)
    assert needed() == is_needed


def test_an_answer_in_the_journal_needs_no_server_however_the_items_are_cut(ask_questions, server, run, needed):
    ask_questions(*((f"q{number}", "What?", [name]) for number, name in enumerate(NAMES)))
    assert needed()
    run()
    ask_questions(MISSING, *((f"q{number}", "What?", [name]) for number, name in enumerate(NAMES)))
    assert not needed()
    assert not needed(chunks=3)
    assert needed(changes={"qa": {"max_tokens": 77}})


def test_a_chunk_without_a_request_runs_without_a_server(ask_questions, images, server_folder, needed, jobs):
    ask_questions(MISSING, OUTSIDE)
    assert not needed()
    assert not list(server_folder.glob("endpoint*"))
    (job,) = jobs("qa")
    ChunkRun(job).run()
    assert job.result.exists()


@pytest.mark.parametrize("change", ["edit", "touch", "question"])
def test_what_changed_since_its_answer_needs_a_server(ask_questions, images, server, run, needed, change):
    ask_questions(("q1", "What?", [NAMES[1]]))
    run()
    if change == "question":
        ask_questions(("q1", "Which?", [NAMES[1]]))
    elif change == "edit":
        images.add(NAMES[1])
    else:
        (images.path / NAMES[1]).touch()
    assert needed()


def test_a_failure_that_may_pass_and_a_letter_fallback_need_a_server(ask_questions, images, server, run, needed):
    ask_questions(("q1", "What?\nA. x\nB. y", [NAMES[1]]))
    run(changes={"qa": {"fallback": True}})
    assert needed(changes={"qa": {"fallback": True}})
    (images.path / NAMES[1]).write_bytes(b"no image")
    run()
    assert needed()


def test_no_image_is_read(ask_questions, server, run, needed, monkeypatch):
    ask_questions(*((f"q{number}", "What?", [name]) for number, name in enumerate(NAMES)))
    run()
    monkeypatch.setattr(source_module, "read_stamped", None)
    assert not needed()


def test_only_the_chunks_that_are_to_run_count(ask_questions, jobs, make_config):
    ask_questions(MISSING, ("q1", "What?", ["image1.png"]))
    config = make_config()
    jobs("qa")
    assert not needs_server(config, Layout(config.output_dir, "tiny"), [])
    assert needs_server(config, Layout(config.output_dir, "tiny"), ["another/chunk.jsonl"])
