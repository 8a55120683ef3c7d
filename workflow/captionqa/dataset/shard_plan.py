"""Planning captions of shards: their images, found without reading one, cut into chunks."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from captionqa.config.captions_config import CaptionColumnsConfig
from captionqa.config.layout import Layout
from captionqa.config.qa_config import Auto
from captionqa.dataset.changed_files import ChangeCounts
from captionqa.dataset.hash_limit import ImageLimit
from captionqa.dataset.image_ref import FileRef, ImageRef
from captionqa.dataset.item_entry import ItemEntry, Stamp
from captionqa.dataset.places import HASH_BITS, SEGMENT_BITS, entry_place
from captionqa.dataset.plan import Plan, PlanFields, chunk_count, load_complete_plan, write_plan
from captionqa.dataset.plan_state import YOUNG_S, inputs_digest
from captionqa.dataset.scan import NamedImages
from captionqa.dataset.shards import ShardSet
from captionqa.dataset.skipped_files import SkippedFiles, skipped_text
from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import json_line


def plan_shards(
    dataset: Path,
    shards: ShardSet,
    chunks: int | Auto,
    layout: Layout,
    columns: CaptionColumnsConfig,
    limit: int | float | None = None,
) -> Plan:
    """Find the images in the shards of a data set, write the item lists if anything changed, and return the plan.

    `dataset` is the configured path.

    Raises:
        InputError: a shard cannot be read, or none has an image.
    """
    changes = ChangeCounts(layout.task_items("captions"))
    stamps = [shard.stamp() for shard in shards.shards]
    inputs = inputs_digest("captions", chunks, dataset, changes, columns, limit, shards, stamps)
    with NamedImages(shards.root, layout.caption_images) as images:
        plan = load_complete_plan(layout, "captions")
        if plan is not None and plan.state == f"{inputs}-{images.state_of_saved()}":
            return plan
    folder = layout.plans
    with (
        NamedImages(shards.root, layout.caption_images) as images,
        ExternalSort(folder) as named,
        ExternalSort(folder) as items,
    ):
        skipped = SkippedFiles()
        for number, item in shards.items(columns, skipped):
            named.add((item.name, number, *item.position, item.own_name, item.images))
        if not named:
            reason = f" ({skipped_text(skipped)})" if skipped else ""
            raise InputError(
                f"captions.dataset_path: {dataset} holds no image{reason}; name the column of images in "
                "captions.columns.image, or give a folder of images."
            )
        missing = 0
        within = ImageLimit(limit, folder)
        n = chunk_count(chunks, within.expected(len(named)))
        for entry, position in _entries(within.of(_unique(named)), stamps, images, changes):
            where = entry_place(entry)
            # within each segment of the journal a chunk reads its shards from their beginnings to their ends
            order = [where * n >> HASH_BITS, where >> HASH_BITS - SEGMENT_BITS, *position]
            items.add((order, where, json_line(entry)))
            missing += None in entry["stamps"]
        fields: PlanFields = {
            "skipped_files": skipped.total(),
            "skipped": dict(skipped),
            "missing_images": missing,
            "notes": within.notes() + _repeated(len(named) - within.seen),
            "faults": _nowhere(missing, shards.root) if missing == len(items) else [],
        }
        if time.time() - max(time_ns for _, time_ns in stamps) / 1e9 > YOUNG_S:
            fields["state"] = f"{inputs}-{images.save()}"
        lines = ((where, line) for _, where, line in items)
        return write_plan("captions", lines, len(items), n, layout, **fields)


def _entries(
    found: Iterable[tuple[Any, ...]], containers: Sequence[Stamp], images: NamedImages, changes: ChangeCounts
) -> Iterator[tuple[ItemEntry, list[int]]]:
    """The items with their stamps, and where they are: (shard, row group or 0, row or offset).

    `found` is as `_unique` yields it, and `containers` are the stamps of the shards.
    """
    for name, position, references in found:
        stamps: list[Stamp | None] = [containers[position[0]]] * len(references)
        if any(isinstance(ImageRef.parse(reference), FileRef) for reference in references):
            stamps = images.stamps(references)
            images.add(references, stamps)  # the stamps of containers are in the state already
        planned = [changes.planned(ref, stamp) for ref, stamp in zip(references, stamps, strict=True)]
        lists = [None if stamp is None else list(stamp) for stamp in planned]
        yield {"id": name, "images": references, "stamps": lists}, position


def _unique(named: ExternalSort) -> Iterator[tuple[str, list[int], list[str]]]:
    """(name, position, images) of the items; those that share a name get their own."""
    is_shared = False
    for record, following in pairwise(chain(_distinct(named), [None])):
        if record is None:  # only the last `following` is
            return
        was_shared, is_shared = is_shared, following is not None and following[0] == record[0]
        name, number, group, row, own_name, images = record
        yield own_name if was_shared or is_shared else name, [number, group, row], images


def _distinct(named: ExternalSort) -> Iterator[tuple[Any, ...]]:
    """The records but those that name the images of the one before, as a list has a row for each text on an image."""
    last: tuple[Any, ...] | None = None
    for record in named:
        if last is None or (record[0], record[5]) != (last[0], last[5]):
            yield record
        last = record


def _repeated(rows: int) -> list[str]:
    return [f"{rows:,} rows name the image of another row, which is captioned once"] if rows else []


def _nowhere(images: int, root: Path) -> list[str]:
    return [
        f"none of the {images:,} images in captions.dataset_path is in {root}; set captions.image_folder to the folder "
        "that its paths are relative to"
    ]
