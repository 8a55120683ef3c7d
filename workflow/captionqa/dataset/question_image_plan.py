"""Planning captions of the images that questions name, for questions that are asked with captions alone."""

from collections.abc import Iterator
from typing import Any

from captionqa.config.layout import Layout
from captionqa.config.qa_config import Auto
from captionqa.dataset.caption_ids import question_image_entry
from captionqa.dataset.changed_files import ChangeCounts
from captionqa.dataset.hash_limit import ImageLimit
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import Plan, load_complete_plan, load_plan, write_plan
from captionqa.dataset.plan_state import inputs_digest
from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import json_line, read_json_lines


def plan_question_images(chunks: int | Auto, layout: Layout, limit: int | float | None = None) -> Plan:
    """Take the images from the plan of the questions, write the item lists if anything changed, and return the plan.

    Raises:
        InputError: the questions have no plan, or name no image.
    """
    questions = load_plan(layout, "qa")
    changes = ChangeCounts(layout.task_items("captions"))
    state = inputs_digest("captions of questions", chunks, limit, changes, questions.n, questions.chunks)
    plan = load_complete_plan(layout, "captions")
    if plan is not None and plan.state == state:
        return plan
    with ExternalSort(layout.plans) as named, ExternalSort(layout.plans) as items:
        for path in questions.item_lists(layout, "qa"):
            for question in read_json_lines(path):
                for image, stamp in zip(question["images"], question["stamps"], strict=True):
                    named.add((image, len(named), stamp and stamp[:2]))
        if not named:
            raise InputError("captions.dataset_path: the questions name no image; name a folder of images.")
        missing, within = 0, ImageLimit(limit, layout.plans)
        for image, stamp in within.of(_distinct(named)):
            planned = changes.planned(image, stamp and tuple(stamp))
            entry = question_image_entry(image, None if planned is None else list(planned))
            items.add((entry_place(entry), entry["id"], json_line(entry)))
            missing += stamp is None
        lines = ((where, line) for where, _, line in items)
        return write_plan(
            "captions",
            lines,
            len(items),
            chunks,
            layout,
            missing_images=missing,
            notes=["the images that the questions name are captioned", *within.notes()],
            state=state,
        )


def _distinct(named: ExternalSort) -> Iterator[tuple[Any, ...]]:
    """The first record of each image."""
    last = None
    for image, _, stamp in named:
        if image != last:
            yield image, stamp
        last = image
