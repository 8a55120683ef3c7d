"""Files that change between the plan and the reading: each answer stays with the content that it is about."""

import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from captionqa.client import item as item_module
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.journal import read_lines
from captionqa.dataset import changed_files, plan_state
from captionqa.dataset import image_source as source_module
from captionqa.dataset.image_encoding import encode_image
from captionqa.dataset.image_file import read_stamped
from PIL import Image

NAMES = [f"image{number}.png" for number in range(6)]
SWAPPED = NAMES[:2]


@pytest.fixture
def swap(images):
    """Let two images change places, as `mv` does it: each keeps its size and its time."""

    def change_places():
        first, second = (images.path / name for name in SWAPPED)
        first.rename(images.path / "aside")
        second.rename(first)
        (images.path / "aside").rename(second)

    return change_places


@pytest.fixture
def answered(server):
    """Run a chunk if it has no result, as the workflow does; returns its answers and how many requests it took."""

    def run(job):
        before = len(server.asked)
        if not job.result.exists():
            ChunkRun(job).run()
        _, lines = read_chunk(job.result)
        return {line["id"]: line["answer"]["text"] for line in lines}, len(server.asked) - before

    return run


@pytest.mark.parametrize("task", ["captions", "qa"])
def test_images_that_are_swapped_while_they_are_read_and_put_back_are_asked_again(
    images, jobs, answered, swap, make_config, task
):
    images.add(*NAMES)
    config = make_config()
    rows = {"qid": NAMES, "question": "What?\nA. x\nB. y", "answer": "A", "image": NAMES}
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    os.utime(config.qa.question_path, (1, 1))  # an old file, so that the plan is kept while nothing changes
    (first,) = jobs(task)
    swap()
    wrong, asked = answered(first)
    assert asked == len(NAMES)
    swap()
    (second,) = jobs(task)
    assert second.result != first.result
    right, asked = answered(second)
    assert asked == len(SWAPPED)
    assert [right[name] for name in SWAPPED] == [wrong[name] for name in SWAPPED[::-1]]
    assert {name: right[name] for name in NAMES[2:]} == {name: wrong[name] for name in NAMES[2:]}
    assert answered(*jobs(task)) == (right, 0)
    assert jobs(task)[0].result == second.result


def test_they_may_be_swapped_again_and_again(images, jobs, answered, swap):
    images.add(*NAMES)
    results = []
    for _ in range(3):
        (job,) = jobs()
        swap()
        results.append(answered(job)[0])
        swap()
    (job,) = jobs()
    right, _ = answered(job)
    assert all([found[name] for name in SWAPPED] == [right[name] for name in SWAPPED[::-1]] for found in results)
    assert answered(*jobs()) == (right, 0)


def test_an_image_that_stays_another_is_not_asked_again(images, jobs, answered, encode, caplog):
    images.add(*NAMES)
    (first,) = jobs()
    images.add(NAMES[0])
    before, _ = answered(first)
    assert f"1 files, such as {NAMES[0]!r}, are not as this run found them when it began" in caplog.text
    (second,) = jobs()
    assert second.result != first.result
    assert answered(second) == (before, 0)
    assert answered(*jobs()) == (before, 0)


def test_the_journal_trusts_only_the_stamp_of_the_file_that_was_read(images, jobs, answered, swap):
    images.add(*NAMES)
    (job,) = jobs()
    swap()
    answered(job)
    swap()
    lines = [line for path in job.journal.glob("*.jsonl") for line in read_lines(path)]
    assert {line["id"] for line in lines if line["files"][0][1] is None} == set(SWAPPED)
    job.result.unlink()  # as when the chunk was killed behind its last answer, and is tried again in the same run
    assert answered(job)[1] == len(SWAPPED)


def test_a_file_that_grows_while_it_is_read_is_not_as_planned(images, jobs, answered, monkeypatch):
    images.add(*NAMES)
    (job,) = jobs()

    def grow_meanwhile(path):
        if path.name == NAMES[0]:
            with open(path, "ab") as file:
                file.write(b"\0")
        return read_stamped(path)

    monkeypatch.setattr(source_module, "read_stamped", grow_meanwhile)
    answered(job)
    lines = [line for path in job.journal.glob("*.jsonl") for line in read_lines(path)]
    assert [line["id"] for line in lines if line["files"][0][1] is None] == [NAMES[0]]


def test_a_failure_of_a_file_in_the_planned_ones_place_ends_with_the_planned_one(images, server, jobs, answered):
    images.add(*NAMES)
    (first,) = jobs()
    (images.path / NAMES[0]).rename(images.path / "aside")
    (images.path / NAMES[0]).write_text("no image")
    ChunkRun(first).run()
    assert [line["id"] for line in read_chunk(first.result)[1] if "failure" in line] == [NAMES[0]]
    (images.path / "aside").rename(images.path / NAMES[0])
    assert set(answered(*jobs())[0]) == set(NAMES)


@pytest.mark.parametrize("when", ["before it is looked for", "before it is read"])
def test_a_file_that_is_away_for_a_moment_is_asked_once_it_is_back(images, jobs, answered, monkeypatch, when):
    images.add(*NAMES)
    (first,) = jobs()
    path, aside = images.path / NAMES[0], images.path.parent / "aside"
    if when == "before it is looked for":
        path.rename(aside)

    def read(found):
        if found == path:
            path.rename(aside)
        return read_stamped(found)

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "read_stamped", read)
        ChunkRun(first).run()
    failed = [line for line in read_chunk(first.result)[1] if "failure" in line]
    assert [(line["id"], line["failure"]) for line in failed] == [(NAMES[0], "missing_image")]
    aside.rename(path)
    (second,) = jobs()
    right, asked = answered(second)
    assert (set(right), asked) == (set(NAMES), 1)
    assert answered(*jobs()) == (right, 0)
    assert jobs()[0].result == second.result


@pytest.fixture
def earlier_version(monkeypatch):
    """A context in which pictures are sent, planned and journaled as by a version before the present decoding."""

    @contextmanager
    def pretend():
        def encode(*arguments):
            return replace(encode_image(*arguments), is_new=False)

        with monkeypatch.context() as patch:
            patch.setattr(changed_files, "is_decoded_anew", lambda name: False)
            patch.setattr(plan_state, "deciding_modules", list)  # other code, so that the update plans anew
            patch.setattr(item_module, "encode_image", encode)
            yield

    return pretend


def test_after_an_update_only_what_was_sent_as_another_picture_is_asked_again(
    images, jobs, answered, encode, earlier_version
):
    pixels = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    for name, values in {"12 bits.tif": pixels, "16 bits.tif": pixels * 21}.items():
        tifffile.imwrite(images.path / name, values)
    drawn = Image.fromarray((pixels // 16).astype(np.uint8))
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP"):
        (images.path / f"drawn.{kind.lower()}").write_bytes(encode(drawn, kind))
    blank = Image.new("L", drawn.size, 255)
    (images.path / "blank first.gif").write_bytes(encode(blank, "GIF", save_all=True, append_images=[drawn]))
    with earlier_version():
        (job,) = jobs()
        before, asked = answered(job)
    assert asked == 8
    (job,) = jobs()
    after, asked = answered(job)
    assert asked == 2
    assert after.keys() == before.keys()
    answers = {name: sum(line["id"] == name for line in journaled(job)) for name in after}
    assert {name for name, times in answers.items() if times > 1} == {"12 bits.tif", "blank first.gif"}
    job.result.unlink()
    assert answered(job) == (after, 0)


def test_after_an_update_a_folder_of_photographs_has_nothing_to_do(images, jobs, earlier_version):
    images.add(*NAMES, "photo.jpg", "photo.webp", "no suffix")
    with earlier_version():
        (before,) = jobs()
    assert jobs()[0].result == before.result


def journaled(job):
    return [line for path in job.journal.glob("*.jsonl") for line in read_lines(path)]
