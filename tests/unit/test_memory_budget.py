"""The memory of large pictures: they wait for it in their order, and one that takes more than there is fails."""

import io
import pickle
import threading

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from captionqa.client import decoding_notes
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.image_transport import ImageTransport
from captionqa.client.item import Item
from captionqa.client.memory_budget import MB, MemoryBudget
from captionqa.dataset import image_memory
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.image_encoding import encode_image
from captionqa.dataset.image_source import ImageSources
from captionqa.errors import ItemFailure, Reason
from captionqa.files import read_json_lines
from PIL import Image

LIMITS = {"max_pixels": None, "pixel_grid_px": 8, "max_source_pixels": 10**9}
#: Runs a chunk on as many cores as it likes, and writes the peak of its memory in MB.
RUN = """
import pickle, sys, threading
from captionqa.client import decoding_notes
from captionqa.client.chunk_run import ChunkRun
decoding_notes.CORES = 16
decoding_notes._decoding = threading.BoundedSemaphore(16)
with open(sys.argv[1], "rb") as file:
    job = pickle.load(file)
ChunkRun(job).run()
with open("/proc/self/status") as status, open(sys.argv[2], "w") as peak:
    peak.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture
def budget():
    """A budget of 300 MB, of which those that share it take 200."""
    return MemoryBudget(300)


class Holder:
    """A thread that waits for some MB and holds them until it is released."""

    def __init__(self, budget, needed_mb):
        self.has_it, self._release = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=[budget, needed_mb * MB], daemon=True)
        self._thread.start()

    def _hold(self, budget, needed):
        taken = budget.take(needed)
        self.has_it.set()
        self._release.wait(60)
        budget.give_back(taken)

    def release(self):
        self._release.set()
        self._thread.join(20)


@pytest.fixture
def hold(budget, eventually):
    """Start a holder, and wait until it has what it wants or stands in line."""

    def start(needed_mb):
        in_line = len(budget._waiting)
        holder = Holder(budget, needed_mb)
        eventually(lambda: holder.has_it.is_set() or len(budget._waiting) > in_line)
        return holder

    return start


def test_a_large_picture_is_not_overtaken_by_those_that_came_after_it(hold):
    first, large, later = hold(100), hold(150), hold(50)
    assert first.has_it.is_set()
    assert not large.has_it.is_set()
    assert not later.has_it.is_set()  # it would fit beside the first one
    first.release()
    assert large.has_it.wait(20)
    assert later.has_it.wait(20)
    large.release()
    later.release()


def test_a_small_picture_waits_for_none(hold, budget):
    holders = [hold(300), hold(300)]
    assert budget.take(1 * MB) == 0
    for holder in holders:
        holder.release()


def test_one_alone_may_take_the_whole_budget(hold):
    shared, alone = hold(20), hold(300)
    assert not alone.has_it.is_set()
    shared.release()
    assert alone.has_it.wait(20)
    alone.release()


def test_more_than_the_whole_budget_is_too_large_and_the_figure_is_named(budget):
    with pytest.raises(ItemFailure, match=r"about 301 MB to decode; client\.images\.memory_mb is 300") as failure:
        budget.check(301 * MB)
    assert failure.value.reason is Reason.IMAGE_TOO_LARGE
    budget.check(300 * MB)


@pytest.mark.parametrize("ahead", [0, 250 * MB])
def test_a_failure_gives_back_what_was_held(budget, monkeypatch, ahead):
    turn = threading.BoundedSemaphore(1)
    monkeypatch.setattr(decoding_notes, "_decoding", turn)
    notes = DecodingNotes(None, budget)
    for needed_mb in (200, 400):  # the second one is too large from the start
        with pytest.raises(ItemFailure), notes.decoding("a", ahead) as begin:
            list(map(begin, (needed_mb * MB, 400 * MB)))
        assert not budget._held
        assert turn.acquire(blocking=False)
        turn.release()


def test_a_picture_that_needs_no_decoding_takes_nothing_of_the_budget(hold, budget):
    all_of_it = hold(300)
    with DecodingNotes(None, budget).decoding("a"):
        pass
    all_of_it.release()


def test_a_large_file_waits_before_it_is_read(hold, budget, eventually):
    all_of_it, read = hold(300), threading.Event()

    def decode():
        with DecodingNotes(None, budget).decoding("a", 250 * MB):
            read.set()

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    eventually(lambda: budget._waiting)
    assert not read.is_set()
    all_of_it.release()
    assert read.wait(20)
    thread.join(20)


@pytest.mark.parametrize("ahead", [0, 250 * MB])
def test_whoever_waits_for_memory_leaves_the_turn_to_others(hold, budget, eventually, monkeypatch, ahead):
    turn = threading.BoundedSemaphore(1)
    monkeypatch.setattr(decoding_notes, "_decoding", turn)
    all_of_it, notes, others_may = hold(300), DecodingNotes(None, budget), []

    def decode(image, ahead, needed):
        with notes.decoding(image, ahead) as begin:
            begin(needed)
            others_may.append(turn.acquire(blocking=False))

    large = threading.Thread(target=decode, args=["large", ahead, 250 * MB], daemon=True)
    large.start()
    eventually(lambda: budget._waiting)
    small = threading.Thread(target=decode, args=["small", 0, 1 * MB], daemon=True)
    small.start()
    small.join(20)
    assert budget._waiting  # the large one waits still, and the small one is done
    assert not small.is_alive()
    all_of_it.release()
    large.join(20)
    assert not large.is_alive()
    assert others_may == [False, False]
    assert turn.acquire(blocking=False)


def test_a_large_file_is_read_only_once_there_is_memory_for_its_picture(images, encode, hold, budget, eventually, jobs):
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1200, 4), np.uint8)
    (images.path / "a.png").write_bytes(encode(Image.fromarray(noise)))
    (job,) = jobs()
    (entry,) = read_json_lines(job.items)
    sources, transport = ImageSources(images.path.resolve()), ImageTransport("bytes", images.path)
    item = Item(entry, job.settings, sources, transport, ChangedFiles(), DecodingNotes(None, budget))
    all_of_it, failures = hold(300), []

    def ask():
        try:
            item.request(10)
        except ItemFailure as failure:
            failures.append(failure.reason)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    eventually(lambda: budget._waiting)
    (images.path / "a.png").unlink()
    all_of_it.release()
    thread.join(20)
    assert failures == [Reason.MISSING_IMAGE]


SIDE_PX = 256
#: {a picture file of that side, of whose pixels a quarter is sent: the bytes that it takes for each of its pixels}
TAKEN = {
    "plain.jpg": 3,  # decoded at half its size
    "turned.jpg": 4,
    "progressive.jpg": 7,
    "plain.png": 8,
    "grey.png": 5,
    "plain.tif": 8,
    "alpha.png": 12,
    "plain.webp": 16,
    "plain.gif": 10,
    "plain.avif": 10,
    "plain.heic": 10,
    "plain.jp2": 20,
    "plain.jxl": 16,
    "deep.tif": 8,
    "fraction.tif": 31,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of TAKEN."""
    tmp_path = tmp_path_factory.mktemp("pictures")
    image, turned = Image.new("RGB", (SIDE_PX, SIDE_PX), (9, 8, 7)), Image.Exif()
    turned[274] = 6
    pillow_heif.from_pillow(image).save(tmp_path / "plain.heic")
    for name in (f"plain.{suffix}" for suffix in ("jpg", "png", "webp", "gif", "avif", "jp2", "tif")):
        image.save(tmp_path / name)
    (tmp_path / "plain.jxl").write_bytes(imagecodecs.jpegxl_encode(np.asarray(image)))
    noise = np.random.default_rng(1).integers(0, 255, (SIDE_PX, SIDE_PX, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "progressive.jpg", progressive=True)
    image.convert("L").save(tmp_path / "grey.png")
    image.save(tmp_path / "turned.jpg", exif=turned)
    image.convert("RGBA").save(tmp_path / "alpha.png")
    deep = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    tifffile.imwrite(tmp_path / "fraction.tif", deep.astype(np.float32), photometric="rgb")
    return tmp_path


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_picture_takes_is_known_from_its_header(folder, name):
    called, sent_px = [], SIDE_PX**2 // 4
    encode_image((folder / name).read_bytes(), LIMITS, sent_px, before_decoding=called.append)
    assert called[0] == TAKEN[name] * SIDE_PX**2
    assert image_memory.bytes_ahead(folder / name, 777, sent_px) == called[0] + 777


def test_the_pictures_that_are_compared_in_search_of_a_hole_are_counted():
    noise, buffer, called = np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8), io.BytesIO(), []
    Image.fromarray(noise).save(buffer, "JPEG")
    holed = buffer.getvalue()[:20_000] + bytes(4000) + buffer.getvalue()[24_000:]
    with pytest.raises(ItemFailure, match="zeros stand in place of a part"):
        encode_image(holed, LIMITS, 1024, before_decoding=called.append)
    assert called == [13 * 256**2]


def test_a_large_file_without_a_readable_header_counts_by_its_size(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert image_memory.bytes_ahead(tmp_path / "a.png", 777, None) == 777
    assert image_memory.bytes_ahead(tmp_path / "none.png", 777, None) == 777


@pytest.mark.slow
def test_a_picture_over_the_budget_fails_by_its_name_and_the_others_are_answered(images, encode, server, jobs):
    images.add("small.png")
    for name, side in (("large.png", 2000), ("huge.png", 4000)):
        (images.path / name).write_bytes(encode(Image.new("RGBA", (side, side), (1, 2, 3, 99))))
    (job,) = jobs(changes={"client": {"images": {"memory_mb": 100}}})
    ChunkRun(job).run()
    _, lines = read_chunk(job.result)
    lines = {line["id"]: line for line in lines}
    assert {name for name, line in lines.items() if "answer" in line} == {"small.png", "large.png"}
    assert lines["huge.png"]["failure"] == Reason.IMAGE_TOO_LARGE
    assert "'huge.png': it takes about " in lines["huge.png"]["detail"]
    assert "client.images.memory_mb is 100" in lines["huge.png"]["detail"]


def test_by_default_pictures_get_an_eighth_of_their_jobs_memory(images, server, jobs):
    images.add("a.png")
    assert jobs()[0].pictures_mb == 2000
    assert jobs(changes={"client": {"images": {"memory_mb": 700}}})[0].pictures_mb == 700


@pytest.mark.slow
def test_a_chunk_of_large_pictures_stays_within_its_memory(images, encode, server, jobs, start_python, tmp_path):
    for number in range(8):  # a hundred MB each
        (images.path / f"{number}.png").write_bytes(encode(Image.new("RGBA", (3000, 3000), (number, 2, 3, 99))))
    (job,) = jobs(changes={"client": {"concurrency": 16, "images": {"memory_mb": 360}}})
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    assert start_python(RUN, tmp_path / "job", tmp_path / "peak").wait(60) == 0
    _, lines = read_chunk(job.result)
    assert sum("answer" in line for line in lines) == 8
    assert int((tmp_path / "peak").read_text()) * 1024 < (360 + 90) * MB
