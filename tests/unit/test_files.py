"""Files are complete or absent, whatever happens to the writer; readers skip incomplete lines."""

import contextlib
import errno
import json
import os
import resource
import signal
import stat
from pathlib import Path

import pytest
from captionqa import files
from captionqa.errors import ConfigError
from captionqa.files import atomic_writer, json_line, json_object_writer, read_json, read_json_lines, write_json
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "final.json"
    path.write_text("old")
    with contextlib.suppress(RuntimeError), atomic_writer(path) as file:
        file.write("half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "final.json"
    with atomic_writer(path) as file:
        file.write("text")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "text"


def test_kill_9_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, start_python):
    path = tmp_path / "final.json"
    path.write_text("old")
    code = (
        "import sys, time\n"
        "from captionqa.files import atomic_writer\n"
        "with atomic_writer(sys.argv[1]) as file:\n"
        "    file.write('new' * 100_000)\n"
        "    file.flush()\n"
        "    print('written', flush=True)\n"
        "    time.sleep(600)\n"
    )
    writer = start_python(code, path)
    assert writer.stdout.readline() == "written\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["final[1].json", "n" * 200 + ".json"])
def test_what_a_killed_writer_of_an_object_left_behind_goes_and_no_neighbours(tmp_path, start_python, name):
    path, neighbour = tmp_path / name, tmp_path / f"{name[:-5]}_failures.json"
    code = (
        "import sys, time\n"
        "from captionqa.files import json_object_writer\n"
        "with json_object_writer(sys.argv[1]) as add:\n"
        "    print('open', flush=True)\n"
        "    time.sleep(600)\n"
    )
    writer = start_python(code, path)
    assert writer.stdout.readline() == "open\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (remains,) = tmp_path.iterdir()
    with json_object_writer(neighbour) as add_failure, json_object_writer(path) as add:
        add_failure("b", 1)
        add("a", 1)
    assert (read_json(path), read_json(neighbour)) == ({"a": 1}, {"b": 1})
    assert remains.exists() is (len(name) > 100)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_gets_the_permissions_asked_for(tmp_path, mode):
    write_json(tmp_path / "file.json", {}, mode)
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == mode


@given(pairs=st.dictionaries(st.text(), VALUES, max_size=4))
def test_an_object_written_pair_by_pair_is_the_same_object(tmp_path, pairs):
    path = tmp_path / "object.json"
    with json_object_writer(path) as add:
        for key, value in pairs.items():
            add(key, value)
    assert json.loads(path.read_text(encoding="utf-8")) == pairs


def test_a_file_name_that_is_not_utf_8_survives_in_json(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    with json_object_writer(tmp_path / "captions.json") as add:
        add(name, "a café")
    assert read_json(tmp_path / "captions.json") == {name: "a café"}


@pytest.mark.parametrize("content", [None, b"", b'{"half": ', b"\xff\xfe\x00 no text", b'{"torn": "caf\xc3'])
def test_a_file_that_is_missing_or_no_json_reads_as_none(tmp_path, content):
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    assert read_json(path) is None


@given(value=VALUES)
def test_a_json_line_is_one_line(value):
    line = json_line({"text": value})
    assert line.splitlines(keepends=True) == [line]
    assert json.loads(line) == {"text": value}


def test_lines_that_are_not_whole_are_passed_over(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2,"text":"to\n\x00\x00\xff\n{"n":3}\n{"n":4')
    assert list(read_json_lines(path)) == [{"n": 1}, {"n": 3}]


def test_a_file_that_was_replaced_on_another_machine_is_opened_anew(tmp_path, monkeypatch):
    path, reads = tmp_path / "file.json", []
    path.write_text('{"new": 1}')

    def read_text(self, **options):
        reads.append(self)
        if len(reads) < 3:  # a network file system still has the old inode
            raise OSError(errno.ESTALE, "Stale file handle", str(self))
        return Path.read_bytes(self).decode()

    monkeypatch.setattr(Path, "read_text", read_text)
    assert read_json(path) == {"new": 1}


def test_a_file_of_many_blocks_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 16)
    path = tmp_path / "lines.jsonl"
    values = [{"text": "x" * length} for length in range(0, 60, 7)]
    path.write_text("".join(map(json_line, values)))
    assert list(read_json_lines(path)) == values


def test_more_files_are_read_side_by_side_than_a_process_may_open(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(100):
        (tmp_path / f"{number}.jsonl").write_text(json_line(number) * 2)
    in_use = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 40, limits[1]))
    try:
        readers = [read_json_lines(tmp_path / f"{number}.jsonl") for number in range(100)]
        assert [next(reader) for reader in readers] == [next(reader) for reader in readers] == list(range(100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_whoever_puts_a_link_in_place_of_a_file_that_is_written_opens_no_private_file(tmp_path):
    """In a folder that a group shares: a member waits for the temporary name."""
    private = tmp_path / "private.png"
    private.touch(0o600)
    shared = tmp_path / "shared"
    with atomic_writer(shared / "progress.json") as file:
        file.write("{}")
        (temporary,) = shared.iterdir()
        temporary.unlink()
        temporary.symlink_to(private)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_files_are_removed_from_a_folder_and_not_through_a_link(tmp_path):
    folder, elsewhere = tmp_path / "errors", tmp_path / "annotations"
    files.remove_json_files(folder)  # it is missing
    elsewhere.mkdir()
    (elsewhere / "mine.json").touch()
    folder.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="errors is a link or a file where a folder should be; delete it"):
        files.remove_json_files(folder)
    assert (elsewhere / "mine.json").exists()
    folder.unlink()
    folder.mkdir()
    (folder / "job.json").touch()
    (folder / "other").touch()
    files.remove_json_files(folder)
    assert [path.name for path in folder.iterdir()] == ["other"]


WRITERS = {
    "a job's log": "from captionqa.run.job_log import _set_up_logging\n_set_up_logging(path, False)",
    "the server's log": "from captionqa.server.server_log import ServerLog\nServerLog(Path(path), 'x').say('x')",
    "a supervisor's output": (
        "from captionqa.server.launcher import LocalLauncher\nLocalLauncher().start(['-c', 'print(1)'], 0, Path(path))"
    ),
    "a journal": (
        "from captionqa.client.journal import JournalSegment\n"
        "JournalSegment(Path(path).parent, 7, 'fingerprint', print).append({'id': 'a'})"
    ),
    "notes of decoding": (
        "from captionqa.client.decoding_notes import DecodingNotes\n"
        "with DecodingNotes(Path(path)).decoding('a') as begin:\n    begin()"
    ),
}


#: Those that do without a file that they cannot write.
SILENT = ("the server's log", "notes of decoding")


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_a_link(start_python, tmp_path, writer):
    """A member of a group that shares the output folder puts it in the place of a log or a journal."""
    precious, link = tmp_path / "thesis.txt", tmp_path / "0007.jsonl"
    precious.write_text("thesis\n")
    link.symlink_to(precious)
    process = start_python(f"import sys\nfrom pathlib import Path\npath = sys.argv[1]\n{WRITERS[writer]}", link)
    _, errors = process.communicate(timeout=60)
    # a supervisor's output would come only after this
    assert ("Too many levels of symbolic links" in errors) == (writer not in SILENT), errors
    assert precious.read_text() == "thesis\n"
