"""What `captionqa data` says of a file of questions: its columns, how its rows would be asked, and what is wrong."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypedDict

from captionqa.config.instructions import instructions_by_type
from captionqa.config.presets import load_preset
from captionqa.config.prompts import question_text
from captionqa.config.qa_config import AnswerForm, ColumnsConfig, Scoring
from captionqa.dataset.image_ref import FileRef, ImageRef, UrlRef
from captionqa.dataset.image_variants import ImageVariants
from captionqa.dataset.preset_fit import fitting_preset
from captionqa.dataset.question_columns import FIELDS
from captionqa.dataset.question_file import KEY, Questions
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.dataset.table_files import find_table_files
from captionqa.dataset.table_rows import read_columns
from captionqa.errors import InputError
from captionqa.grading.choices import lettered_choices
from captionqa.grading.ground_truth import GroundTruth
from captionqa.grading.scoring import GradingRules
from captionqa.run.progress import counted

#: Rows that are shown as they would be asked, and lines of a question's text that are shown.
SHOWN_ROWS, SHOWN_LINES = 3, 12
#: Characters that are shown of one line.
SHOWN_CHARACTERS = 160
#: Folders above a table in which its images are looked for.
FOLDERS_ABOVE = 3


class DataItem(TypedDict):
    """One question as a JSON line."""

    id: str
    question: str | None
    #: The texts of the choices, A first, whether a column or the text of the question has them.
    choices: list[str]
    #: The ground truth without its box; a list where there are several acceptable ones, None where there is none.
    gt: str | list[str] | None
    #: The letter that it names; None for a free-form one.
    gt_letter: str | None
    #: How many images are sent with the question.
    images: int


@dataclass
class DataView:
    """A file of questions, read under a preset, or as it is."""

    questions: Questions
    rules: GradingRules
    #: The preset that it is read under; None where its columns need none.
    preset: str | None
    images: ImageVariants
    #: The folder above the one that was named for the images.
    above: ImageVariants | None
    #: The preset's instruction for all questions.
    instruction: str | None
    #: {what is wrong: (how many rows, the first of them)}.
    _wrong: dict[str, tuple[int, str]] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)

    def items(self) -> Iterator[DataItem]:
        """Yield every question; what is wrong is complete after the last."""
        for row in self.questions:
            yield self._item(row)

    def wrong(self) -> list[str]:
        """What is wrong, odd or left out, a sentence each."""
        of_rows = [
            f"{counted(count, 'question')} {what}, such as {first}" for what, (count, first) in self._wrong.items()
        ]
        return [*self.questions.faults, *of_rows, *self.questions.notes]

    def _item(self, row: QuestionRow | InvalidRow) -> DataItem:
        if (key := hashlib.blake2b(row["id"].encode("utf-8", "surrogatepass"), digest_size=8).digest()) in self._seen:
            self._note("with the qid of another, where each needs its own", row["id"])
        self._seen.add(key)
        for image in row["images"]:
            self._look_at(image, row["id"])
        item: DataItem = {
            "id": row["id"],
            "question": row["question"] and question_text(row["question"], self.instruction),
            "choices": [],
            "gt": None,
            "gt_letter": None,
            "images": len(row["images"]),
        }
        if "invalid" in row:
            self._note("that cannot be asked", f"{row['id']}: {row['invalid']}")
            return item
        item["choices"] = row.get("choices") or lettered_choices(row["question"])
        if row["answer"] is not None:
            truth = GroundTruth.read(row["answer"], item["choices"], self.rules)
            answers = list(dict.fromkeys(truth.answers))
            item["gt"], item["gt_letter"] = answers[0] if len(answers) == 1 else answers, truth.letter
            if truth.fault:
                self._note("with a ground truth that cannot be graded", f"{row['id']}: {truth.fault}")
        return item

    def _look_at(self, image: str, qid: str) -> None:
        ref = ImageRef.parse(image)
        if isinstance(ref, UrlRef):
            if self.questions.allow_urls:
                self._note("with an image that the client jobs fetch", f"{qid}: {ref.url}")
        elif isinstance(ref, FileRef) and "://" not in ref.path[:16] and not self.images.exists(ref.path):
            above = "" if self.above is None or not self.above.exists(ref.path) else ", which is in the folder above"
            self._note(f"with a missing image{above}", f"{qid}: {ref.path}")

    def _note(self, what: str, first: str) -> None:
        count, before = self._wrong.get(what, (0, first))
        self._wrong[what] = (count + 1, before)


def look_at(
    paths: Sequence[str], preset: str | None = None, images: Path | None = None, allow_urls: bool = False
) -> DataView:
    """Look at a file, glob or folder of questions; `images` is the folder that image paths are relative to.

    Without a preset the file is read by its own columns where these are clear, and else under the preset that fits.

    Raises:
        InputError: the file cannot be read, or it is not clear which column holds what.
        ConfigError: there is no such preset.
    """
    questions = None
    fault: InputError | None = None
    if preset is None:
        try:
            questions = Questions(paths, ColumnsConfig(), allow_urls=allow_urls)
        except InputError as error:
            fault = error
        if questions is None or questions.columns.qid is None:
            preset = _fitting(paths)
        if preset is None and fault is not None:
            raise fault
    instruction = load_preset(preset).qa.get("instruction") if preset else None
    if questions is None or preset is not None:
        by_kind = instructions_by_type(instruction)
        questions = Questions(
            paths, ColumnsConfig(), preset=preset, rules=_rules(preset), instructions=by_kind, allow_urls=allow_urls
        )
    return DataView(
        questions,
        _rules(preset),
        preset,
        ImageVariants(images or _image_folder(questions)),
        ImageVariants(images.absolute().parent) if images else None,
        instruction if isinstance(instruction, str) else None,
    )


def view_text(view: DataView) -> str:
    """The columns, three rows as they would be asked and what is wrong, for a terminal."""
    files = view.questions.files
    lines = [f"{len(files)} files, the first is {files[0].path}" if len(files) > 1 else f"{files[0].path}"]
    used = {name: key for key in FIELDS for name in _names(view, key)}
    width = max((len(column.name) for column in view.questions.table_columns), default=0)
    lines += [
        f"  {column.name:{width}}  {_cut(column.type)}{f'  -> {used[column.name]}' if column.name in used else ''}"
        for column in view.questions.table_columns
    ]
    if view.preset:
        preset = load_preset(view.preset)
        lines += [f"preset: {view.preset} ({preset.about}); in a configuration: qa.preset: {view.preset}"]
    else:
        lines += ["preset: none is needed, the columns are clear"]
    items = view.items()
    shown = list(islice(items, SHOWN_ROWS))
    for number, item in enumerate(shown, 1):
        lines += ["", *_asked(number, item)]
    count = len(shown) + sum(1 for _ in items)
    wrong = view.wrong()
    lines += ["", f"{count:,} questions; {'nothing is wrong' if not wrong else 'what is wrong or was settled:'}"]
    return "\n".join([*lines, *(f"  {sentence}" for sentence in wrong)])


def _asked(number: int, item: DataItem) -> Iterator[str]:
    yield f"question {number}: {item['id']}, {counted(item['images'], 'image')}"
    text = (item["question"] or "(no text)").splitlines()
    yield from (f"  | {_cut(line)}" for line in text[:SHOWN_LINES])
    if len(text) > SHOWN_LINES:
        yield f"  | ... {len(text) - SHOWN_LINES} more lines"
    letter = f" (letter {item['gt_letter']})" if item["gt_letter"] else ""
    yield f"  ground truth: {'none' if item['gt'] is None else _cut(str(item['gt']))}{letter}"


def _names(view: DataView, key: str) -> list[str]:
    from captionqa.dataset.field_value import columns_in

    return list(columns_in(getattr(view.questions.columns, key)))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text):,} characters)"


def table_names(paths: Sequence[str]) -> list[str]:
    """The names of a table's columns; raises InputError where there is no table."""
    return [column.name for column in read_columns(find_table_files(paths, KEY).files[0])]


def _fitting(paths: Sequence[str]) -> str | None:
    return fitting_preset(find_table_files(paths, KEY).files[0].path, table_names(paths))


def _rules(preset: str | None) -> GradingRules:
    """The grading rules of a preset, and those that nobody configured."""
    qa = load_preset(preset).qa if preset else {}
    scoring: Scoring = qa.get("scoring", "any")
    answer_is: AnswerForm = qa.get("answer_is", "auto")
    return GradingRules(scoring, answer_is, float(qa.get("relative_tolerance", 0)))


def _image_folder(questions: Questions) -> Path:
    """The folder, at or above the table, in which the first image with a path is; else that of the table."""
    folder = questions.files[0].path.absolute().parent
    first = next((image for row in islice(questions, 100) for image in row["images"]), None)
    ref = ImageRef.parse(first) if first else None
    if isinstance(ref, FileRef):
        for candidate in (folder, *islice(folder.parents, FOLDERS_ABOVE)):
            if ImageVariants(candidate).exists(ref.path):
                return candidate
    return folder
