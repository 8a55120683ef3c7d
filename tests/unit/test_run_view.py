"""The view of a run that is going on: from its files alone, the same for the driver and for another shell."""

import io
import time
from pathlib import Path

import pytest
from captionqa.config.layout import Layout
from captionqa.driver import run_display
from captionqa.driver.run_display import StartLog, bars
from captionqa.driver.run_view import answered_text, read_view
from captionqa.files import write_json
from captionqa.run.job_times import begin_job_time
from captionqa.run.run_record import write_run_record
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.load_log import LoadLog
from captionqa.server.probe import EngineLoad
from rich.console import Console


@pytest.fixture
def layout(tmp_path):
    """A run with 400 captions and 6 answers to do, of which 120 and 6 are done, and a server with 11 requests."""
    layout = Layout(str(tmp_path / "output"), "tiny")
    to_do = {"captions": 400, "qa": 6}
    write_run_record(layout.server, {"server_needed": True, "slurm": None, "to_do": to_do})
    for job, done, failed in (("captions_SIMPLE_chunk_0-of-2", 100, 2), ("captions_SHORT_chunk_0-of-2", 20, 0)):
        write_json(layout.job_progress(job), {"done": done, "failed": failed, "reused": 0, "shared": 0})
        begin_job_time(layout.job_times, job, time.time() - 60)
    write_json(layout.job_progress("qa_chunk_0-of-1"), {"done": 6, "failed": 0, "reused": 6, "shared": 0})
    Endpoint(0, "request", "settings", "tiny", state=State.READY, url="http://node:1", pid=1).publish(layout.server)
    LoadLog(layout.server, 0, "request").add(EngineLoad(requests=99, tokens=1))
    LoadLog(layout.server, 0, "request").add(EngineLoad(requests=11, tokens=2, waiting=3))
    return layout


def test_each_task_has_its_own_progress_and_each_server_its_load(layout):
    captions, qa, server = read_view(layout).line().split("; ")
    assert captions.startswith("captions: 120/400 items (30 %), 2.0 items/s, 2 min ")
    assert captions.endswith(" left, 2 failed")
    assert qa == "qa: 6/6 items (100 %), 6 already answered"
    assert server == "server 0: ready at http://node:1, for 0 s, 8 requests running, 3 waiting"


def test_a_judge_is_in_the_view_once_it_is_its_turn(layout):
    write_run_record(
        layout.server, {"server_needed": True, "slurm": None, "to_do": {"captions": 400, "qa": 6, "judge": 9}}
    )
    assert [task.task for task in read_view(layout).tasks] == ["captions", "qa"]
    counts = {"done": 1, "failed": 0, "reused": 0, "shared": 0, "total": 4}
    write_json(layout.job_progress("judge_chunk_0-of-1"), counts)
    assert "; judge: 1/4 items (25 %)" in read_view(layout).line()


def test_an_old_load_and_one_that_is_being_written_say_nothing(layout, monkeypatch):
    log = layout.server_files.load_log(0)
    with log.open("a") as file:
        file.write('{"time": 1, "requ')
    assert "8 requests running" in read_view(layout).line()
    log.write_text('"request"\n{"time": 1, "requests": 5, "waiting": 0}\n')
    assert "running" not in read_view(layout).line()


def test_a_record_of_an_older_version_has_no_tasks(layout):
    write_run_record(layout.server, {"server_needed": False, "slurm": None})
    view = read_view(layout)
    assert (view.tasks, view.servers, view.line()) == ([], [], "")


def test_ended_servers_that_nothing_needs_are_left_out_where_another_model_goes_on(layout):
    second = Layout(layout.output_dir, "second", run_model="tiny")
    record = {"server_needed": True, "slurm": None}
    write_run_record(layout.server, {**record, "to_do": {"captions": 400}, "models": ["tiny", "second"]})
    write_run_record(second.server, record)
    Endpoint(0, "r", "s", "second", state=State.STARTING).publish(second.server)
    Endpoint(0, "r", "s", "tiny", state=State.DEAD, reason="it was stopped").publish(layout.server)
    assert [server.model for server in read_view(layout).servers] == ["second"]
    live = Path(layout.live("captions"))
    live.parent.mkdir(parents=True)
    live.touch()
    assert [server.model for server in read_view(layout).servers] == ["tiny", "second"]


def test_what_is_answered_counts_earlier_runs_and_no_failures(layout):
    assert answered_text(layout, 685) == "403 of 685 answered and kept"  # 685 - 406 known, 120 + 6 - 2 now


def test_the_bars_fit_a_narrow_terminal_and_escape_what_a_server_says(layout):
    dead = Endpoint(0, "request", "settings", "tiny", state=State.DEAD, reason="\x1b[31mred")
    dead.publish(layout.server)
    console = Console(file=io.StringIO(), width=60, force_terminal=True, no_color=True)
    console.print(bars(read_view(layout)))
    shown = console.file.getvalue()
    assert [line.split()[0] for line in shown.splitlines()] == ["captions", "qa", "\x1b[2mserver"]
    assert "120/400 items" in shown
    assert "\\x1b[31mred" in shown


def test_the_messages_of_start_server_are_printed_once_and_no_errors(tmp_path, capsys):
    path = tmp_path / "start_server.log"
    log = StartLog(path)
    path.write_text("2026-01-02 03:04:05,678 INFO of the run before\n")
    log.clear()
    log.relay()
    with path.open("w") as file:
        file.write("2026-01-02 03:04:05,678 INFO the server is starting\n2026-01-02 03:04:05,679 INFO half")
        file.flush()
        log.relay()
        file.write(" a line\n2026-01-02 03:04:06,678 ERROR it did not start\nits log\n")
    log.relay()
    log.relay()
    assert capsys.readouterr().err == "captionqa: the server is starting\ncaptionqa: half a line\n"


def test_a_file_gets_a_line_now_and_then_without_control_characters(layout, capsys, monkeypatch):
    monkeypatch.setattr(run_display, "LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr(run_display, "FIRST_LINE_INTERVAL_S", 0.02)
    display = run_display.RunDisplay([layout])
    display.start()
    text = ""
    while text.count("\n") < 2:
        text += capsys.readouterr().err
    display.close()
    assert all(line.startswith("captionqa: captions: 120/400 items") for line in text.splitlines())
    assert text.replace("\n", "").isprintable()
