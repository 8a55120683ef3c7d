"""Planning captions: the images of a folder or of shards, cut into chunks."""

from pathlib import Path

from captionqa.config.config import Auto, CaptionColumnsConfig
from captionqa.config.data_root import is_pattern
from captionqa.config.layout import Layout
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
) -> Plan:
    """Find the images of a data set, write the item lists if anything changed, and return the plan.

    A folder with image files is a folder of images, whatever else is in it; any other has to be one of shards.

    Raises:
        InputError: the data set is missing, cannot be read, or has no images.
    """
    if not dataset.exists() and not is_pattern(str(dataset)):
        raise InputError(
            f"captions.dataset_path: there is no folder {dataset}; set it to your images in the configuration."
        )
    if dataset.is_dir() and not is_saved_dataset(dataset):
        return _plan_folder(dataset, chunks, layout, columns, limit)
    return plan_shards(dataset, find_shards(dataset), chunks, layout, columns, limit)


def _plan_folder(
    dataset: Path, chunks: int | Auto, layout: Layout, columns: CaptionColumnsConfig, limit: int | float | None
) -> Plan:
    changes = ChangeCounts(layout.task_items("captions"))
    inputs = inputs_digest("captions", chunks, dataset, changes, limit)
    with ImageScan(dataset, layout.sniffed) as scan:
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
                shards = find_shards(dataset)
                if shards.shards:
                    return plan_shards(dataset, shards, chunks, layout, columns, limit)
                skipped = f" ({skipped_text(scan.skipped)})" if scan.skipped else ""
                raise InputError(
                    f"captions.dataset_path: {dataset} holds no image{skipped}; images are files with an image suffix "
                    "or image content, or are in .parquet, .arrow or .tar files."
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
