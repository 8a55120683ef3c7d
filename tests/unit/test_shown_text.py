"""Text from others never controls the terminal, breaks a table or turns a line of a log around."""

import csv
import json
import logging
import subprocess
import sys

import pandas as pd
import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.layout import Layout
from captionqa.dataset.audit import run_audit
from captionqa.driver.command_line import main
from captionqa.driver.failure_report import failure_messages
from captionqa.driver.terminal import log_to_terminal, print_message, show
from captionqa.errors import InputError
from captionqa.files import read_json
from captionqa.run.job_log import job_log
from captionqa.server.server_log import ServerLog
from captionqa.shown_text import printable, printable_lines

#: Clears the screen and turns red, overwrites the line, begins one of its own, deletes, and turns what follows around.
NASTY = "\x1b[2J\x1b[31mred\rover\ncaptionqa: all is well\b\x9b5m\u202eback\u2066\u2028end"
SHOWN = r"\x1b[2J\x1b[31mred\rover\ncaptionqa: all is well\x08\x9b5m\u202eback\u2066\u2028end"
CONTROLS = set("\x1b\r\b\x9b\u202e\u2066\u2028")


def assert_harmless(text):
    assert not CONTROLS & set(text)
    assert "\ncaptionqa: all is well" not in text


def test_control_characters_are_shown_as_escapes():
    assert printable(NASTY) == SHOWN
    assert printable("caf\udce9\x00\ufeff\u200b") == r"caf\udce9\x00\ufeff\u200b"


def test_a_message_keeps_its_own_line_breaks_and_no_other_control_characters():
    assert printable_lines("one\n\ttwo\x1b[2J\r\n\x85three\u2029") == "one\n\ttwo\\x1b[2J\\r\n\\x85three\\u2029"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Run something as the job of a log, as in a process of its own: pytest has handlers on the root logger."""

    def run(work):
        monkeypatch.setattr(logging.root, "handlers", [])
        with job_log(str(tmp_path / "job.log"), "a job", Layout(str(tmp_path), "tiny")):
            work()

    return run


@pytest.mark.parametrize(
    "text", ["Žluťoučký kůň", "中文\u3000字", "العربية", "👩‍👩‍👧‍👦 🏳️‍🌈", "a b\xa0c", "ẞ–“„”…", "می‌خواهم"]
)
def test_letters_of_all_scripts_and_emoji_stay(text):
    assert printable(text) == text
    assert printable_lines(text) == text


def test_what_the_terminal_gets_is_harmless(capsys):
    logger = logging.getLogger("captionqa")
    print_message(f"the item {printable(NASTY)}: {NASTY[:20]}")
    show(f"a\nb{NASTY[:20]}")
    log_to_terminal()
    logger.warning("%s", NASTY[:20])
    said = capsys.readouterr()
    assert_harmless(said.out + said.err)
    assert said.out.startswith("a\nb\\x1b[2J")
    assert said.err.count("\\x1b[31mred\\r") == 3


@pytest.mark.parametrize("kind", [InputError, RuntimeError])
def test_a_jobs_log_and_its_error_are_harmless(job, tmp_path, capsys, kind):
    def work():
        logging.getLogger("another_package").warning("it says %s", NASTY[:20])
        raise kind(f"the row {NASTY[:20]} is no good")

    with pytest.raises(SystemExit):
        job(work)
    for message in failure_messages(Layout(str(tmp_path), "tiny")):
        print_message(message)
    for text in (capsys.readouterr().err, (tmp_path / "job.log").read_text()):
        assert_harmless(text)
        assert text.count("\\x1b[31mred\\r") >= 2


def test_what_the_supervisor_says_in_the_servers_log_is_harmless(tmp_path):
    log = ServerLog(tmp_path / "server.log", "supervisor")
    log.say(f"stopping: HTTP 500: {NASTY[:20]}\udce9")
    assert_harmless(log.path.read_text())


def test_a_servers_error_is_harmless_in_the_log_and_itself_in_the_result(
    images, publish, scripted, jobs, job, tmp_path
):
    publish(scripted.url)
    name = "\x1b[2J\x1b[31m\rtwo\nlines\u202e.png"
    images.add(name)
    scripted.answers = [(400, {}, {"error": {"message": NASTY}})]
    (chunk,) = jobs()
    job(ChunkRun(chunk).run)
    log = (tmp_path / "job.log").read_text()
    assert_harmless(log)
    (line,) = [line for line in log.splitlines() if "HTTP 400" in line]
    assert r"two\nlines\u202e.png" in line
    assert r"\x1b[2J\x1b[31mred over captionqa: all is well\x08" in line
    *_, result = map(json.loads, chunk.result.read_text().splitlines())
    assert (result["id"], result["failure"]) == (name, "request_rejected")


def test_a_name_and_a_qid_are_one_harmless_row_of_the_audit(make_config, images, tmp_path, caplog):
    images.add("good.png")
    (images.path / "\x1b[2J\x1b[31m\rtwo\nlines\u202e.png").write_bytes(b"")
    row = {"qid": NASTY, "question": "A or B?", "answer": f"C{NASTY}", "image": NASTY, "category": NASTY}
    pd.DataFrame([row]).to_parquet(tmp_path / "questions.parquet")
    config = make_config()
    with caplog.at_level(logging.INFO):
        run_audit(config, Layout(config.output_dir, "tiny"))
    assert_harmless(caplog.text)
    text = (tmp_path / "output" / "audit.tsv").read_text()
    assert_harmless(text)
    rows = list(csv.reader(text.splitlines(), "excel-tab"))
    assert {len(row) for row in rows} == {5}
    assert {row[1] for row in rows[1:]} == {"good.png", r"\x1b[2J\x1b[31m\rtwo\nlines\u202e.png", SHOWN}


def test_a_qid_and_a_category_are_harmless_in_a_comparison(tmp_path, capsys):
    record = {"question": "A or B?", "gt_answer": "A", "category": NASTY}
    for name, right in (("a", True), ("b", False)):
        results = {NASTY: {**record, "predicted_letter": "A" if right else NASTY, "is_correct": right}}
        (tmp_path / f"{name}_qa_results.json").write_text(json.dumps(results))
    output = tmp_path / "comparison.json"
    paths = [str(tmp_path / f"{name}_qa_results.json") for name in "ab"]
    assert main(["compare", *paths, "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert_harmless(said)
    assert sum(line.startswith(f"  {SHOWN} ") for line in said.splitlines()) == 1
    assert f"1 question right only in A: {SHOWN} (A -> {SHOWN})" in said.splitlines()
    assert list(read_json(output)["category_comparison"]) == [NASTY]


def test_a_plan_that_is_refused_names_the_qid_harmlessly(make_config, images, tmp_path, capsys):
    images.add("good.png")
    row = {"qid": NASTY, "question": "A or B?", "answer": "A", "image": "good.png"}
    pd.DataFrame([row, row]).to_parquet(tmp_path / "questions.parquet")
    config = make_config()
    with pytest.raises(InputError) as error:
        run_audit(config, Layout(config.output_dir, "tiny"))
    print_message(str(error.value))
    assert_harmless(capsys.readouterr().err)


def test_a_configuration_that_is_refused_is_named_harmlessly(tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text(json.dumps({"output_dir": "out", "\x1b[2J\u202ekey\r": 1}))
    command = [sys.executable, "-m", "captionqa", "status", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert_harmless(done.stderr)
