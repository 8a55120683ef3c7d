"""Chunk jobs on shards: the same answers as for a folder of the same images, and only what is new is asked."""

import base64
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import read_lines
from captionqa.config.layout import Layout
from captionqa.dataset.audit import audit
from captionqa.dataset.planning import plan_task
from PIL import Image
from shard_files import IMAGE, image_table, save_to_disk, write_parquet, write_tar

NAMES = [f"{number:03d}.png" for number in range(30)]


@pytest.fixture
def contents(encode):
    """Different pictures, {name: bytes}."""
    return {name: encode(Image.new("RGB", (8, 8), (number, 99, 7))) for number, name in enumerate(NAMES)}


def write_folder(path, pictures):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name, data in pictures.items():
        (path / name).write_bytes(data)


def write_saved(path, pictures):
    names = list(pictures)
    half = len(names) // 2
    parts = [{name: pictures[name] for name in some} for some in (names[:half], names[half:])]
    shutil.rmtree(path, ignore_errors=True)
    save_to_disk(path, [image_table(part) for part in parts])


#: How the same pictures are written, and what each is called.
KINDS = {
    "folder": (write_folder, str),
    "parquet": (lambda path, pictures: write_parquet(path / "t.parquet", pictures, group=7), str),
    "webdataset": (lambda path, pictures: write_tar(path / "t.tar", pictures), lambda name: name.removesuffix(".png")),
    "save_to_disk": (write_saved, str),
}
WRITES = pytest.mark.parametrize(("write", "called"), list(KINDS.values()), ids=list(KINDS))


@pytest.fixture
def run(tmp_path, images, server, keeper, jobs):
    """Run all chunks on tmp_path/ds; gives their lines by item, and how many requests were sent."""

    def run(chunks=3, dataset=tmp_path / "ds", **changes):
        before = len(server.asked)
        found = jobs(chunks=chunks, changes={"captions": {"dataset_path": str(dataset)}, **changes})
        for job in found:
            ChunkRun(job).run()
        run.jobs = found
        lines = {line["id"]: line for job in found for line in read_chunk(job.result)[1]}
        return lines, len(server.asked) - before

    return run


def test_the_same_images_have_the_same_answers_and_digests_however_they_are_stored(
    tmp_path, contents, images, server, keeper, jobs
):
    answers = {}
    for kind, (write, called) in KINDS.items():
        write(tmp_path / kind, contents)
        changes = {"output_dir": str(tmp_path / f"{kind}-out"), "captions": {"dataset_path": str(tmp_path / kind)}}
        found = jobs(chunks=2, changes=changes)
        for job in found:
            ChunkRun(job).run()
        lines = {line["id"]: line for job in found for line in read_chunk(job.result)[1]}
        answers[kind] = [(lines[called(name)]["answer"]["text"], lines[called(name)]["files"]) for name in NAMES]
        assert len(lines) == len(NAMES)
    assert answers["folder"] == answers["parquet"] == answers["webdataset"] == answers["save_to_disk"]
    sent = {image for request in server.asked for image in request["images"]}
    assert len(sent) == len(NAMES), "the bytes go as they are"


@WRITES
def test_only_what_is_new_is_asked(tmp_path, contents, encode, run, write, called):
    some = {name: contents[name] for name in NAMES[:20]}
    write(tmp_path / "ds", some)
    first, asked = run()
    assert (set(first), asked) == ({called(name) for name in some}, 20)
    assert run() == (first, 0)
    assert run(chunks=7)[1] == 0, "another number of chunks"
    write(tmp_path / "ds", contents)
    assert run()[1] == 10, "added images"
    edited = {**contents, NAMES[4]: encode(Image.new("RGB", (8, 8), (4, 0, 0)))}
    write(tmp_path / "ds", edited)
    last, asked = run()
    assert asked == 1, "an edited image"
    assert last[called(NAMES[4])]["files"] != first[called(NAMES[4])]["files"]
    write(tmp_path / "ds", {name: edited[name] for name in NAMES[:7]})
    assert (len(run()[0]), run()[1]) == (7, 0), "removed images"


@pytest.mark.parametrize("kind", ["webdataset", "save_to_disk"])
def test_images_that_move_within_a_shard_are_not_asked_again(tmp_path, contents, run, kind):
    write, _ = KINDS[kind]
    write(tmp_path / "ds", contents)
    assert run()[1] == len(NAMES)
    write(tmp_path / "ds", dict(reversed(contents.items())))
    assert run()[1] == 0


def test_new_shards_ask_only_for_their_images(tmp_path, contents, run):
    for number, name in enumerate(NAMES[:9]):
        write_parquet(tmp_path / "ds" / f"{number}.parquet", {name: contents[name]})
        assert run()[1] == 1


def test_several_images_of_a_row_are_asked_about_with_their_own_prompt(tmp_path, contents, run, server):
    cells = [[{"bytes": contents[name], "path": name} for name in names] for names in (NAMES[:2], NAMES[2:3])]
    (tmp_path / "ds").mkdir()
    pq.write_table(
        pa.table({"id": ["x", "y"], "images": pa.array(cells, pa.list_(IMAGE))}), tmp_path / "ds" / "t.parquet"
    )
    lines, _ = run()
    assert {name: len(line["files"]) for name, line in lines.items()} == {"x": 2, "y": 1}
    captions = {"dataset_path": str(tmp_path / "ds"), "multi_image_prompt": "What changes from <image> to <image>?"}
    run(captions=captions)
    texts = {len(request["images"]): request["text"] for request in server.asked}
    assert texts == {2: "What changes from <image> to <image>?", 1: "<image>Describe this image in detail."}


def test_a_cell_that_is_no_image_fails_its_row_by_name(tmp_path, contents, run):
    broken = {**contents, NAMES[3]: b"no image at all", NAMES[4]: contents[NAMES[4]][:40]}
    write_parquet(tmp_path / "ds" / "t.parquet", broken, group=10)
    lines, asked = run()
    assert asked == len(NAMES) - 2
    failed = {name: (line["failure"], line["detail"]) for name, line in lines.items() if "failure" in line}
    assert {name: reason for name, (reason, _) in failed.items()} == dict.fromkeys(NAMES[3:5], "unreadable_image")
    assert failed[NAMES[3]][1].startswith("'t.parquet', row 3, image: its content is no image")


def test_images_in_cells_are_sent_as_bytes_where_files_are_referred_to(tmp_path, contents, run, server):
    server.read_from(tmp_path)
    write_parquet(tmp_path / "ds" / "t.parquet", contents)
    lines, asked = run(client={"image_transport": "file"}, qa={"dataset_path": str(tmp_path / "ds")})
    assert asked == len(NAMES)
    assert all("answer" in line for line in lines.values())


def test_a_shard_that_changes_during_the_run_is_noticed(tmp_path, contents, images, server, keeper, jobs, encode):
    path = write_parquet(tmp_path / "ds" / "t.parquet", contents)
    changes = {"captions": {"dataset_path": str(tmp_path / "ds")}}
    (job,) = jobs(changes=changes)
    other = {name: encode(Image.new("RGB", (8, 8), (number, 0, 0))) for number, name in enumerate(NAMES)}
    write_parquet(path, other)
    os.utime(path, ns=(0, 1))
    ChunkRun(job).run()
    stamps = [line["files"][0][1] for segment in job.journal.glob("*.jsonl") for line in read_lines(segment)]
    assert stamps == [None] * len(NAMES)
    assert {image for request in server.asked for image in request["images"]} != set()
    (again,) = jobs(changes=changes)
    assert again.result != job.result


def test_base64_and_paths_in_a_table_are_asked_about(tmp_path, contents, run):
    write_folder(tmp_path / "images" / "in", {"a.png": contents[NAMES[0]]})
    texts = ["in/a.png", base64.b64encode(contents[NAMES[1]]).decode(), "in/gone.png"]
    pq.write_table(pa.table({"id": [0, 1, 2], "image": texts}), tmp_path / "images" / "t.parquet")
    lines, _ = run(dataset=Path(tmp_path / "images" / "t.parquet"))
    assert {name: line.get("failure") for name, line in lines.items()} == {
        "in/a.png": None,
        "1": None,
        "in/gone.png": "missing_image",
    }


def test_the_audit_finds_what_fails_and_what_is_there_twice(tmp_path, contents, make_config):
    (first, data), (second, _), (third, other) = list(contents.items())[:3]
    write_parquet(
        tmp_path / "ds" / "t.parquet", {first: data, second: b"no image at all", third: other, "copy.png": data}
    )
    config = make_config({"captions": {"dataset_path": str(tmp_path / "ds")}, "qa": None})
    layout = Layout(config.output_dir, "tiny")
    plan_task(config, layout, "captions")
    report = audit(config, layout, [("", "captions")])
    found = [line.split("\t")[1:3] for line in Path(layout.audit).read_text().splitlines()[1:]]
    assert [second, "unreadable_image"] in found
    assert sum(kind == "duplicate_image" for _, kind in found) == 1
    assert report.items == 4
