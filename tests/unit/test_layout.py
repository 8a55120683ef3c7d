"""The names of all files on disk: a run resumes what an earlier version left, so none may change."""

from captionqa.config.answer_files import AnswerFiles, journal_segment, journal_segments
from captionqa.config.layout import Layout
from captionqa.config.server_files import ServerFiles

LAYOUT = Layout("out", "tiny")
RULES = Layout("out")


def text(*paths):
    return list(map(str, paths))


def test_final_files_and_logs():
    assert text(LAYOUT.captions("short"), LAYOUT.captions("short", "_failures"), LAYOUT.qa("metrics")) == [
        "out/captions/tiny/tiny_short.json",
        "out/captions/tiny/tiny_short_failures.json",
        "out/qa/tiny/tiny_qa_metrics.json",
    ]
    assert text(LAYOUT.audit, LAYOUT.server_log(1), LAYOUT.previous_server_log(1), LAYOUT.verdict) == [
        "out/audit.tsv",
        "out/logs/tiny/server-1.log",
        "out/logs/tiny/server-1.previous.log",
        "out/logs/tiny/verdict.json",
    ]


def test_plans_and_item_lists():
    assert text(LAYOUT.plan("qa"), LAYOUT.items("qa"), LAYOUT.question_rows("abc")) == [
        "out/work/items/qa/plan.json",
        "out/work/items/qa/{chunk}-of-{n}.{digest}.jsonl",
        "out/work/items/qa/questions.abc.jsonl",
    ]
    assert text(LAYOUT.question_images, LAYOUT.sniffed) == [
        "out/work/items/qa/images.jsonl",
        "out/work/items/sniffed.jsonl",
    ]


def test_work_files_of_a_model():
    assert text(LAYOUT.captions_work("short"), LAYOUT.qa_work(), LAYOUT.graded(), LAYOUT.failures_checked) == [
        "out/work/tiny/captions/short",
        "out/work/tiny/qa",
        "out/work/tiny/qa/graded.jsonl",
        "out/work/tiny/failures_checked",
    ]
    assert text(LAYOUT.job_error("merge_qa"), LAYOUT.job_progress("qa_chunk"), LAYOUT.job_times) == [
        "out/work/tiny/errors/merge_qa.json",
        "out/work/tiny/progress/qa_chunk.json",
        "out/work/tiny/spans",
    ]


def test_work_files_of_answers(tmp_path):
    files = AnswerFiles("out/work/tiny/qa")
    assert text(files.result(), files.chunks, files.fallback, journal_segment(files.journal, 7)) == [
        "out/work/tiny/qa/chunks/{chunk}-of-{n}.{fingerprint}.{digest}.jsonl",
        "out/work/tiny/qa/chunks",
        "out/work/tiny/qa/fallback",
        "out/work/tiny/qa/journal/0007.jsonl",
    ]
    for index in (10, 9):
        journal_segment(tmp_path, index).touch()
    assert journal_segments(tmp_path) == [journal_segment(tmp_path, 9), journal_segment(tmp_path, 10)]


def test_files_of_a_server(tmp_path):
    files = LAYOUT.server_files
    assert files.folder == LAYOUT.server
    named = (files.lease, files.lease_lock, files.api_key, files.request, files.handles, files.stopping, files.run)
    assert text(*named, files.endpoint(3), files.load_log(3), files.generation_key(3)) == [
        f"out/work/tiny/server/{name}"
        for name in (
            *("lease.json", "lease.lock", "api_key", "request.json", "handles.json", "stopping", "run.json"),
            *("endpoint-3.json", "load-3.jsonl", "key-3.json"),
        )
    ]
    here = ServerFiles(tmp_path)
    for replica in (10, 9):
        here.endpoint(replica).touch()
        here.load_log(replica).touch()
    assert here.endpoints() == [here.endpoint(9), here.endpoint(10)]
    assert set(here.load_logs()) == {here.load_log(9), here.load_log(10)}


def test_files_that_rules_name_keep_their_wildcards():
    assert text(RULES.sentinel, RULES.live(), RULES.released(), RULES.captions_work()) == [
        "out/work/{model}/server/ready.json",
        "out/work/{model}/server/live/{task}",
        "out/work/{model}/server/released/{task}.json",
        "out/work/{model}/captions/{style}",
    ]
