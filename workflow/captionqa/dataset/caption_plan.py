"""Planning captions: the images of a folder or of shards, cut into chunks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from captionqa.config.captions_config import CaptionColumnsConfig, ReadAs
from captionqa.config.data_root import is_pattern
from captionqa.config.layout import Layout
from captionqa.config.qa_config import Auto
from captionqa.dataset.changed_files import ChangeCounts
from captionqa.dataset.hash_limit import ImageLimit
from captionqa.dataset.places import place
from captionqa.dataset.plan import Plan, PlanFields, load_complete_plan, write_plan
from captionqa.dataset.plan_state import inputs_digest
from captionqa.dataset.scan import ImageScan
from captionqa.dataset.shard_plan import plan_shards
from captionqa.dataset.shards import find_shards, is_saved_dataset
from captionqa.dataset.skipped_files import skipped_text
from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import json_line

#: The columns are found by their types and names.
AUTO_COLUMNS = CaptionColumnsConfig(image="auto", id="auto")


def plan_captions(
    dataset: Path,
    chunks: int | Auto,
    layout: Layout,
    columns: CaptionColumnsConfig = AUTO_COLUMNS,
    limit: int | float | None = None,
    read_as: ReadAs = "auto",
    image_folder: Path | None = None,
) -> Plan:
    """Find the images of a data set, write the item lists if anything changed, and return the plan.

    With `read_as: auto` a folder with image files is a folder of images, whatever else is in it; any other has to be
    one of shards. The paths in tables are relative to `image_folder`, or else to the folder of the data set.

    Raises:
        InputError: the data set is missing, cannot be read, has no images, or is not what `read_as` says.
    """
    if not dataset.exists() and not is_pattern(str(dataset)):
        raise InputError(
            f"captions.dataset_path: there is no folder {dataset}; set it to your images in the configuration."
        )
    if image_folder is not None and not image_folder.is_dir():
        raise InputError(f"captions.image_folder: there is no folder {image_folder}.")

    def of_shards() -> Plan | None:
        shards = find_shards(dataset, read_as)
        if image_folder is not None:
            if any(shard.kind is None for shard in shards.shards):
                raise InputError(
                    "captions.image_folder is for the paths in a list; tars hold their images, leave it out."
                )
            shards = replace(shards, root=image_folder)
        return plan_shards(dataset, shards, chunks, layout, columns, limit) if shards.shards else None

    is_folder = dataset.is_dir() and not is_saved_dataset(dataset)
    if is_folder and read_as in ("auto", "images"):
        return _plan_folder(dataset, chunks, layout, limit, image_folder, of_shards)
    if (plan := of_shards()) is None:
        raise InputError(
            f"captions.read_as: {dataset} holds no {read_as}; set it to auto, or name another dataset_path."
        )
    return plan


def _plan_folder(
    dataset: Path,
    chunks: int | Auto,
    layout: Layout,
    limit: int | float | None,
    image_folder: Path | None,
    of_shards: Callable[[], Plan | None],
) -> Plan:
    """The plan of a folder of images; of one without any that of its shards, which `of_shards` makes."""
    changes = ChangeCounts(layout.task_items("captions"))
    inputs = inputs_digest("captions", chunks, dataset, changes, limit)
    with ImageScan(dataset, layout.sniffed, Path(layout.output_dir)) as scan:
        state = f"{inputs}-{scan.state}"
        if (plan := load_complete_plan(layout, "captions")) is not None and plan.state == state:
            return plan
        with ExternalSort(layout.plans) as items:
            missing = 0
            within = ImageLimit(limit, layout.plans)
            for name, stamp in within.of(scan.images()):
                items.add((place(name), name, changes.planned(name, stamp and tuple(stamp))))
                missing += stamp is None
            if not within.seen:
                if plan := of_shards():
                    return plan
                skipped = f" ({skipped_text(scan.skipped)})" if scan.skipped else ""
                raise InputError(
                    f"captions.dataset_path: {dataset} holds no image{skipped}; images are files with an image suffix "
                    "or image content, or are in .parquet, .arrow or .tar files."
                )
            if image_folder is not None:
                raise InputError(
                    f"captions.image_folder is for the paths in a list, and {dataset} holds images itself; leave it "
                    "out, or name the list in captions.dataset_path."
                )
            lines = ((where, json_line({"id": name, "stamps": [stamp]})) for where, name, stamp in items)
            fields: PlanFields = {
                "skipped_files": scan.skipped.total(),
                "skipped": dict(scan.skipped),
                "missing_images": missing,
                "notes": within.notes(),
            }
            if scan.complete:
                fields["state"], fields["scan"] = state, scan.state
            return write_plan("captions", lines, len(items), chunks, layout, **fields)
