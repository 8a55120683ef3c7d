"""Planning questions: the rows of the question file and the stamps of their images, cut into chunks."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from captionqa.config.layout import Layout
from captionqa.config.presets import load_preset
from captionqa.config.qa_config import Auto, ColumnsConfig
from captionqa.config.repeats import ASKED_ONCE, Repeats
from captionqa.dataset.changed_files import ChangeCounts
from captionqa.dataset.named_files import NamedFiles
from captionqa.dataset.places import question_place
from captionqa.dataset.plan import Plan, PlanFields, load_complete_plan, save_by_digest, save_plan, write_plan
from captionqa.dataset.plan_state import question_inputs_digest
from captionqa.dataset.question_file import NO_COLUMNS, AnyPaths, Questions
from captionqa.dataset.question_repeats import is_first, repeats_of
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.dataset.repeat_planning import PlannedRepeats, repeated_text
from captionqa.dataset.scan import NamedImages
from captionqa.dataset.selection import Selection
from captionqa.errors import InputError
from captionqa.external_sort import ExternalSort
from captionqa.files import LineFile, json_line
from captionqa.grading.scoring import GradingRules
from captionqa.threads import blocks, map_in_order

#: Words by which a question or an instruction asks for reasoning before the answer.
ASKS_FOR_REASONING = re.compile(
    r"step[ -]by[ -]step|\b(?:show|explain|give|write|provide)\s(?:all\s)?your\s(?:work|reasoning|thinking|answer)\b|"
    r"\b(?:reason|think)\s(?:carefully|first|before)\b|<think>|chain[ -]of[ -]thought",
    re.IGNORECASE,
)


@dataclass
class _SortedQuestions:
    """What was found in the rows of a question file."""

    #: What is wrong with the first invalid row, and how many there are.
    fault: str | None = None
    invalid: int = 0
    #: Items that name an image that is not there.
    missing_images: int = 0
    #: Questions that got choices added to their text.
    choices_added: int = 0
    #: Questions whose text asks for reasoning before the answer.
    asks_for_reasoning: int = 0
    #: What else was found, a sentence each.
    notes: list[str] = field(default_factory=list)


def plan_questions(
    question_path: AnyPaths,
    dataset: Path,
    chunks: int | Auto,
    layout: Layout,
    scan: str = "",
    columns: ColumnsConfig = NO_COLUMNS,
    preset: str | None = None,
    rules: GradingRules | None = None,
    instructions: Mapping[str, str] | None = None,
    selection: Selection | None = None,
    allow_urls: bool = False,
    protocol: str | None = None,
    repeats: Repeats = ASKED_ONCE,
) -> Plan:
    """Read the questions, write the item lists and the question rows, and return the plan.

    The last plan is returned where neither the question files nor an image changed since. `scan` is the state of a scan
    of the folder of images in this run; where it equals the last plan's, no image has to be looked at. The other
    arguments are as for `Questions`.

    Raises:
        InputError: as for `Questions`; or a qid occurs twice or has a null character, no row can be asked, or the
            folder of images is missing.
    """
    if not dataset.is_dir():
        raise InputError(
            f"qa.dataset_path: there is no folder {dataset}; the questions' image paths are relative to it."
        )
    image_names = layout.question_images
    changes = ChangeCounts(layout.task_items("qa"))
    questions = Questions(question_path, columns, dataset, preset, rules, instructions, allow_urls, protocol)
    stored = preset and load_preset(preset)
    selection = selection or Selection()
    decide = (
        chunks,
        dataset,
        changes,
        columns,
        stored,
        rules,
        instructions,
        selection.limit,
        selection.where,
        allow_urls,
        protocol,
        repeats,
    )
    inputs = question_inputs_digest(questions.paths(), *decide)
    if inputs and (plan := _unchanged_plan(inputs, dataset, image_names, layout, scan, allow_urls)) is not None:
        return plan
    folder = layout.plans
    with (
        NamedImages(dataset, image_names, allow_urls) as images,
        ExternalSort(folder) as rows,
        ExternalSort(folder) as items,
    ):
        named, planned = NamedFiles(dataset, images), PlannedRepeats(repeats)
        if by_image := layout.has_questions_by_image():
            layout.questions_by_image.touch()
        found = _sort_questions(selection.of(questions), named, changes, planned, rows, items, by_image)
        if not items:
            raise InputError(
                f"{questions.files[0].path}: none of its {len(rows)} rows can be asked; the first is {found.fault}"
            )
        digest = _write_rows(rows, questions.files[0].path, layout)
        fields: PlanFields = {
            "rows": digest,
            "invalid_rows": found.invalid,
            "missing_images": found.missing_images,
            "choices_added": found.choices_added,
            "asks_for_reasoning": found.asks_for_reasoning,
            "notes": [*filter(None, [selection.note()]), *questions.notes, *planned.notes(), *found.notes],
            "faults": questions.faults,
        }
        if inputs:
            fields["state"], fields["scan"] = f"{inputs}-{images.save()}", scan if images.all_inside else ""
        lines = ((where, line) for where, _, line in items)
        return write_plan("qa", lines, len(items), chunks, layout, **fields)


def _unchanged_plan(
    inputs: str, dataset: Path, image_names: Path, layout: Layout, scan: str, allow_urls: bool
) -> Plan | None:
    """The last plan, where these inputs and the images are still as they were; else None."""
    plan = load_complete_plan(layout, "qa")
    if plan is None or not plan.state.startswith(inputs):
        return None
    if scan and plan.scan == scan:
        return plan
    with NamedImages(dataset, image_names, allow_urls) as images:
        if plan.state != f"{inputs}-{images.state_of_saved()}":
            return None
        return save_plan(replace(plan, scan=scan if images.all_inside else ""), layout, "qa")


def _sort_questions(
    questions: Iterable[QuestionRow | InvalidRow],
    files: NamedFiles,
    changes: ChangeCounts,
    planned: PlannedRepeats,
    rows: ExternalSort,
    items: ExternalSort,
    by_image: bool,
) -> "_SortedQuestions":
    """Add all rows to `rows`, those that can be asked to `items`, and their images to `files`.

    `by_image` is as for `question_place`.
    """
    found = _SortedQuestions()
    for block, stamps in map_in_order(files.with_stamps, blocks(questions)):
        files.add(stamps)
        for row in block:
            if "invalid" in row:
                rows.add((row["id"], len(rows), json_line(row)))
                found.invalid += 1
                found.fault = found.fault or f"{row['id']}: {row['invalid']}"
                continue
            if (repeats := planned.of(row["id"], row["question"], row.get("choices"))) is not None:
                row["repeats"] = repeats
            rows.add((row["id"], len(rows), json_line(row)))
            stamps_planned = [changes.planned(name, stamps[name]) for name in row["images"]]
            found.choices_added += bool(row.get("choices_added"))
            found.asks_for_reasoning += ASKS_FOR_REASONING.search(row["question"]) is not None
            for repeat in repeats_of(row["id"], repeats):
                item: dict[str, object] = {
                    "id": repeat.id,
                    "question": repeated_text(row["question"], row.get("choices"), repeat),
                    "images": row["images"],
                    "stamps": stamps_planned,
                }
                if by_image and len(row["images"]) == 1:
                    item["by_image"] = True
                if row.get("choices_added"):
                    item["choices"] = len(row["choices"])
                if repeat.sample > 1:
                    item["sample"] = repeat.sample
                items.add((question_place(row["images"], repeat.id, by_image), repeat.id, json_line(item)))
            if None in stamps_planned:
                missing = row["images"][stamps_planned.index(None)]
                if not found.missing_images and (note := files.where_else(missing)):
                    found.notes.append(note)
                found.missing_images += 1
    return found


def _write_rows(rows: ExternalSort, question_path: Path, layout: Layout) -> str:
    """Write the rows, (id, number, line) sorted by id, to the file of question rows; returns the digest in its name.

    Raises:
        InputError: a qid occurs twice, or could be mistaken for a repeat of another.
    """
    last, first = None, 0
    with LineFile(layout.plans) as file:
        for name, number, line in rows:
            if name == last:
                raise InputError(
                    f"{question_path}: the qid {name!r} is there twice, in rows {first} and {number}; each "
                    "question needs its own."
                )
            if not is_first(name):
                raise InputError(f"{question_path}: the qid {name!r} in row {number} has a null character; remove it.")
            last, first = name, number
            file.add(line)
        save_by_digest(file, layout.question_rows(file.digest()))
        return file.digest()
