"""Pictures to send: seeded noise with the spectrum of photographs, as JPEG files of about equal size."""

import io
import os
import tarfile
from collections.abc import Iterator
from itertools import count as count_from
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from captionqa.dataset.places import HASH_BITS, place
from PIL import Image

#: The pictures are those of one chunk out of this many, so that they look like a part of a larger data set.
PART = 16
#: Tars and parquet files that a data set is written to, and the rows of a row group.
SHARDS, GROUP_ROWS = 4, 100
QUALITIES = range(20, 98)
OPTIONS = "\nA. red\nB. green\nC. blue\nD. none of these"
QUESTIONS = (
    f"Which colour has the largest shape in the image?{OPTIONS}",
    f"Which colour is found at the left side of the image?{OPTIONS}",
    f"Which colour has the smallest shape in the image?{OPTIONS}",
    f"Which colour does the shape in the middle of the image have?{OPTIONS}",
)


def make_images(folder: Path, count: int, side_px: int, size_kb: float, seed: int = 0) -> float:
    """Write `count` different JPEG files of side_px x 3/4 side_px pixels; returns their mean size in kB (1,000 bytes).

    All files are one picture, shifted differently, in the JPEG quality that comes nearest to `size_kb`. Their names
    fall into the first of PART equal chunks: a chunk job opens the journal segments of its range, so that each segment
    has as many items as in a larger run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    size = (side_px, side_px * 3 // 4)
    first = _picture(random, size)
    low, high = QUALITIES[0], QUALITIES[-1]
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(_jpeg(Image.fromarray(first), middle)) < size_kb * 1000 else (low, middle)
    total = 0
    for name in islice(_names(), count):
        shift = tuple(random.integers(0, side_px, 2))
        data = _jpeg(Image.fromarray(np.roll(first, shift, (0, 1))), low)
        (folder / name).write_bytes(data)
        total += len(data)
    return total / count / 1000


def make_questions(images: Path, folder: Path) -> tuple[Path, Path]:
    """Write two question files that ask each of QUESTIONS about each image; returns (grouped, scattered).

    The folder becomes a data set with one link to each image per question. Grouped questions on an image name the same
    link, so captionqa sends them one after another. Scattered questions name a link each, so captionqa sends the same
    requests in the order of a hash.
    """
    names = sorted(path.name for path in images.iterdir())
    for number in range(len(QUESTIONS)):
        (folder / str(number)).mkdir(parents=True)
        for name in names:
            os.link(images / name, folder / str(number) / name)
    files = folder / "grouped.parquet", folder / "scattered.parquet"
    for file, scattered in zip(files, (False, True), strict=True):
        rows = [
            (f"{name}-{number}", text, "\\boxed{A}", f"{number * scattered}/{name}")
            for name in names
            for number, text in enumerate(QUESTIONS)
        ]
        pd.DataFrame(rows, columns=["qid", "question", "answer", "image"]).to_parquet(file)
    return files


def make_questions_in_place(images: Path, file: Path) -> None:
    """Write a question file that asks each of QUESTIONS about each image of a folder by its own name."""
    rows = [
        (f"{path.name}-{number}", text, "\\boxed{A}", path.name)
        for path in sorted(images.iterdir())
        for number, text in enumerate(QUESTIONS)
    ]
    pd.DataFrame(rows, columns=["qid", "question", "answer", "image"]).to_parquet(file)


def make_tars(images: Path, folder: Path) -> None:
    """Write the images into SHARDS tars, under keys that fall into the first of PART equal chunks as well."""
    folder.mkdir(parents=True)
    for number, part in enumerate(_shards(images)):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for key, path in part:
                tar.add(path, arcname=f"{key}.jpg")


def make_parquets(images: Path, folder: Path) -> None:
    """Write the images into SHARDS parquet files, as `datasets` does: 100 structs of bytes and path a row group."""
    folder.mkdir(parents=True)
    for number, part in enumerate(_shards(images)):
        rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}} for _, path in part]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet", row_group_size=GROUP_ROWS)


def _shards(images: Path) -> list[list[tuple[str, Path]]]:
    """The images with a key each, in SHARDS parts."""
    named = list(zip(_names(""), sorted(images.iterdir()), strict=False))
    return [named[number::SHARDS] for number in range(SHARDS)]


def _names(suffix: str = ".jpg") -> Iterator[str]:
    names = (f"picture_{number:06d}{suffix}" for number in count_from())
    return (name for name in names if place(name) < (1 << HASH_BITS) // PART)


def _picture(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Octaves of noise, each of a finer scale and weaker than the one before, as in photographs."""
    width, height = size
    picture = np.zeros((height, width, 3), np.float32)
    strength, cells = 0.5, 4
    while cells <= width // 2:
        coarse = random.integers(0, 256, (max(1, cells * 3 // 4), cells, 3), dtype=np.uint8)
        picture += strength * np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR), np.float32)
        strength, cells = max(strength / 2, 0.06), cells * 4
    return picture.clip(0, 255).astype(np.uint8)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
