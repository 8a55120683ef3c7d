"""Images that kill the job that decodes them: after two deaths such an image is named, and no other."""

import pickle
import signal
import threading
import time

import pytest
from captionqa.client import decoding_notes as notes_module
from captionqa.client.decoding_notes import DecodingNotes
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.layout import Layout
from captionqa.errors import ItemFailure, Reason
from captionqa.files import read_json_lines
from captionqa.results.ask_again import retry_failed
from PIL import Image

#: Runs a chunk; decoding an image of this size kills the process, as the kernel does when there is no memory left.
RUN = """
import os, pickle, signal, sys, time
from captionqa.client.chunk_run import ChunkRun
from captionqa.dataset import image_encoding
encode = image_encoding._encode
def deadly(image, *arguments):
    if image.size == (13, 13):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(image, *arguments)
image_encoding._encode = deadly
with open(sys.argv[1], "rb") as file:
    job = pickle.load(file)
ChunkRun(job).run()
"""
NAMES = [f"image{number}.png" for number in range(12)]


@pytest.fixture
def draw(images, encode):
    """Put images into the folder that have to be decoded, each another, and the poisonous one."""

    def add(*names, poison=()):
        for number, name in enumerate((*names, *poison)):
            size = (13, 13) if name in poison else (8, 8)
            (images.path / name).write_bytes(encode(Image.new("RGBA", size, (number, 7, 9, 99))))

    return add


@pytest.fixture
def work(jobs, start_python, tmp_path):
    """Run the one chunk in a process of its own; returns its exit code and its result's lines by item."""

    def run():
        (job,) = jobs()
        (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
        process = start_python(RUN, tmp_path / "job.pickle")
        code = process.wait(60)
        if not job.result.exists():
            return code, {}
        _, *lines = read_json_lines(job.result)
        return code, {line["id"]: line for line in lines}

    return run


@pytest.fixture
def notes_path(make_config):
    work = Layout(make_config().output_dir, "tiny").captions_work("simple")
    return AnswerFiles(work).decoding("0-of-1")


@pytest.mark.slow
def test_an_image_that_kills_its_job_twice_is_set_aside_and_named_and_no_other(draw, server, work, make_config):
    draw(*NAMES, poison=["poison.png"])
    assert [work()[0], work()[0]] == [-signal.SIGKILL] * 2
    code, lines = work()
    assert code == 0
    failures = {name: line for name, line in lines.items() if "failure" in line}
    assert failures.keys() == {"poison.png"}
    assert failures["poison.png"]["failure"] == "unreadable_image"
    assert "'poison.png': its job was killed 2 times while it was decoded" in failures["poison.png"]["detail"]
    assert len(lines) == 13

    draw("another.png")  # the chunk gets another name, and the image does not kill again
    assert work()[0] == 0

    assert retry_failed(make_config({"qa": None}), None, None, None).apply() == 1
    assert work()[0] == -signal.SIGKILL


def test_an_image_that_is_sent_as_it_is_leaves_no_note(images, server, work, notes_path):
    images.add(*NAMES)
    images.add("plain.png")
    assert work()[0] == 0
    assert not notes_path.parent.exists()


@pytest.mark.slow
def test_a_job_that_ends_well_leaves_no_notes(draw, server, work, notes_path):
    draw(*NAMES)
    assert work()[0] == 0
    assert not notes_path.exists()


@pytest.fixture
def died(tmp_path):
    """Let a job die this often while these images are in hand; returns the notes as the next job reads them."""

    def die(*images, times=1):
        for _ in range(times):
            notes = DecodingNotes(tmp_path / "notes.jsonl")
            for image in images:
                notes._note("began", image)
        return DecodingNotes(tmp_path / "notes.jsonl")

    return die


def decode(notes, image):
    with notes.decoding(image) as begin:
        begin()


def test_after_a_second_death_it_is_not_decoded(died):
    decode(died("a"), "a")
    notes = died("a", times=2)
    with pytest.raises(ItemFailure) as failure:
        decode(notes, "a")
    assert failure.value.reason is Reason.UNREADABLE_IMAGE
    decode(notes, "b")


def test_one_that_was_decoded_since_is_no_suspect_any_more(died):
    decode(died("a", "b"), "a")
    notes = died("b")
    decode(notes, "a")
    with pytest.raises(ItemFailure):
        decode(notes, "b")


def test_an_image_that_needs_no_decoding_is_not_blamed(died):
    with died("a", times=2).decoding("a"):
        pass


def test_a_job_that_ends_by_an_error_is_no_death(tmp_path):
    path = tmp_path / "notes.jsonl"
    for _ in range(3):
        notes = DecodingNotes(path)
        notes._note("began", "a")
        notes.close()
    decode(DecodingNotes(path), "a")


def test_the_notes_of_a_suspect_stay_until_it_is_decoded(died, tmp_path):
    notes = died("a")
    notes.close()
    assert (tmp_path / "notes.jsonl").exists()
    notes = DecodingNotes(tmp_path / "notes.jsonl")
    decode(notes, "a")
    notes.close()
    assert not (tmp_path / "notes.jsonl").exists()


def test_a_suspect_is_decoded_alone(died, monkeypatch):
    monkeypatch.setattr(notes_module, "CORES", 4)
    monkeypatch.setattr(notes_module, "_decoding", threading.BoundedSemaphore(4))
    notes, at_work, seen, guard = died("s0", "s1"), set(), [], threading.Lock()
    together = threading.Barrier(3, timeout=20)  # two that are no suspects, and this thread

    def work(image):
        with notes.decoding(image) as begin:
            begin()
            with guard:
                at_work.add(image)
                seen.append(set(at_work))
            if image in first:
                together.wait()
            time.sleep(0.02)
            with guard:
                at_work.remove(image)

    first = ("i0", "i1")
    threads = [threading.Thread(target=work, args=[image]) for image in (*first, "s0", "i2", "i3", "s1", "i4")]
    for thread in threads:
        thread.start()
        if thread is threads[1]:
            together.wait()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 7
    assert all(len(images) == 1 for images in seen if images & {"s0", "s1"})
    assert {*first} in seen


def test_a_disk_that_is_full_stops_no_decoding(tmp_path):
    (tmp_path / "decoding").write_text("in the way")
    decode(DecodingNotes(tmp_path / "decoding" / "notes.jsonl"), "a")


@pytest.mark.parametrize("damaged", ["5", "null", '["began"]', '["began", 7]'])
def test_a_damaged_note_is_left_out(tmp_path, damaged):
    path = tmp_path / "notes.jsonl"
    path.write_text(f'["began", "a.png"]\n{damaged}\n["died", "a.png"]\n["began", "b.png"]\n')
    DecodingNotes(path)
    with DecodingNotes(path).decoding("a.png") as begin:
        begin()  # one death alone
