"""Damaged lines of journals and chunk results: none raises, none becomes an answer, and its item is asked again."""

import contextlib
import json
import logging

import pytest
from captionqa.client.chunk_result import FORMAT, UNCHECKED_FORMAT, ChunkResults, read_chunk, write_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import JournalSegment, read_lines
from captionqa.config.answer_files import journal_segment
from captionqa.errors import ResultError
from captionqa.files import checked_line, json_line, read_json_lines
from captionqa.results import forgetting
from captionqa.results.forgetting import forget

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
ANSWER = {"text": "A cat, ä.", "finish_reason": "stop", "prompt_tokens": 10, "completion_tokens": 5, "server": SERVER}
NAMES = [f"image{number}.png" for number in range(12)]
#: Lines of a journal that are JSON and not what they were.
NOT_WHAT_THEY_WERE = [
    {"files": None},
    {"files": [["a.png", None]]},
    {"files": [["a.png", None, 7]]},
    {"files": ["a.png"]},
    {"prompt": 7},
    {"id": ["a"]},
    {"answer": "A cat."},
    {"answer": {**ANSWER, "text": None}},
    {"answer": {**ANSWER, "server": "?"}},
    {"same_as": 7},
    {"crashed": None},
]


def journal_line(name, **changes):
    return {"id": name, "prompt": "d" * 24, "files": [[name, [1234, 1], "d" * 24]], "answer": ANSWER} | changes


def unchecked(line):
    """A line as versions before checksums wrote it."""
    value = json.loads(line)
    del value["crc"]
    return json_line(value)


def flipped(data):
    """The data with each of its bits turned around, one after another."""
    for place in range(8 * len(data)):
        yield data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]


@pytest.fixture
def journal(tmp_path):
    """A segment with three answers and a crash; returns its path."""
    segment = JournalSegment(tmp_path, 0, "f1", None)
    for name in ("a.png", "b.png", "c.png"):
        segment.append(journal_line(name))
    segment.append({"id": "d.png", "prompt": "d", "files": [], "crashed": "generation 1"})
    segment.close()
    return journal_segment(tmp_path, 0)


def answers(path):
    segment = JournalSegment(path.parent, 0, "f1", None)
    segment.close()
    return segment.answers


@pytest.mark.slow
def test_no_flipped_bit_of_a_journal_changes_an_answer_or_raises(journal):
    before, whole = answers(journal), journal.read_bytes()
    for data in flipped(whole):
        journal.write_bytes(data)
        after = answers(journal)
        assert after.items() <= before.items()
        assert len(after) >= len(before) - 2  # without its line break a line takes the next with it


@pytest.mark.slow
def test_no_flipped_bit_of_an_old_journal_raises(journal):
    lines = [unchecked(line) for line in journal.read_text().splitlines()]
    for data in flipped("".join(lines).encode()):
        journal.write_bytes(data)
        for line in answers(journal).values():
            assert [len(mark) for mark in line["files"]] == [3] * len(line["files"])
            assert isinstance(line["answer"]["text"], str)


def test_the_lines_of_an_old_journal_still_count(journal):
    before = answers(journal)
    journal.write_text("".join(map(unchecked, journal.read_text().splitlines())))
    assert answers(journal) == before
    assert [line["id"] for line in read_lines(journal)] == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize("changes", NOT_WHAT_THEY_WERE)
def test_a_line_without_a_checksum_that_lacks_what_it_needs_is_dropped_counted_and_named(journal, changes, caplog):
    damaged = {"fingerprint": "f1", **journal_line("a.png", **changes)}
    journal.write_text(json_line(damaged) + checked_line({"fingerprint": "f1", **journal_line("b.png")}))
    assert set(answers(journal)) == {"b.png"}
    assert f"{journal}: 1 damaged lines are passed over, the first is line 1" in caplog.text


def test_damaged_lines_are_asked_again_and_the_log_names_the_file(images, server, jobs, caplog):
    images.add(*NAMES)
    (job,) = jobs()
    ChunkRun(job).run()
    header, lines = read_chunk(job.result)
    before = {line["id"]: line for line in lines}
    first, second, *_ = sorted(job.journal.glob("*.jsonl"))
    first.write_bytes(first.read_bytes().replace(b'"files":', b'"filez":', 1))
    # damage that is JSON of the right form: another word in the caption
    second.write_bytes(second.read_bytes().replace(b"answer is", b"answer iz", 1))
    ChunkRun(job).run()
    assert len(server.asked) == header["items"] + 2
    header, lines = read_chunk(job.result)
    assert header["known"] == header["items"] - 2
    assert {line["id"]: line for line in lines} == before
    for path in (first, second):
        assert any(str(path) in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    ChunkRun(job).run()
    assert len(server.asked) == header["items"] + 2


def test_who_asks_again_on_purpose_keeps_the_checksums(images, server, jobs, make_config, monkeypatch):
    images.add(*NAMES)
    server.set(finish_reason="stop")
    (job,) = jobs()
    ChunkRun(job).run()
    monkeypatch.setattr(forgetting, "_is_truncated", lambda line: line["id"] in NAMES[:3])
    assert forget(make_config(), "captions", None, only_truncated=True).apply() == 3
    kept = [line for path in job.journal.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["id"] for line in kept) == sorted(NAMES[3:])
    assert all(checked_line(json.loads(unchecked(line))) == f"{line}\n" for line in kept)


@pytest.fixture
def result(tmp_path):
    """Write a chunk result of three lines, as of one version or the other; returns its path."""

    def write(version):
        header = {"format": version, "chunk": "0-of-1", "fingerprint": "f1", "items": 3, "failed": 1}
        header |= {"started": 1.0, "finished": 2.0, "client": {"host": "node", "job": None}, "servers": []}
        lines = [
            {"id": "a.png", "answer": ANSWER, "files": ["d1"]},
            {"id": "b.png", "answer": ANSWER, "files": ["d2"], "fallback": ANSWER, "same_as": "a.png"},
            {"id": "c.png", "failure": "timeout", "detail": "no answer in time"},
        ]
        path = tmp_path / "result.jsonl"
        write_chunk(path, header, lines)
        if version == UNCHECKED_FORMAT:
            path.write_text("".join(map(unchecked, path.read_text().splitlines())))
        return path

    return write


@pytest.fixture
def merged(monkeypatch):
    """The lines of a chunk result as a merge reads them."""
    monkeypatch.setattr("captionqa.client.chunk_result.fingerprint", lambda settings: "f1")

    def read(path):
        results = ChunkResults([str(path)], {})
        return results.headers, list(results.lines())

    return read


@pytest.mark.slow
def test_no_flipped_bit_of_a_result_changes_an_answer_and_each_is_refused_by_the_files_name(result, merged):
    path = result(FORMAT)
    whole = path.read_bytes()
    for data in flipped(whole):
        path.write_bytes(data)
        with pytest.raises(ResultError, match=f"{path} (is|holds) .*; delete it and run again, its answers are in"):
            merged(path)


@pytest.mark.slow
def test_a_flipped_bit_of_an_old_result_is_refused_or_has_the_form_of_an_answer(result, merged):
    path = result(UNCHECKED_FORMAT)
    whole, before = path.read_bytes(), merged(path)
    assert [line["id"] for line in before[1]] == ["a.png", "b.png", "c.png"]
    for data in flipped(whole):
        path.write_bytes(data)
        with contextlib.suppress(ResultError):
            for line in merged(path)[1]:
                assert isinstance(line["answer"]["text"] if "answer" in line else line["detail"], str)


def test_a_result_of_the_version_before_is_merged_as_it_is(result, merged):
    now = merged(result(FORMAT))
    before = merged(result(UNCHECKED_FORMAT))
    assert before[1] == now[1]
    assert before[0][0] | {"format": FORMAT} == now[0][0]


def test_a_line_that_any_reader_of_json_lines_reads_holds_its_checksum_last(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text(checked_line({"id": 'a", "crc":"00000000"}'}))
    (value,) = read_json_lines(path)
    assert list(value) == ["id", "crc"]
    assert value["id"] == 'a", "crc":"00000000"}'
