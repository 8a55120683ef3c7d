"""Chunks: which items there are, which chunk each belongs to, and what the chunks are called.

An item's place follows from a hash of its name alone: adding an item moves no other. The driver scans the data set,
writes one list of items per chunk and names each by a digest of the list, so a changed, added or removed file
changes the names of just the chunks that hold it. A list has only what decides a request: what grading needs beside
the answers is in a file of its own, and a corrected ground truth changes that one alone.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from captionqa import PACKAGE
from captionqa.config.answer_files import CHUNK_NAME, AnswerFiles
from captionqa.config.config import Auto, Config, Task
from captionqa.config.layout import ITEMS_NAME, Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint, qa_settings
from captionqa.dataset.places import HASH_BITS, place, question_place
from captionqa.dataset.question_file import INVALID, read_questions
from captionqa.dataset.scan import ImageScan, NamedImages, Stamp
from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import LineFile, full_disk_named, json_line, read_json, write_json
from captionqa.threads import blocks, map_in_order

#: With `chunks: auto`: as few as keep a chunk at or below this, in powers of two so that few are renamed by growth.
ITEMS_PER_CHUNK = 2000
MIN_CHUNKS, MAX_CHUNKS = 4, 1024
#: A question file younger than this may change once more and keep size and time: some systems count whole seconds.
YOUNG_S = 3.0


@dataclass(frozen=True)
class Plan:
    """The chunks of one task: `chunks` are (index, digest, number of items), only those that have items.

    `rows` is the digest of the questions' rows, of which `invalid_rows` cannot be asked and are in no chunk. `state` is
    of the data and the configuration that the plan was made from: while it is the same, so is the plan. `scan` is the
    state of a scan that saw all the images; of questions' images not every scan does.
    """

    n: int
    items: int
    chunks: tuple[tuple[int, str, int], ...]
    skipped_files: int = 0
    rows: str | None = None
    invalid_rows: int = 0
    state: str = field(default="", compare=False)
    scan: str = field(default="", compare=False)

    def item_lists(self, layout: Layout, task: Task) -> list[str]:
        return [
            layout.items(task, ITEMS_NAME.format(chunk=self._name(index), n=self.n, digest=digest))
            for index, digest, _ in self.chunks
        ]

    def results(self, work: str, fingerprint: str) -> list[str]:
        """The paths of the chunk results for settings of this fingerprint, below a work folder."""
        return [
            AnswerFiles(work).result(
                CHUNK_NAME.format(chunk=self._name(index), n=self.n, fingerprint=fingerprint, digest=digest)
            )
            for index, digest, _ in self.chunks
        ]

    def items_without(self, work: str, fingerprint: str) -> int:
        """How many items are in chunks that have no result yet."""
        paths = self.results(work, fingerprint)
        return sum(count for (_, _, count), path in zip(self.chunks, paths, strict=True) if not os.path.exists(path))

    def _name(self, index: int) -> str:
        return f"{index:0{len(str(self.n - 1))}d}"


def plan_captions(dataset: Path, chunks: int | Auto, layout: Layout) -> Plan:
    """Scan a folder of images, write the item lists where something changed, and return the plan.

    Raises InputError where the folder is missing or has no images.
    """
    if not dataset.is_dir():
        raise InputError(
            f"captions.dataset_path: there is no folder {dataset}; set it to your images in the configuration."
        )
    source = _source("captions", chunks, dataset)
    with ImageScan(dataset, layout.sniffed) as scan:
        state = f"{source}-{scan.state}"
        if (plan := _last_plan("captions", layout)) is not None and plan.state == state:
            return plan
        with ExternalSort(layout.plans) as items:
            for name, stamp in scan.images():
                items.add((place(name), name, stamp))
            if not items:
                raise InputError(
                    f"captions.dataset_path: {dataset} holds no image ({scan.skipped} other files were skipped); "
                    "images are files with an image suffix or image content."
                )
            lines = ((where, json_line({"id": name, "stamps": [stamp]})) for where, name, stamp in items)
            found = {"skipped_files": scan.skipped}
            if scan.complete:
                found |= {"state": state, "scan": scan.state}
            return _write_plan("captions", lines, len(items), chunks, layout, **found)


def plan_questions(question_path: Path, dataset: Path, chunks: int | Auto, layout: Layout, scan: str = "") -> Plan:
    """Read the questions, note the state of their images, write the item lists and the rows, and return the plan.

    Where neither the question file nor an image changed since the last plan, that one is returned. `scan` is the state
    of a scan of the folder of images just now: where it is as it was then, no image is looked at. Raises InputError as
    `read_questions` does, where a qid is there twice, where no row can be asked, and where the folder of images is
    missing.
    """
    if not dataset.is_dir():
        raise InputError(
            f"qa.dataset_path: there is no folder {dataset}; the questions' image paths are relative to it."
        )
    source = _question_source(question_path, chunks, dataset)
    plan = _last_plan("qa", layout)
    if source and plan is not None and plan.state.startswith(source):
        if scan and plan.scan == scan:
            return plan
        with NamedImages(dataset, layout.question_images) as images:
            if plan.state == f"{source}-{images.state_again()}":
                return _keep(replace(plan, scan=scan if images.all_inside else ""), layout, "qa")
    folder = layout.plans
    with (
        NamedImages(dataset, layout.question_images) as images,
        ExternalSort(folder) as rows,
        ExternalSort(folder) as items,
    ):
        fault = None
        for block, stamps in map_in_order(partial(_with_stamps, images), blocks(read_questions(question_path))):
            images.keep(list(stamps), list(stamps.values()))
            for row in block:
                rows.add((row["id"], len(rows), json_line(row)))
                if INVALID in row:
                    fault = fault or f"{row['id']}: {row[INVALID]}"
                    continue
                item = {key: row[key] for key in ("id", "question", "images")}
                item["stamps"] = [stamps[name] for name in row["images"]]
                items.add((question_place(row["images"]), row["id"], json_line(item)))
        if not items:
            raise InputError(f"{question_path}: none of its {len(rows)} rows can be asked; the first is {fault}")
        digest = _write_rows(rows, question_path, layout)
        found = {"rows": digest, "invalid_rows": len(rows) - len(items)}
        if source:
            found |= {"state": f"{source}-{images.save()}", "scan": scan if images.all_inside else ""}
        lines = ((where, line) for where, _, line in items)
        return _write_plan("qa", lines, len(items), chunks, layout, **found)


def plan_task(config: Config, layout: Layout, task: Task, scan: str = "") -> Plan:
    """The plan of a configured task, from its data as it is now; `scan` is as in `plan_questions`.

    Raises InputError as the two above do, and DiskFullError.
    """
    with full_disk_named(layout.plans):
        if task == "captions":
            captions = config.section("captions")
            return plan_captions(Path(captions.dataset_path), captions.chunks, layout)
        qa = config.section("qa")
        return plan_questions(Path(qa.question_path), Path(qa.dataset_path), qa.chunks, layout, scan)


def load_plan(layout: Layout, task: Task) -> Plan:
    """The plan as the driver last wrote it; for jobs, which must not scan the data set again."""
    stored = read_json(layout.plan(task))
    if stored is None:
        raise InputError(f"{layout.plan(task)} is missing; start the workflow again to write it.")
    return Plan(**stored | {"chunks": tuple(map(tuple, stored["chunks"]))})


def items_to_do(config: Config, layout: Layout) -> int:
    """How many items are in chunks without a result, over the final files of all tasks that were ever planned."""
    return sum(
        load_plan(layout, task).items_without(work, fingerprint(settings_now))
        for task in planned_tasks(config, layout)
        for work, settings_now in works(config, layout, task)
    )


def planned_tasks(config: Config, layout: Layout) -> list[Task]:
    """The configured tasks that have a plan; one that no target asked for may have none."""
    return [task for task in config.tasks if layout.plan(task).exists()]


def works(config: Config, layout: Layout, task: Task) -> list[tuple[str, AnswerSettings]]:
    """(work folder, settings) of each final file of a task."""
    if task == "qa":
        return [(layout.qa_work, qa_settings(config, layout.model))]
    return [
        (layout.captions_work(style.lower()), caption_settings(config, layout.model, style))
        for style in config.prompt_styles
    ]


def _count(chunks: int | Auto, items: int) -> int:
    if chunks != "auto":
        return chunks
    n = MIN_CHUNKS
    while n < MAX_CHUNKS and items > n * ITEMS_PER_CHUNK:
        n *= 2
    return n


def _with_stamps(images: NamedImages, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Stamp]]:
    """Rows, and the stamps of their images by name."""
    names = list(dict.fromkeys(name for row in rows if INVALID not in row for name in row["images"]))
    return rows, dict(zip(names, images.look(names), strict=True))


def _write_rows(rows: ExternalSort, question_path: Path, layout: Layout) -> str:
    """Write the (id, number, line) of the questions sorted by id; returns the digest that the file is named by."""
    last, first = None, 0
    with LineFile(layout.plans) as file:
        for name, number, line in rows:
            if name == last:
                raise InputError(
                    f"{question_path}: the qid {name!r} is there twice, in rows {first} and {number}; each "
                    "question needs its own."
                )
            last, first = name, number
            file.add(line)
        _save(file, layout.question_rows(file.digest()))
        return file.digest()


def _write_plan(
    task: Task, items: Iterable[tuple[int, str]], count: int, chunks: int | Auto, layout: Layout, **found: Any
) -> Plan:
    """Write the lists of items, which come as (place, line) in order, and the plan; `found` are its other fields."""
    n = _count(chunks, count)
    digests = []
    for index, members in groupby(items, key=lambda item: item[0] * n >> HASH_BITS):
        with LineFile(layout.plans) as file:
            for _, line in members:
                file.add(line)
            digests.append((index, file.digest(), file.count))
            _save(file, Plan(n, count, chunks=(digests[-1],)).item_lists(layout, task)[0])
    return _keep(Plan(n, count, chunks=tuple(digests), **found), layout, task)


def _keep(plan: Plan, layout: Layout, task: Task) -> Plan:
    """Save a plan as the last one of its task, where it is another."""
    stored = json.loads(json.dumps(asdict(plan)))
    if read_json(layout.plan(task)) != stored:
        write_json(layout.plan(task), stored)
    return plan


def _save(file: LineFile, path: str) -> None:
    """Save a file that is named by a digest of its lines, where it is not there yet."""
    if not os.path.exists(path):
        file.save(path)


def _last_plan(task: Task, layout: Layout) -> Plan | None:
    """The plan as it was last written, where all its lists are there."""
    try:
        plan = load_plan(layout, task)
    except InputError:
        return None
    lists = plan.item_lists(layout, task) + ([layout.question_rows(plan.rows)] if plan.rows else [])
    return plan if all(map(os.path.exists, lists)) else None


def _source(*parts: Any) -> str:
    """A digest of what decides a plan beside the images: these values, and how this version makes plans of them."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16)
    for module in deciding_modules():
        digest.update(module.read_bytes())
    return digest.hexdigest()


def deciding_modules() -> list[Path]:
    """The files of this package whose code can change a plan of the same data."""
    return sorted(PACKAGE.rglob("*.py"))


def _question_source(question_path: Path, chunks: int | Auto, dataset: Path) -> str:
    """As `_source`, with what tells a changed question file; empty where it is too young to tell the next change."""
    try:
        stat = question_path.stat()
    except OSError:
        return ""
    if time.time() - stat.st_mtime < YOUNG_S:
        return ""
    return _source("qa", chunks, dataset, question_path, stat.st_size, stat.st_mtime_ns, stat.st_ino)
