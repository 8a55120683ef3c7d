"""The end of a run: always the same block, in colour on a terminal alone."""

import os
import pty
import signal
import subprocess
import sys

import captionqa
import pandas as pd
import pytest
from captionqa.client.pending_requests import PendingRequests
from captionqa.config.layout import Layout
from captionqa.dataset.planning import plan_task
from captionqa.driver.dry_run import PlannedWork, dry_run_text
from captionqa.driver.run_end import RunEnd, done, not_done, nothing_to_do
from captionqa.files import write_json
from captionqa.run.run_record import write_run_record

END = RunEnd(
    seconds=65,
    config_path="my.yaml",
    log="snakemake.log",
    notes=["where 65 s went: 65 s requests"],
    page=["look at the results in a browser: page"],
)


@pytest.fixture
def config(make_config):
    return make_config()


@pytest.fixture
def layout(config, images, tmp_path, monkeypatch):
    """The layout of a run over 10 images and 1 question, of which 4 have an answer; the page is there."""
    monkeypatch.chdir(tmp_path)
    images.add(*(f"image{number}.png" for number in range(10)))
    frame = pd.DataFrame({"qid": ["q1"], "question": "What?", "answer": "A", "image": "image0.png"})
    frame.to_parquet(config.qa.question_path)
    layout = Layout(os.path.relpath(config.output_dir), "tiny")
    for task in ("captions", "qa"):
        plan_task(config, layout, task)
    write_run_record(layout.server, {"server_needed": True, "slurm": None, "to_do": {"captions": 10, "qa": 1}})
    write_json(layout.job_progress("captions_SIMPLE_chunk_0-of-1"), {"done": 5, "failed": 1, "reused": 0, "shared": 0})
    os.makedirs(os.path.dirname(layout.page))
    open(layout.page, "w").close()
    return layout


def results(layout, failed, reason="unreadable_image"):
    reasons = {reason: failed} if failed else {}
    counts = {"answered": 10 - failed, "failed": failed, "failures_by_reason": reasons}
    write_json(layout.captions("simple", "_provenance"), {"counts": counts})


def fail(layout, name, reason, details=""):
    error = f"{name} failed: {reason}\n  log: {name}.log"
    record = {"error": error, "name": name, "reason": reason, "details": details, "log": f"{name}.log"}
    write_json(layout.job_error(name), record)


def test_a_good_run_ends_with_its_files_and_the_page(config, layout):
    results(layout, failed=0)
    assert done(config, END).text().splitlines() == [
        "done in 1 min 5 s",
        f"       10 captions SIMPLE   {layout.captions('simple')}",
        "  where 65 s went: 65 s requests",
        "  look at the results in a browser: page",
    ]


def test_a_few_bad_rows_are_one_line_below_the_summary(config, layout):
    results(layout, failed=2)
    rows = done(config, END).text().splitlines()
    assert rows[2] == f"        2 failed: 2 unreadable_image  {layout.captions('simple', '_failures')}"
    assert rows[-1] == "  next: captionqa retry-failed my.yaml lets the next run ask again for what failed"


def test_nothing_is_asked_again_for_images_that_are_not_there(config, layout):
    results(layout, failed=2, reason="missing_image")
    rows = done(config, END).text().splitlines()
    assert rows[-1] == "  next: correct the data; then the same command asks for what failed"


def test_nothing_to_do_says_what_there_is(config, layout):
    results(layout, failed=0)
    rows = nothing_to_do(config, RunEnd(0, "my.yaml")).text().splitlines()
    assert rows[0] == "nothing to do: all results are there and up to date"
    assert "10 captions SIMPLE" in rows[1]
    assert rows[-1].endswith(layout.page)


@pytest.mark.parametrize(("number", "by"), [(signal.SIGINT, "you"), (signal.SIGTERM, "SIGTERM")])
def test_a_stop_is_no_failure(config, layout, number, by):
    fail(layout, "captions SIMPLE chunk 0-of-1", "interrupted")
    text = not_done(config, RunEnd(1, "my.yaml", "snakemake.log", number)).text()
    assert text.splitlines()[0] == f"stopped by {by}: 4 of 11 answered and kept; the same command goes on"
    assert "failed" not in text


def test_a_failure_names_the_job_its_error_and_all_logs(config, layout):
    fail(layout, "start_server", "the server did not start", "the end of its log:\nout of memory")
    assert not_done(config, END).text().splitlines() == [
        "failed after 1 min 5 s: 4 of 11 answered and kept",
        "  start_server failed: the server did not start",
        "    log: start_server.log",
        "      the end of its log:",
        "      out of memory",
        "  where 65 s went: 65 s requests",
        "  log of all jobs: snakemake.log",
        "  look at the results in a browser: page",
        "  next: put right what is named here; then the same command goes on",
    ]


def test_too_many_failures_come_after_the_summary(config, layout):
    results(layout, failed=2)
    fail(layout, "check_failures", "Done, but 2 of 10 images failed (limit 5 %): 2 unreadable_image.")
    rows = not_done(config, END).text().splitlines()
    assert rows[0] == "done in 1 min 5 s, but too many items failed"
    assert "10 captions" not in rows[1]
    assert "8 captions SIMPLE" in rows[1]
    assert rows[3] == "  Done, but 2 of 10 images failed (limit 5 %): 2 unreadable_image."


def test_an_absolute_output_folder_is_shown_relative_where_that_is_shorter(config, layout, tmp_path):
    results(layout, failed=0)
    assert os.path.isabs(config.output_dir)
    assert str(tmp_path) not in done(config, END).text()


@pytest.mark.parametrize(
    ("captions", "qa", "servers", "url", "text"),
    [
        ((1, 3), (0, 0), 1, None, "1 image to caption (3 requests), 1 server to start"),
        ((2, 2), (1, 1), 2, None, "2 images to caption, 1 question to answer, 2 servers to start"),
        ((0, 0), (5, 5), 0, "http://a:1", "5 questions to answer, by the server at http://a:1"),
        ((0, 0), (5, 20), 1, None, "5 questions to answer (20 requests), 1 server to start"),
        ((0, 0), (0, 0), 1, None, "no request to send and no server to start; 2 jobs make files anew from what is "),
    ],
)
def test_a_dry_run_ends_with_what_a_run_would_ask(captions, qa, servers, url, text):
    pending = {"captions": PendingRequests(*captions), "qa": PendingRequests(*qa)}
    assert dry_run_text([PlannedWork("tiny", pending, servers, url)], 2).startswith(text)


def test_a_dry_run_of_several_models_lists_them_in_the_order_of_their_servers():
    work = [
        PlannedWork("tiny", {"captions": PendingRequests(2, 4), "qa": PendingRequests(0, 0)}, 1),
        PlannedWork("idle", {"qa": PendingRequests(0, 0)}, 0),
        PlannedWork("tex", {"qa": PendingRequests(3, 3)}, 2),
    ]
    parts = ("2 images to caption (4 requests) by tiny, 1 server to start", "3 questions to answer by tex, 2 servers")
    assert dry_run_text(work, 2) == "; then ".join(parts) + " to start"
    assert dry_run_text(work, 2, "side_by_side") == "; beside it ".join(parts) + " to start"


def test_more_than_can_be_looked_at_is_an_upper_bound():
    pending = {"captions": PendingRequests(10**6, 3 * 10**6, at_most=True)}
    text = dry_run_text([PlannedWork("tiny", pending, 1)], 9)
    assert text == "up to 1,000,000 images to caption (up to 3,000,000 requests), 1 server to start"


SHOW = """
from captionqa.driver.run_end import Block
Block("failed: all", "bold red", ["why"]).show()
"""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_the_heading_has_colour_on_a_terminal_unless_no_color_forbids_it(no_color, coloured):
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_color, "PYTHONPATH": str(captionqa.WORKFLOW)}
    subprocess.run([sys.executable, "-c", SHOW], stderr=child, env=environment, check=True)
    os.close(child)
    text = os.read(parent, 10_000).decode()
    os.close(parent)
    assert ("\x1b[1;31mcaptionqa: failed: all\x1b[0m" in text) is coloured
    assert text.splitlines()[-1] == "  why"


def test_a_pipe_gets_no_control_characters(start_python):
    process = start_python(SHOW)
    assert process.communicate()[1] == "captionqa: failed: all\n  why\n"
