"""Planning a configured task, whichever it is."""

from pathlib import Path

from captionqa.config.config import Config, Task
from captionqa.config.data_sets import with_keys_named
from captionqa.config.layout import Layout
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.plan import Plan
from captionqa.dataset.question_image_plan import plan_question_images
from captionqa.dataset.question_plan import plan_questions
from captionqa.dataset.selection import Selection
from captionqa.errors import InputError
from captionqa.files import full_disk_named
from captionqa.grading.scoring import GradingRules


def plan_all(config: Config, layout: Layout) -> None:
    """Plan all configured tasks of all data sets; raises as `plan_task`, with the name of the data set."""
    for each, of_data in config.by_data_set(layout):
        for task in each.tasks_as_planned:
            try:
                plan_task(each, of_data, task)
            except InputError as error:
                if not (name := each.data_set):
                    raise
                raise InputError(f"{name}: {with_keys_named(str(error), name)}") from error


def plan_task(config: Config, layout: Layout, task: Task, scan: str = "") -> Plan:
    """The plan of a configured task, from its data as it is now; `scan` is as for `plan_questions`.

    Captions of the questions' images are planned from the plan of the questions, which has to be made before.

    Raises:
        InputError: as for `plan_captions`, `plan_question_images` and `plan_questions`.
        DiskFullError: the item lists do not fit on the disk.
    """
    with full_disk_named(layout.plans):
        if task == "captions":
            captions = config.section("captions")
            if captions.of_questions:
                return plan_question_images(captions.chunks, layout, captions.limit)
            return plan_captions(
                Path(captions.local_path),
                captions.chunks,
                layout,
                captions.columns,
                captions.limit,
                captions.read_as,
                None if captions.image_folder is None else Path(captions.image_folder),
            )
        qa = config.section("qa")
        return plan_questions(
            qa.local_path,
            Path(qa.data_path),
            qa.chunks,
            layout,
            scan,
            qa.columns,
            qa.preset,
            GradingRules.of(qa),
            qa.instructions_by_type,
            Selection(qa.limit, qa.where),
            qa.allow_urls,
            qa.protocol,
            qa.repeats,
        )
