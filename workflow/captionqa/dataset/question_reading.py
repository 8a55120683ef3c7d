"""Making a question of a row of a table: its text, ground truth, images and choices, or what is wrong with it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar

from captionqa.config.instructions import instruction_of
from captionqa.config.prompts import question_text
from captionqa.dataset.captionqa_questions import AskedQuestion, Shuffler
from captionqa.dataset.cell import INVISIBLE, CellError, is_empty
from captionqa.dataset.choices_column import raw_choices, read_choices, shows, with_choices
from captionqa.dataset.field_value import Source, lookup, number_text, reader_of
from captionqa.dataset.image_marks import MissingImageError, in_order_of_marks
from captionqa.dataset.question_columns import QuestionColumns
from captionqa.dataset.question_row import UNCATEGORIZED, UNKNOWN_SOURCE, InvalidRow, QuestionRow
from captionqa.dataset.question_type import question_type
from captionqa.grading.choices import lettered_choices
from captionqa.grading.hidden import is_hidden
from captionqa.list_text import texts_of

T = TypeVar("T")


class QuestionReader:
    """Makes questions of rows whose fields are in the same columns."""

    def __init__(
        self,
        columns: QuestionColumns,
        classes: Mapping[str, tuple[str, ...]],
        instructions: Mapping[str, str],
        shuffler: Shuffler | None = None,
    ):
        """`classes` has the names of numbers by column.

        Of `instructions` the one for the type of a question is added below it. A `shuffler` makes the
        questions of the CaptionQA protocol, one after another.
        """
        self._shuffler = shuffler
        self._columns = columns
        self._instructions = instructions
        self._question, self._answer, self._category, self._source, self._type = (
            _reader(source, classes)
            for source in (columns.question, columns.answer, columns.category, columns.source, columns.type)
        )
        self._before = [
            (what, _reader(source, classes))
            for what, source in (("Context", columns.context), ("Hint", columns.hint))
            if source is not None
        ]

    def question(
        self, qid: str, cells: Mapping[str, Any], images: Callable[[], list[str | None]]
    ) -> QuestionRow | InvalidRow:
        """The question of a row; `images` gives its images."""
        columns, faults = self._columns, list[str]()
        text = self._checked(columns.question, faults, lambda: self._text(cells))
        answer = self._checked(columns.answer, faults, lambda: _answer(self._answer(cells), columns.answer_values))
        slots = self._checked(columns.images, faults, images)
        choices: list[str] | None = []
        asked: AskedQuestion | None = None
        if self._shuffler is not None:
            asked = self._checked(columns.choices, faults, lambda: self._shuffled(text or "", cells))
        elif columns.choices:
            choices = self._checked(columns.choices, faults, lambda: read_choices(_choice_cells(cells, columns)))
        if asked is not None:
            text, choices = asked.text, asked.options
        added = asked is None and bool(
            choices and text is not None and not columns.choices_in_image and not shows(text, choices)
        )
        placed: list[str] = []
        if text is not None and slots is not None:
            text = self._with_choices(text, choices or [], added, cells)
            try:
                text, placed = in_order_of_marks(text, slots)
            except MissingImageError as error:
                faults.append(f"the question {error}")
        category = _label(self._first_category(cells), UNCATEGORIZED)
        source = _label(self._source(cells), UNKNOWN_SOURCE)
        if text is None or faults:
            return {
                "id": qid,
                "question": text,
                "answer": answer,
                "images": placed or [image for image in slots or () if image is not None],
                "category": category,
                "source": source,
                "invalid": f"In the question file {' and '.join(faults)}.",
            }
        row: QuestionRow = {
            "id": qid,
            "question": text,
            "answer": _as_choice(answer, choices) if choices else answer,
            "images": placed,
            "category": category,
            "source": source,
        }
        if choices:
            row["choices"], row["choices_added"] = choices, added
        if asked is not None:
            row["permutation"] = asked.permutation
        return row

    def _shuffled(self, text: str, cells: Mapping[str, Any]) -> AskedQuestion:
        """A question of the CaptionQA protocol; raises CellError where the protocol leaves it out."""
        assert self._shuffler is not None
        choices = raw_choices(_choice_cells(cells, self._columns)) if self._columns.choices else []
        return self._shuffler.asked(text, choices, self._answer(cells))

    def _first_category(self, cells: Mapping[str, Any]) -> Any:
        """The category; the CaptionQA protocol counts a question in the first of several."""
        category = self._category(cells)
        is_list = self._shuffler is not None and isinstance(category, list)
        return next(iter(category), None) if is_list else category

    def _text(self, cells: Mapping[str, Any]) -> str:
        """The question below its context and hint, where it has them."""
        text = _text(self._question(cells))
        if not self._before:
            return text
        lines = [(what, read(cells)) for what, read in self._before]
        kept = (f"{what}: {str(value).strip()}" for what, value in lines if not is_empty(value) and value != "nan")
        return "\n".join([*kept, text])

    def _with_choices(self, text: str, choices: list[str], added: bool, cells: Mapping[str, Any]) -> str:
        """The text with its choices, if they are to be added, and the instruction for its type below it."""
        text = with_choices(text, choices) if added else text
        if self._instructions:
            listed = choices or lettered_choices(text)
            kind = question_type(self._type(cells), listed)
            text = question_text(text, instruction_of(kind, bool(listed), self._instructions))
        return text

    def _checked(self, source: Source, faults: list[str], read: Callable[[], T]) -> T | None:
        """What `read` gives; None, and one more of the faults, where the cell is wrong."""
        try:
            return read()
        except CellError as error:
            names = [source] if isinstance(source, str) else source if isinstance(source, Sequence) else [source]
            faults.append(f"the column {' and '.join(map(repr, names))} {error}")
            return None


def _reader(source: Source, classes: Mapping[str, tuple[str, ...]]) -> Callable[[Mapping[str, Any]], Any]:
    """What reads a field of a row, by its name where it is the number of a class."""
    read = reader_of(source)
    if not isinstance(source, str) or not (names := classes.get(source)):
        return read

    def named(cells: Mapping[str, Any]) -> Any:
        value = read(cells)
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value

    return named


def _choice_cells(cells: Mapping[str, Any], columns: QuestionColumns) -> list[Any]:
    if isinstance(columns.choices, str):
        return [lookup(cells, columns.choices)]
    found = [lookup(cells, name) for name in columns.choices or ()]
    return [number_text(cell) if isinstance(cell, float) and cell == cell else cell for cell in found]


def _text(cell: Any) -> str:
    """A cell as text.

    Raises:
        CellError: the cell is empty, or neither a text nor a number.
    """
    if isinstance(cell, str) and not cell.isspace() and cell:
        return cell
    if is_empty(cell):
        raise CellError("is empty")
    if isinstance(cell, bytes):
        with suppress(UnicodeDecodeError):
            return _text(cell.decode())
    if isinstance(cell, list | dict | bytes):
        raise CellError(f"holds a {type(cell).__name__}, not a text or a number")
    return str(cell)


def _answer(cell: Any, values: Mapping[str, str]) -> str | list[str] | None:
    """A ground truth: a text or number, or a list of the acceptable ones; None where the file gives none.

    Raises:
        CellError: the cell holds something else.
    """
    if isinstance(cell, str):
        cell = cell.strip(INVISIBLE)
        if cell and not values and not cell.isspace():
            return None if is_hidden(cell) else cell
    if isinstance(cell, dict):
        cell = [cell]
    if isinstance(cell, list):
        try:
            answers = [values.get(text, text) for text in texts_of(cell)]
        except ValueError as error:
            raise CellError(str(error)) from None
        if not answers or all(map(is_hidden, answers)):
            return None
        return answers[0] if len(answers) == 1 else answers
    if is_empty(cell):
        return None
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    text = number_text(cell) if isinstance(cell, float | Decimal) else _text(cell)
    text = values.get(text, text)
    return None if is_hidden(text) else text


def _as_choice(answer: str | list[str] | None, choices: Any) -> str | list[str] | None:
    """A ground truth of yes or no in the words of choices that say true and false."""
    words = {str(choice).strip().lower() for choice in choices}
    if words == {"true", "false"} and answer in ("yes", "no"):
        return "true" if answer == "yes" else "false"
    return answer


def _label(cell: Any, default: str) -> str:
    if cell is None:
        return default
    if isinstance(cell, list):
        return ", ".join(_label(one, default) for one in cell) or default
    if is_empty(cell) or str(cell).strip() == "nan":
        return default
    return number_text(cell).strip()
