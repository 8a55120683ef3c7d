"""The plan of a task: its chunks and what they are called, as the driver saves it and jobs load it.

A hash of an item's name decides its chunk, so adding an item moves no other. Each chunk has an item list that is named
by a digest of its content: a changed, added or removed file renames only the chunks that hold it. An item list has only
what decides a request. What grading needs beside the answers is in a file of its own, the question rows, so that a
corrected ground truth renames that file and no chunk.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import NamedTuple, TypedDict, Unpack

from captionqa.config.answer_files import CHUNK_NAME, AnswerFiles
from captionqa.config.config import Config, Task
from captionqa.config.layout import ITEMS_NAME, Layout
from captionqa.config.qa_config import Auto
from captionqa.dataset.places import HASH_BITS
from captionqa.errors import InputError
from captionqa.files import LineFile, read_json, write_json

#: With `chunks: auto`, the items that a chunk should hold at most. The number of chunks is a power of two, so that
#: growth rarely changes it: another number renames all chunks.
ITEMS_PER_CHUNK = 2000
#: The fewest chunks with `chunks: auto`.
MIN_CHUNKS = 4
#: The most chunks with `chunks: auto`.
MAX_CHUNKS = 1024


class Chunk(NamedTuple):
    """One chunk that has items."""

    #: Which of the n equal parts of the hash range it covers.
    number: int
    #: A digest of its item list, which is part of the list's name and of the result's.
    digest: str
    #: How many items it has.
    items: int


class PlanFields(TypedDict, total=False):
    """The fields of a `Plan` that do not follow from its chunks; `Plan` says what they mean."""

    skipped_files: int
    skipped: dict[str, int]
    rows: str
    invalid_rows: int
    choices_added: int
    asks_for_reasoning: int
    missing_images: int
    notes: list[str]
    faults: list[str]
    state: str
    scan: str


@dataclass(frozen=True)
class Plan:
    """The chunks of one task."""

    #: How many chunks the hash range is cut into; some may have no items.
    n: int
    #: How many items all chunks have.
    items: int
    #: The chunks that have items, by number.
    chunks: tuple[Chunk, ...]
    #: Files of the folder that are no images.
    skipped_files: int = 0
    #: How many of them are of each kind.
    skipped: dict[str, int] = field(default_factory=dict)
    #: The digest of the question rows; None for captions.
    rows: str | None = None
    #: Question rows that cannot be asked, and so are in no chunk.
    invalid_rows: int = 0
    #: Questions whose text lists no choices, so that those of the choices columns are written below it.
    choices_added: int = 0
    #: Questions whose text asks for reasoning before the answer, which takes more tokens than an answer alone.
    asks_for_reasoning: int = 0
    #: Items with an image file that is not there. They are in chunks, and fail there without a request.
    missing_images: int = 0
    #: What was settled without the user or left out where the questions were read, a sentence each.
    notes: list[str] = field(default_factory=list)
    #: What no run may begin with, a sentence each.
    faults: list[str] = field(default_factory=list)
    #: A digest of the data and the configuration that the plan was made from: while it is the same, so is the plan.
    #: Empty where a change might go unnoticed, so that the next run plans again.
    state: str = field(default="", compare=False)
    #: The state of a scan that saw all the images; empty where questions name images outside the scanned folder.
    scan: str = field(default="", compare=False)

    def item_lists(self, layout: Layout, task: Task) -> list[str]:
        """The paths of the chunks' item lists."""
        return [
            layout.items(task, ITEMS_NAME.format(chunk=self._padded(chunk.number), n=self.n, digest=chunk.digest))
            for chunk in self.chunks
        ]

    def results(self, work: str, fingerprint: str, captions: Mapping[int, str] | None = None) -> list[str]:
        """The paths of the chunks' results below a work folder, for settings with this fingerprint.

        `captions` has by the number of each chunk what stands for the captions that it is asked with, if it is.
        """
        return [
            AnswerFiles(work).result(
                CHUNK_NAME.format(
                    chunk=self._padded(chunk.number),
                    n=self.n,
                    fingerprint=fingerprint,
                    digest=chunk.digest if captions is None else f"{chunk.digest}.{captions[chunk.number]}",
                )
            )
            for chunk in self.chunks
        ]

    def list_names(self, digests: Mapping[int, str]) -> list[str]:
        """The names of lists made of the chunks' items, each with a digest more, by the chunk's number."""
        return [
            ITEMS_NAME.format(
                chunk=self._padded(chunk.number), n=self.n, digest=f"{chunk.digest}.{digests[chunk.number]}"
            )
            for chunk in self.chunks
        ]

    def pending_items(self, results: Sequence[str], items: Mapping[int, int] | None = None) -> int:
        """How many items are in chunks of which there is no result, by the paths of all.

        `items` has by the number of a chunk how many it has for this purpose, where these are not all.
        """
        pending = [chunk for chunk, path in zip(self.chunks, results, strict=True) if not os.path.exists(path)]
        return sum((items or {}).get(chunk.number, chunk.items) for chunk in pending)

    def chunk_of(self, place: int) -> int:
        """The number of the chunk that a place in the hash range falls into."""
        return place * self.n >> HASH_BITS

    def _padded(self, index: int) -> str:
        return f"{index:0{len(str(self.n - 1))}d}"


def load_plan(layout: Layout, task: Task) -> Plan:
    """The plan as the driver last saved it; for jobs, which must not scan the data set again.

    Raises:
        InputError: there is no plan.
    """
    stored = read_json(layout.plan(task))
    if stored is None:
        raise InputError(f"{layout.plan(task)} is missing; start the workflow again to write it.")
    return Plan(**stored | {"chunks": tuple(Chunk(*chunk) for chunk in stored["chunks"])})


def load_complete_plan(layout: Layout, task: Task) -> Plan | None:
    """The plan as last saved; None where there is none or a file that it names is gone."""
    try:
        plan = load_plan(layout, task)
    except InputError:
        return None
    lists = plan.item_lists(layout, task) + ([layout.question_rows(plan.rows)] if plan.rows else [])
    return plan if all(map(os.path.exists, lists)) else None


def save_plan(plan: Plan, layout: Layout, task: Task) -> Plan:
    """Save a plan as the task's newest, unless it is saved already, and return it."""
    stored = json.loads(json.dumps(asdict(plan)))
    if read_json(layout.plan(task)) != stored:
        write_json(layout.plan(task), stored)
    return plan


def write_plan(
    task: Task,
    items: Iterable[tuple[int, str]],
    count: int,
    chunks: int | Auto,
    layout: Layout,
    **fields: Unpack[PlanFields],
) -> Plan:
    """Write the item lists, save the plan and return it.

    `items` are the `count` items as (place, JSON line), sorted by place, or at least by chunk and by segment of the
    journal; `chunks` is the number of chunks or `auto`; `fields` are the plan's other fields.
    """
    n = chunk_count(chunks, count)
    written: list[Chunk] = []
    for index, members in groupby(items, key=lambda item: item[0] * n >> HASH_BITS):
        with LineFile(layout.plans) as file:
            for _, line in members:
                file.add(line)
            written.append(Chunk(index, file.digest(), file.count))
            save_by_digest(file, Plan(n, count, chunks=(written[-1],)).item_lists(layout, task)[0])
    return save_plan(Plan(n, count, chunks=tuple(written), **fields), layout, task)


def save_by_digest(file: LineFile, path: str) -> None:
    """Save a file whose name holds the digest of its lines, unless it is there already."""
    if not os.path.exists(path):
        file.save(path)


def check_plans(config: Config, layout: Layout) -> None:
    """Raise InputError where a configured task has a plan that no run may begin with."""
    for each, of_data in config.by_data_set(layout):
        for task in planned_tasks(each, of_data):
            if faults := load_plan(of_data, task).faults:
                from captionqa.config.data_sets import with_keys_named  # felt at the start of a chunk job

                raise InputError(with_keys_named(f"{task}: {faults[0]}.", each.data_set))


def planned_tasks(config: Config, layout: Layout) -> list[Task]:
    """The configured tasks of a data set that have a plan; one that no target asked for may have none."""
    return [task for task in config.tasks if layout.plan(task).exists()]


def chunk_count(chunks: int | Auto, items: int) -> int:
    """The number of chunks for a number of items."""
    if chunks != "auto":
        return chunks
    n = MIN_CHUNKS
    while n < MAX_CHUNKS and items > n * ITEMS_PER_CHUNK:
        n *= 2
    return n
