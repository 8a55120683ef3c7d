"""A real full disk: the chunk fails with one sentence that names it, and a rerun continues once there is room."""

import contextlib
import dataclasses
import itertools
import os
import subprocess

import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import JournalSegment, read_lines
from captionqa.config.answer_files import journal_segment
from captionqa.config.layout import Layout
from captionqa.dataset.planning import plan_task
from captionqa.driver.failure_report import failure_messages
from captionqa.errors import DiskFullError
from captionqa.files import read_json_lines, write_json

NAMES = [f"{number}.png" for number in range(60)]
PAGE_BYTES = 4096


@pytest.fixture
def disk(tmp_path):
    """A file system of 16 pages; `grow` gives it more."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()

    class Disk:
        path = folder

        def grow(self):
            subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)

        def fill(self):
            with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * PAGE_BYTES)

        def fill_inodes(self):
            subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)
            with contextlib.suppress(OSError):
                for number in itertools.count():
                    (folder / f"filler-{number}").touch()

    options = f"size={16 * PAGE_BYTES},nr_inodes=60"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a file system: {mounted.stderr.strip()}")
    yield Disk()
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def crowded_disk(tmp_path):
    """A file system with much room and without an inode for another file; `free` makes room for some."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "crowded"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=16m,nr_inodes=20", "tmpfs", folder]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a file system: {mounted.stderr.strip()}")

    class Disk:
        path = folder

        def free(self):
            for filler in folder.glob("filler*"):
                filler.unlink()

    for name in ("journal", "chunks"):
        (folder / name).mkdir()
    with contextlib.suppress(OSError):
        for number in range(20):
            (folder / f"filler{number}").touch()
    yield Disk()
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(("where", "asked"), [("journal", 0), ("chunks", 8)])
def test_a_disk_without_inodes_is_named_and_with_room_the_rerun_asks_only_for_the_rest(
    images, server, jobs, crowded_disk, where, asked
):
    images.add(*NAMES[:8])
    job = jobs()[0]
    if where == "journal":
        job = dataclasses.replace(job, journal=crowded_disk.path / "journal")
    else:
        job = dataclasses.replace(job, result=crowded_disk.path / "chunks" / "result.jsonl")
    with pytest.raises(
        DiskFullError, match=f"the disk holds all the files that it can: delete some in {crowded_disk.path}/{where}"
    ):
        ChunkRun(job).run()
    assert len(server.asked) == asked
    crowded_disk.free()
    ChunkRun(job).run()
    assert len(server.asked) == 8


def test_a_plan_without_inodes_names_the_disk(images, make_config, crowded_disk):
    images.add("a.png")
    config = make_config({"output_dir": str(crowded_disk.path / "chunks")})
    with pytest.raises(
        DiskFullError, match=f"the disk holds all the files that it can: delete some in {crowded_disk.path}/chunks"
    ):
        plan_task(config, Layout(config.output_dir, "tiny"), "captions")


def test_a_disk_that_fills_up_under_the_journal_loses_nothing(images, server, jobs, disk, journal_ids):
    images.add(*NAMES)
    job = dataclasses.replace(jobs()[0], journal=disk.path / "journal")
    with pytest.raises(DiskFullError, match=f"the disk is full: make room in {disk.path}/journal"):
        ChunkRun(job).run()
    kept = journal_ids(job)
    assert 0 < len(kept) < len(NAMES)
    assert not job.result.exists()
    disk.grow()
    asked_before = len(server.asked)
    ChunkRun(job).run()
    header, *lines = read_json_lines(job.result)
    assert (len(lines), header["known"]) == (len(NAMES), len(kept))
    assert len(server.asked) - asked_before == len(NAMES) - len(kept)


def test_a_full_disk_under_the_result_leaves_none_and_the_rerun_asks_for_nothing(images, server, jobs, disk):
    images.add(*NAMES)
    job = dataclasses.replace(jobs()[0], result=disk.path / "chunks" / "result.jsonl")
    disk.fill()
    with pytest.raises(DiskFullError, match=r"the disk is full: make room in .*chunks"):
        ChunkRun(job).run()
    assert [path for path in disk.path.rglob("*") if path.is_file()] == [disk.path / "filler"]
    (disk.path / "filler").unlink()
    asked_before = len(server.asked)
    disk.grow()
    ChunkRun(job).run()
    assert len(list(read_json_lines(job.result))) == 1 + len(NAMES)
    assert len(server.asked) == asked_before == len(NAMES)


def test_a_full_disk_under_the_progress_alone_stops_no_chunk(images, server, jobs, disk):
    images.add(*NAMES)
    job = dataclasses.replace(jobs()[0], progress=disk.path / "progress" / "0.json")
    disk.fill()
    ChunkRun(job).run()
    assert len(list(read_json_lines(job.result))) == 1 + len(NAMES)


def test_half_a_line_is_not_left_in_the_journal(disk):
    segment = JournalSegment(disk.path, 0, "f1", None)
    written = 0
    with contextlib.suppress(DiskFullError):
        while written < 1000:
            segment.append({"id": str(written), "answer": "x" * 3000})
            written += 1
    assert 0 < written < 1000
    segment.append({"id": "small", "answer": "y"})
    segment.close()
    ids = [line["id"] for line in read_lines(journal_segment(disk.path, 0))]
    assert ids == [*map(str, range(written)), "small"]


def test_a_full_disk_leaves_the_old_file_as_it_was(disk):
    path = disk.path / "file.json"
    write_json(path, {"old": 1})
    with pytest.raises(DiskFullError, match=r"the disk is full: make room in .*disk"):
        write_json(path, {"new": "x" * 20 * PAGE_BYTES})
    assert path.read_text() == '{\n  "old": 1\n}\n'
    assert list(disk.path.iterdir()) == [path]


def test_a_disk_without_inodes_is_told_from_one_without_room(images, server, jobs, disk):
    images.add(*NAMES)
    job = dataclasses.replace(jobs()[0], result=disk.path / "chunks" / "result.jsonl")
    layout = Layout(str(disk.path), "tiny")
    disk.fill_inodes()
    said = f"the disk holds all the files that it can: delete some in {disk.path}"
    with pytest.raises(DiskFullError, match=f"{said}/chunks and run the same command again"):
        ChunkRun(job).run()
    assert failure_messages(layout) == [f"{said} and run the same command again."]
    for path in disk.path.glob("filler-*"):
        path.unlink()
    assert failure_messages(layout) == []
    ChunkRun(job).run()
    assert len(list(read_json_lines(job.result))) == 1 + len(NAMES)
    assert len(server.asked) == len(NAMES)
