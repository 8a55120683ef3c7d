"""The audit: what is wrong or odd with images and questions, found before GPU time is spent.

Only headers of images are read, so a picture that is damaged behind its header still fails in the run.
"""

import csv
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.prompts import IMAGE_MARK
from captionqa.config.settings import caption_settings, image_budget_px, qa_settings
from captionqa.dataset.findings import COUNTED_ONLY, EFFECTS, Finding, Findings, Found, printable
from captionqa.dataset.image_file import Header, promised_format, read_header
from captionqa.dataset.image_path import locate
from captionqa.dataset.places import question_place
from captionqa.dataset.plan import load_plan, plan_task
from captionqa.dataset.question_file import INVALID
from captionqa.errors import ItemFailure
from captionqa.files import atomic_writer, read_json_lines
from captionqa.grading.choices import LETTERS, parse_choices
from captionqa.grading.ground_truth import ground_truth_letter, ungradable

COLUMNS = ("task", "item", "finding", "what the run does", "detail")
#: File systems of clusters answer slowly and to many at once.
THREADS = 16
BATCH_ITEMS = 2048
#: Beyond this ratio of its sides the image processors of Qwen's models refuse a picture.
MAX_SIDES_RATIO = 200
SAY_INTERVAL_S = 10.0

log = logging.getLogger(__name__)


def audit(config: Config, layout: Layout, wanted: Iterable[Task]) -> Findings:
    """Look at all items of the planned tasks and write the table of findings."""
    made = Findings(layout.audit)
    with atomic_writer(layout.audit) as file, ThreadPoolExecutor(THREADS) as pool:
        table = csv.writer(file, "excel-tab", lineterminator="\n")
        table.writerow(COLUMNS)
        for task in wanted:
            plan = load_plan(layout, task)
            items = _counted(made, plan.item_lists(layout, task))
            findings = _TaskAudit(config, layout, task, pool).findings(items)
            if plan.rows is not None:
                made.items += plan.invalid_rows
                rows = read_json_lines(layout.question_rows(plan.rows))
                findings = chain(findings, chain.from_iterable(map(_graded_findings, rows)))
            for found in findings:
                made.add(found)
                if found.finding not in COUNTED_ONLY:
                    words = found.item, found.finding, EFFECTS[found.finding], found.detail
                    table.writerow([task, *map(printable, words)])
    return made


def run_audit(config: Config, layout: Layout) -> None:
    """Plan and audit all that is configured, say what was found, and raise InputError as `Findings.check` does."""
    for task in config.tasks:
        plan_task(config, layout, task)
    made = audit(config, layout, config.tasks)
    log.info("%s", made.words())
    made.check(config.audit.stop_on)


class _TaskAudit:
    """The findings on one task's items; the memory that it takes grows with the number of different images alone."""

    def __init__(self, config: Config, layout: Layout, task: Task, pool: ThreadPoolExecutor):
        model = config.models[layout.model]
        self._task = task
        self._pool = pool
        self._dataset = Path(config.section(task).dataset_path).resolve()
        self._roots = [Path(root).resolve() for root in config.client.images.allowed_roots]
        self._max_images = None if model.url else model.server.limit_images_per_prompt
        self._settings = (
            caption_settings(config, layout.model, config.prompt_styles[0])
            if task == "captions"
            else qa_settings(config, layout.model)
        )
        self._limits = self._settings["images"]
        self._sizes: dict[int, str | None] = {}
        self._digests: dict[bytes, str] = {}
        self._shrunk: set[str] = set()
        self._place: int | None = None
        self._asked: dict[tuple[str, ...], str] = {}

    def findings(self, items: Iterator[dict[str, Any]]) -> Iterator[Found]:
        if self._task == "captions":
            while batch := list(islice(items, BATCH_ITEMS)):
                headers = self._pool.map(self._header, (item["id"] for item in batch))
                for item, header in zip(batch, headers, strict=True):
                    yield from self._image(item["id"], item["stamps"][0], header)
                    yield from self._fitting(item["id"], [(item["id"], header)])
        else:
            yield from self._questions(items)

    def _questions(self, items: Iterator[dict[str, Any]]) -> Iterator[Found]:
        known: dict[str, Header | ItemFailure] = {}
        while batch := list(islice(items, BATCH_ITEMS)):
            stamps = {name: at for row in batch for name, at in zip(row["images"], row["stamps"], strict=True)}
            fresh = [name for name in stamps if name not in known]
            known |= zip(fresh, self._pool.map(self._header, fresh), strict=True)
            for name in fresh:
                if isinstance(known[name], Header):  # what fails is named by the questions on it
                    yield from self._image(name, stamps[name], known[name])
            for row in batch:
                yield from _asked_findings(row, self._max_images)
                yield from self._same_question(row)
                yield from self._fitting(row["id"], [(name, known[name]) for name in row["images"]])

    def _same_question(self, row: Mapping[str, Any]) -> Iterator[Found]:
        """Questions on the same images share a place and come one after another."""
        if (place := question_place(row["images"])) != self._place:
            self._place, self._asked = place, {}
        other = self._asked.setdefault((row["question"], *row["images"]), row["id"])
        if other != row["id"]:
            yield Found(row["id"], Finding.DUPLICATE_QUESTION, f"its text and images are those of {other}")

    def _header(self, name: str) -> Header | ItemFailure:
        try:
            return read_header(locate(self._dataset, name, self._roots), self._limits)
        except ItemFailure as failure:
            return failure

    def _image(self, name: str, stamp: list[int] | None, header: Header | ItemFailure) -> Iterator[Found]:
        """What is odd about a file, whoever uses it."""
        if isinstance(header, ItemFailure):
            return
        size = f"{header.width} x {header.height} pixels"
        if promised_format(name) not in (None, header.format):
            yield Found(name, Finding.WRONG_SUFFIX, f"its content is {header.format}")
        if header.animated:
            yield Found(name, Finding.ANIMATED_IMAGE, "more pictures follow the first")
        if min(header.width, header.height) < self._limits["pixel_grid_px"]:
            yield Found(name, Finding.TINY_IMAGE, f"{size}; the model's grid is {self._limits['pixel_grid_px']}")
        if stamp is not None and (other := self._byte_equal(name, stamp[0])):
            yield Found(name, Finding.DUPLICATE_IMAGE, f"its bytes are those of {other}")

    def _fitting(self, item: str, images: list[tuple[str, Header | ItemFailure]]) -> Iterator[Found]:
        """What becomes of an item's images: a failure, or the size that they are sent in."""
        budget_px = image_budget_px(self._settings, len(images))
        for name, header in images:
            if isinstance(header, ItemFailure):
                yield Found(item, Finding(header.reason), header.detail)
                return
            if budget_px is not None and header.width * header.height > budget_px:
                if name not in self._shrunk:
                    yield Found(name, Finding.SHRUNK_IMAGE, f"more than {budget_px} pixels")
                self._shrunk.add(name)
            elif max(header.width, header.height) > MAX_SIDES_RATIO * min(header.width, header.height):
                yield Found(item, Finding.STRIP_IMAGE, f"{name}: {header.width} x {header.height} pixels")

    def _byte_equal(self, name: str, size: int) -> str | None:
        """An image seen before with the same bytes; only those of one size are read."""
        if size not in self._sizes:
            self._sizes[size] = name
            return None
        if first := self._sizes[size]:
            self._sizes[size] = None
            self._digests[self._digest(first)] = first
        other = self._digests.setdefault(self._digest(name), name)
        return None if other == name else other

    def _digest(self, name: str) -> bytes:
        try:
            with open(locate(self._dataset, name, self._roots), "rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except (OSError, ItemFailure):  # it has just changed; no two are alike
            return name.encode("utf-8", "surrogateescape")


def _asked_findings(item: Mapping[str, Any], max_images: int | None) -> Iterator[Found]:
    """What is wrong or odd about a question as it is asked."""
    marks, images = item["question"].count(IMAGE_MARK), len(item["images"])
    if marks > images:
        yield Found(item["id"], Finding.MISSING_IMAGE, f"the text has {marks} {IMAGE_MARK} marks for {images} images")
    elif marks not in (0, images):
        yield Found(item["id"], Finding.IMAGE_MARKS, f"the text has {marks} {IMAGE_MARK} marks for {images} images")
    if max_images is not None and images > max_images:
        yield Found(item["id"], Finding.TOO_MANY_IMAGES, f"{images}; server.limit_images_per_prompt is {max_images}")


def _graded_findings(row: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong or odd about a row of the question file as its answer is graded."""
    if INVALID in row:
        yield Found(row["id"], Finding.INVALID_QUESTION, row[INVALID])
        return
    choices = parse_choices(row["question"])
    if why := ungradable(row["answer"], choices):
        yield Found(row["id"], Finding.UNGRADABLE_GROUND_TRUTH, why)
    elif not choices and ground_truth_letter(row["answer"], LETTERS):
        yield Found(row["id"], Finding.NO_CHOICES, f"the ground truth is {row['answer']!r}")


def _counted(made: Findings, item_lists: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The planned items, counted, and told of now and then."""
    told = time.monotonic()
    for path in item_lists:
        for item in read_json_lines(path):
            made.items += 1
            if time.monotonic() - told >= SAY_INTERVAL_S:
                told = time.monotonic()
                log.info("audit: %s items looked at", f"{made.items:,}")
            yield item
