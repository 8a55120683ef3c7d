"""Planning a configured task, whichever it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionqa.config.layout import Layout
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.plan import Plan
from captionqa.dataset.question_plan import plan_questions
from captionqa.files import full_disk_named


def plan_task(config: Mapping[str, Any], layout: Layout, task: str, scan: str = "") -> Plan:
    """The plan of a configured task, from its data as it is now; `scan` is as for `plan_questions`.

    Raises:
        InputError: as for `plan_captions` and `plan_questions`.
        DiskFullError: the item lists do not fit on the disk.
    """
    section = config[task]
    dataset = Path(section["dataset_path"])
    with full_disk_named(layout.plans):
        if task == "captions":
            return plan_captions(dataset, section["chunks"], layout)
        return plan_questions(Path(section["question_path"]), dataset, section["chunks"], layout, scan)
