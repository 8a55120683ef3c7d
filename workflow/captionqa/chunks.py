"""Chunks: which items there are, which chunk each belongs to, and what the chunks are called.

An item's place follows from a hash of its name alone: adding an item moves no other. The driver scans the data set,
writes one list of items per chunk and names each by a digest of the list, so a changed, added or removed file
changes the names of just the chunks that hold it. A list has only what decides a request: what grading needs beside
the answers is in a file of its own, and a corrected ground truth changes that one alone.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captionqa.config import halves
from captionqa.errors import InputError
from captionqa.files import atomic_writer, json_line, read_json, write_json
from captionqa.images import SNIFF_BYTES, has_image_suffix, looks_like_image
from captionqa.layout import CHUNK_NAME, ITEMS_NAME, Layout
from captionqa.question_file import INVALID, read_questions
from captionqa.settings import caption_settings, fingerprint, qa_settings

HASH_BITS = 32
#: With `chunks: auto`: as few as keep a chunk at or below this, in powers of two so that few are renamed by growth.
ITEMS_PER_CHUNK = 2000
MIN_CHUNKS, MAX_CHUNKS = 4, 1024


@dataclass(frozen=True)
class Plan:
    """The chunks of one half: `chunks` are (index, digest, number of items), only those that have items.

    `rows` is the digest of the questions' rows, of which `invalid_rows` cannot be asked and are in no chunk.
    """

    n: int
    items: int
    chunks: tuple[tuple[int, str, int], ...]
    skipped_files: int = 0
    rows: str | None = None
    invalid_rows: int = 0

    def item_lists(self, layout: Layout, half: str) -> list[str]:
        return [
            layout.items(half, ITEMS_NAME.format(chunk=self._name(index), n=self.n, digest=digest))
            for index, digest, _ in self.chunks
        ]

    def results(self, work: str, fingerprint: str) -> list[str]:
        """The paths of the chunk results for settings of this fingerprint, below a work folder."""
        return [
            f"{work}/chunks/"
            + CHUNK_NAME.format(chunk=self._name(index), n=self.n, fingerprint=fingerprint, digest=digest)
            for index, digest, _ in self.chunks
        ]

    def items_without(self, work: str, fingerprint: str) -> int:
        """How many items are in chunks that have no result yet."""
        paths = self.results(work, fingerprint)
        return sum(count for (_, _, count), path in zip(self.chunks, paths, strict=True) if not os.path.exists(path))

    def _name(self, index: int) -> str:
        return f"{index:0{len(str(self.n - 1))}d}"


def place(name: str) -> int:
    """An item's place in the hash range [0, 2**32), by its name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=HASH_BITS // 8).digest())


def question_place(images: list[str]) -> int:
    """Questions on the same images share a place, so that they meet the same cache in the server."""
    return place(json.dumps(images))


def plan_captions(dataset: Path, chunks: int | str, layout: Layout) -> Plan:
    """Scan a folder of images, write the item lists, and return the plan.

    Raises InputError where the folder is missing or has no images.
    """
    if not dataset.is_dir():
        raise InputError(
            f"captions.dataset_path: there is no folder {dataset}; set it to your images in the configuration."
        )
    scan = _ImageScan(dataset, Path(layout.plans) / "sniffed.json")
    items = [(place(item["id"]), item) for item in scan.items()]
    if not items:
        raise InputError(
            f"captions.dataset_path: {dataset} holds no image ({scan.skipped} other files were skipped); images are "
            "files with an image suffix or image content."
        )
    return _write_plan("captions", items, chunks, layout, skipped_files=scan.skipped)


def plan_questions(question_path: Path, dataset: Path, chunks: int | str, layout: Layout) -> Plan:
    """Read the questions, note the state of their images, write the item lists and the rows, and return the plan.

    Raises InputError as `read_questions` does, where no row can be asked, and where the folder of images is missing.
    """
    if not dataset.is_dir():
        raise InputError(
            f"qa.dataset_path: there is no folder {dataset}; the questions' image paths are relative to it."
        )
    stamps: dict[str, list[int] | None] = {}
    rows: list[tuple[str, str]] = []
    items: list[tuple[int, dict[str, Any]]] = []
    fault = None
    for row in read_questions(question_path):
        rows.append((row["id"], json_line(row)))
        if INVALID in row:
            fault = fault or f"{row['id']}: {row[INVALID]}"
            continue
        for name in row["images"]:
            if name not in stamps:
                stamps[name] = _stamp(dataset / name)
        item = {key: row[key] for key in ("id", "question", "images")}
        item["stamps"] = [stamps[name] for name in row["images"]]
        items.append((question_place(row["images"]), item))
    if not items:
        raise InputError(f"{question_path}: none of its {len(rows)} rows can be asked; the first is {fault}")
    rows.sort()
    digest = _digest(line for _, line in rows)
    _write_list(layout.question_rows(digest), (line for _, line in rows))
    return _write_plan("qa", items, chunks, layout, rows=digest, invalid_rows=len(rows) - len(items))


def plan_half(config: Mapping[str, Any], layout: Layout, half: str) -> Plan:
    """The plan of a configured half, from its data as it is now; raises InputError as the two above do."""
    section = config[half]
    dataset = Path(section["dataset_path"])
    if half == "captions":
        return plan_captions(dataset, section["chunks"], layout)
    return plan_questions(Path(section["question_path"]), dataset, section["chunks"], layout)


def load_plan(layout: Layout, half: str) -> Plan:
    """The plan as the driver last wrote it; for jobs, which must not scan the data set again."""
    stored = read_json(_plan_path(layout, half))
    if stored is None:
        raise InputError(f"{_plan_path(layout, half)} is missing; start the workflow again to write it.")
    return Plan(**stored | {"chunks": tuple(map(tuple, stored["chunks"]))})


def items_to_do(config: Mapping[str, Any], layout: Layout) -> int:
    """How many items are in chunks without a result, over the final files of all halves that were ever planned."""
    return sum(
        load_plan(layout, half).items_without(work, fingerprint(settings_now))
        for half in planned_halves(config, layout)
        for work, settings_now in works(config, layout, half)
    )


def planned_halves(config: Mapping[str, Any], layout: Layout) -> list[str]:
    """The configured halves that have a plan; one that no target asked for may have none."""
    return [half for half in halves(config) if _plan_path(layout, half).exists()]


def works(config: Mapping[str, Any], layout: Layout, half: str) -> list[tuple[str, dict[str, Any]]]:
    """(work folder, settings) of each final file of a half."""
    if half == "qa":
        return [(layout.qa_work, qa_settings(config, layout.model))]
    return [
        (layout.captions_work(style.lower()), caption_settings(config, layout.model, style))
        for style in config["captions"]["prompt_styles"]
    ]


class _ImageScan:
    """A walk over a folder: image items in no particular order, other files counted.

    A file without an image suffix is looked into once; the verdict is kept with its size and time of change.
    """

    def __init__(self, dataset: Path, verdicts: Path):
        self.skipped = 0
        self._dataset = str(dataset)
        self._path = verdicts
        self._known: dict[str, Any] = read_json(verdicts) or {}
        self._seen: dict[str, Any] = {}

    def items(self) -> Iterator[dict[str, Any]]:
        folders: list[tuple[str, frozenset[str]]] = [(self._dataset, frozenset())]
        while folders:
            folder, above = folders.pop()
            real = os.path.realpath(folder)
            if real in above:  # a link back up the tree
                continue
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                raise InputError(
                    f"captions.dataset_path: the folder {folder} cannot be read: {error.strerror}."
                ) from error
            for entry in entries:
                if _is_folder(entry):
                    folders.append((entry.path, above | {real}))
                elif (stamp := _stamp(entry.path)) is None and not has_image_suffix(entry.name):
                    self.skipped += 1
                elif has_image_suffix(entry.name) or self._content_is_image(entry.path, stamp):
                    yield {"id": os.path.relpath(entry.path, self._dataset), "stamps": [stamp]}
                else:
                    self.skipped += 1
        if self._seen != self._known:
            write_json(self._path, self._seen)

    def _content_is_image(self, path: str, stamp: list[int]) -> bool:
        known = self._known.get(path)
        if not os.path.isfile(path):  # opening a pipe would wait for ever
            return False
        if known is None or known["stamp"] != stamp:
            try:
                with open(path, "rb") as file:
                    known = {"stamp": stamp, "image": looks_like_image(file.read(SNIFF_BYTES))}
            except OSError:
                return False
        self._seen[path] = known
        return known["image"]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _stamp(path: str | os.PathLike) -> list[int] | None:
    """Size in bytes and time of change in ns: what tells an edited file without reading it. None if missing."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _count(chunks: int | str, items: int) -> int:
    if chunks != "auto":
        return chunks
    n = MIN_CHUNKS
    while n < MAX_CHUNKS and items > n * ITEMS_PER_CHUNK:
        n *= 2
    return n


def _write_plan(
    half: str, items: list[tuple[int, dict[str, Any]]], chunks: int | str, layout: Layout, **found: Any
) -> Plan:
    """Write the item lists and the plan; `found` are the Plan's other fields."""
    n = _count(chunks, len(items))
    members: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    for where, item in items:
        members[where * n >> HASH_BITS].append((where, item["id"], json_line(item)))
    digests = []
    for index in sorted(members):
        members[index].sort()
        digests.append((index, _digest(line for _, _, line in members[index]), len(members[index])))
    plan = Plan(n, len(items), chunks=tuple(digests), **found)
    for (index, _, _), path in zip(plan.chunks, plan.item_lists(layout, half), strict=True):
        _write_list(path, (line for _, _, line in members[index]))
    stored = json.loads(json.dumps(asdict(plan)))
    if read_json(_plan_path(layout, half)) != stored:
        write_json(_plan_path(layout, half), stored)
    return plan


def _write_list(path: str, lines: Iterable[str]) -> None:
    """Write a file that is named by a digest of its lines, where it is not there yet."""
    if not os.path.exists(path):
        with atomic_writer(path) as file:
            file.writelines(lines)


def _plan_path(layout: Layout, half: str) -> Path:
    return Path(layout.plans) / half / "plan.json"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return digest.hexdigest()
