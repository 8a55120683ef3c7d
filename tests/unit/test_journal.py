"""The journal: no answer is lost to a killed writer, a torn end harms nothing, and a segment has one writer."""

import errno
import fcntl
import os
import signal
import threading

import pytest
from captionqa.client import journal as journal_module
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import JournalSegment, read_lines, segment_of
from captionqa.config.answer_files import journal_segment
from captionqa.dataset.places import place
from captionqa.errors import DiskFullError
from hypothesis import given
from hypothesis import strategies as st


class GaveUpError(Exception):
    pass


def give_up():
    raise GaveUpError


@pytest.fixture
def open_segment(tmp_path):
    """Open segments of one journal, and close them; what a test leaves open is closed with it."""
    opened = []

    def open_one(fingerprint="f1", index=0, wait=give_up):
        opened.append(JournalSegment(tmp_path / "journal", index, fingerprint, wait))
        return opened[-1]

    def close(one):
        opened.remove(one)
        one.close()

    open_one.path = journal_segment(tmp_path / "journal", 0)
    open_one.close = close
    yield open_one
    for one in opened:
        one.close()


def test_answers_are_there_when_the_segment_is_opened_again(open_segment):
    first = open_segment()
    first.append({"id": "a", "answer": "one"})
    first.append({"id": "b", "answer": "two\nlines, ä"})
    open_segment.close(first)
    answers = open_segment().answers
    assert {name: line["answer"] for name, line in answers.items()} == {"a": "one", "b": "two\nlines, ä"}


def test_an_answer_is_on_its_way_to_disk_when_append_returns(open_segment):
    open_segment().append({"id": "a", "answer": "one"})
    assert [line["id"] for line in read_lines(open_segment.path)] == ["a"]


def test_only_answers_of_the_same_settings_count(open_segment):
    first = open_segment("f1")
    first.append({"id": "a", "answer": "one"})
    open_segment.close(first)
    other = open_segment("f2")
    assert other.answers == {}
    other.append({"id": "a", "answer": "two"})
    open_segment.close(other)
    assert open_segment("f1").answers["a"]["answer"] == "one"


def test_the_newest_answer_of_an_item_counts(open_segment):
    first = open_segment()
    first.append({"id": "a", "answer": "old"})
    first.append({"id": "a", "answer": "new"})
    open_segment.close(first)
    assert open_segment().answers["a"]["answer"] == "new"


@pytest.mark.parametrize("torn", [b'{"fingerprint":"f1","id":"b","ans', b"{", b'{"id":"caf\xc3', b"\0\0\0"])
def test_a_torn_last_line_is_dropped_and_the_next_append_is_whole(open_segment, torn):
    first = open_segment()
    first.append({"id": "a", "answer": "one"})
    open_segment.close(first)
    with open(open_segment.path, "ab") as file:
        file.write(torn)
    second = open_segment()
    assert set(second.answers) == {"a"}
    second.append({"id": "c", "answer": "three"})
    open_segment.close(second)
    assert set(open_segment().answers) == {"a", "c"}


@given(data=st.data())
def test_a_journal_cut_anywhere_keeps_every_whole_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    first = JournalSegment(folder, 0, "f1", give_up)
    for number in range(4):
        first.append({"id": str(number), "answer": "ä\n" * number})
    first.close()
    path = journal_segment(folder, 0)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    second = JournalSegment(folder, 0, "f1", give_up)
    complete = whole[:cut].count(b"\n")
    assert set(second.answers) - {str(complete)} == {str(number) for number in range(complete)}
    second.append({"id": "new", "answer": "whole"})
    second.close()
    third = JournalSegment(folder, 0, "f1", give_up)
    third.close()
    assert third.answers["new"]["answer"] == "whole"


@pytest.mark.parametrize("line", ["[]", "7", '{"id":"b"}', '{"fingerprint":"f1"}', "null", "text"])
def test_a_line_that_is_no_answer_is_passed_over(open_segment, line):
    open_segment.close(open_segment())
    open_segment.path.write_text(line + "\n")
    assert open_segment().answers == {}


def test_kill_9_in_the_middle_of_a_write_loses_nothing_acknowledged(open_segment, start_python):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from captionqa.client.journal import JournalSegment\n"
        "segment = JournalSegment(Path(sys.argv[1]), 0, 'f1', None)\n"
        "for number in range(10**9):\n"
        "    segment.append({'id': str(number), 'answer': 'x' * 300_000})\n"
        "    print(number, flush=True)\n"
    )
    writer = start_python(code, open_segment.path.parent)
    for _ in range(20):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    acknowledged = 20 + len(writer.communicate()[0].splitlines())
    again = open_segment()
    assert {str(number) for number in range(acknowledged)} <= set(again.answers)
    assert {len(line["answer"]) for line in again.answers.values()} == {300_000}
    again.append({"id": "after", "answer": "whole"})
    open_segment.close(again)
    assert open_segment().answers["after"]["answer"] == "whole"


def test_a_segment_has_one_writer_at_a_time(open_segment):
    first = open_segment()
    with pytest.raises(GaveUpError):
        open_segment("f2")
    open_segment.close(first)
    open_segment("f2")


def test_other_segments_are_free(open_segment):
    open_segment(index=0)
    open_segment(index=1)


def test_who_waits_for_a_segment_sees_what_the_other_wrote(open_segment):
    first = open_segment()
    waits, found = threading.Event(), {}
    second = threading.Thread(target=lambda: found.update(open_segment(wait=waits.set).answers))
    second.start()
    assert waits.wait(20)
    first.append({"id": "a", "answer": "one"})
    open_segment.close(first)
    second.join()
    assert set(found) == {"a"}


def test_the_lock_of_a_killed_writer_is_free(open_segment, start_python):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from captionqa.client.journal import JournalSegment\n"
        "segment = JournalSegment(Path(sys.argv[1]), 0, 'f1', None)\n"
        "print('locked', flush=True)\n"
        "time.sleep(600)\n"
    )
    writer = start_python(code, open_segment.path.parent)
    assert writer.stdout.readline() == "locked\n"
    with pytest.raises(GaveUpError):
        open_segment()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    open_segment()


def test_a_writer_that_gave_up_holds_no_lock(open_segment):
    first = open_segment()
    with pytest.raises(GaveUpError):
        open_segment()
    open_segment.close(first)
    open_segment().append({"id": "a", "answer": "one"})


@given(st.text())
def test_an_items_segment_follows_from_its_place_alone(name):
    where = place(name)
    assert segment_of(where) == where * 1024 // 2**32
    for chunks in (1, 3, 1000):
        inside = {segment_of(edge) for edge in (where * chunks // 2**32 * 2**32 // chunks, where)}
        assert max(inside) == segment_of(where)


def test_a_line_holds_the_fingerprint_of_its_settings(open_segment):
    open_segment("f7").append({"id": "a", "answer": "one"})
    assert list(read_lines(open_segment.path)) == [{"fingerprint": "f7", "id": "a", "answer": "one"}]


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def no_locks(request, monkeypatch):
    """flock as on a file system without locks, such as Lustre mounted without its flock option."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    journal_module._warn_of_missing_locks.cache_clear()


def test_on_a_file_system_without_locks_a_chunk_is_answered_with_one_warning(no_locks, images, server, jobs, caplog):
    images.add(*(f"{number}.png" for number in range(12)))
    (job,) = jobs()
    ChunkRun(job).run()
    ChunkRun(job).run()
    assert len(server.asked) == 12
    assert caplog.text.count("has no locks (flock), so the journal goes on without") == 1


def test_without_locks_two_writers_of_a_segment_lose_no_line(no_locks, open_segment):
    both = [open_segment(), open_segment()]

    def write(number):
        for count in range(200):
            both[number].append({"id": f"{number}-{count}", "answer": "x" * 5000})

    writers = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(open_segment().answers) == 400


def test_without_locks_a_line_that_failed_takes_no_line_of_another_writer_with_it(no_locks, open_segment, monkeypatch):
    mine, other = open_segment(), open_segment()
    write = os.write

    def full_behind_the_others_line(file, data):
        monkeypatch.setattr(os, "write", write)
        other.append({"id": "other", "answer": "one"})
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full_behind_the_others_line)
    with pytest.raises(DiskFullError):
        mine.append({"id": "mine", "answer": "two"})
    assert set(open_segment().answers) == {"other"}


def test_another_error_of_the_lock_is_an_error(open_segment, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        open_segment()


@pytest.mark.parametrize("name", ["{style}", "{n} {", "two\nlines", "caf\udce9", "*[a]?", "%s $HOME", "中文"])
def test_a_journal_is_kept_in_a_folder_and_of_an_item_of_any_name(tmp_path, name):
    for _ in range(2):
        segment = JournalSegment(tmp_path / name, 0, "f1", give_up)
        known = set(segment.answers)
        segment.append({"id": name, "answer": name})
        segment.close()
    assert known == {name}
    assert [line["answer"] for line in read_lines(journal_segment(tmp_path / name, 0))] == [name, name]
