"""A row of a table as a question: its text, ground truth, images and choices, or what is wrong with it."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict, TypeVar, final

from captionqa.dataset.cell import CellError, is_empty
from captionqa.dataset.choices_column import read_choices, shows, with_choices
from captionqa.dataset.field_value import Source, lookup, number_text, value_of
from captionqa.dataset.image_marks import MissingImageError, in_order_of_marks
from captionqa.dataset.question_columns import QuestionColumns
from captionqa.grading.hidden import is_hidden
from captionqa.list_text import texts_of

UNCATEGORIZED = "uncategorized"
UNKNOWN_SOURCE = "unknown"

T = TypeVar("T")


@final
class QuestionRow(TypedDict):
    """A row that can be asked."""

    #: The qid as text.
    id: str
    #: The text, with the choices inside or below and `<image>` marks as they are.
    question: str
    #: The ground truth as the file has it, such as `\\boxed{A}`, or several acceptable answers; None where the file
    #: keeps it secret, so that the answer is not graded.
    answer: str | list[str] | None
    #: References of `image_ref.py` in their order: paths relative to qa.dataset_path, cells with bytes.
    images: list[str]
    #: `UNCATEGORIZED` where the file has none.
    category: str
    #: `UNKNOWN_SOURCE` where the file has none.
    source: str
    #: Only where the file has them in columns of their own: the texts of the choices.
    choices: NotRequired[list[str]]
    #: Only with `choices`: whether they were written below the question, whose own text does not list them.
    choices_added: NotRequired[bool]


@final
class InvalidRow(TypedDict):
    """A row that cannot be asked; its fields are those of a `QuestionRow`, and None or [] where the cell is wrong."""

    id: str
    question: str | None
    answer: str | list[str] | None
    images: list[str]
    category: str
    source: str
    #: One sentence that says what is wrong with which columns.
    invalid: str


def question_row(
    qid: str,
    cells: Mapping[str, Any],
    columns: QuestionColumns,
    classes: Mapping[str, tuple[str, ...]],
    images: Callable[[], list[str | None]],
) -> QuestionRow | InvalidRow:
    """The question of a row; `images` gives its images, and `classes` the names of numbers by column."""
    faults: list[str] = []
    read = _Reader(cells, classes, faults)
    question = read.checked("question", columns.question, _text)
    answer = read.checked("answer", columns.answer, lambda cell: _answer(cell, columns.answer_values))
    slots = read.checked("image", columns.images, lambda _: images())
    choices: list[str] | None = []
    if columns.choices:
        choices = read.checked("choices", columns.choices, lambda _: read_choices(_choice_cells(cells, columns)))
    category = _label(read.value(columns.category), UNCATEGORIZED)
    source = _label(read.value(columns.source), UNKNOWN_SOURCE)
    text = _with_lines_before(question, read, columns) if question is not None else None
    added = bool(choices and text is not None and not columns.choices_in_image and not shows(text, choices))
    if added and text is not None and choices:
        text = with_choices(text, choices)
    placed = [image for image in slots or () if image is not None]
    if text is not None and slots is not None:
        try:
            text, placed = in_order_of_marks(text, slots)
        except MissingImageError as error:
            faults.append(f"the question {error}")
    if text is None or faults:
        return {
            "id": qid,
            "question": text,
            "answer": answer,
            "images": placed,
            "category": category,
            "source": source,
            "invalid": f"In the question file {' and '.join(faults)}.",
        }
    row: QuestionRow = {
        "id": qid,
        "question": text,
        "answer": _as_choice(answer, choices or ()),
        "images": placed,
        "category": category,
        "source": source,
    }
    if choices:
        row["choices"], row["choices_added"] = choices, added
    return row


class _Reader:
    """Reads fields of one row, and notes what is wrong with them."""

    def __init__(self, cells: Mapping[str, Any], classes: Mapping[str, tuple[str, ...]], faults: list[str]):
        self._cells = cells
        self._classes = classes
        self._faults = faults

    def value(self, source: Source) -> Any:
        """A field's value, by its name where it is the number of a class."""
        value = value_of(self._cells, source)
        names = self._classes.get(source, ()) if isinstance(source, str) else ()
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value

    def checked(self, field: str, source: Source, read: Callable[[Any], T]) -> T | None:
        """A field as `read` gives it; None, and one more of the faults, where the cell is wrong."""
        try:
            return read(self.value(source))
        except CellError as error:
            name = source if isinstance(source, str) else field
            if isinstance(source, list) and all(isinstance(one, str) for one in source):
                name = " and ".join(source)
            self._faults.append(f"the column {name!r} {error}" if isinstance(source, str) else f"the column {name} {error}")
            return None


def _with_lines_before(question: str, read: _Reader, columns: QuestionColumns) -> str:
    """The question below its context and hint, where it has them."""
    lines = []
    for what, source in (("Context", columns.context), ("Hint", columns.hint)):
        value = read.value(source)
        if not is_empty(value) and str(value).strip() != "nan":
            lines.append(f"{what}: {str(value).strip()}")
    return "\n".join([*lines, question])


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
    if is_empty(cell):
        raise CellError("is empty")
    if isinstance(cell, list | dict | bytes):
        raise CellError(f"holds a {type(cell).__name__}, not a text or a number")
    return str(cell)


def _answer(cell: Any, values: Mapping[str, str]) -> str | list[str] | None:
    """A ground truth: a text or number, or a list of the acceptable ones; None where the file gives none.

    Raises:
        CellError: the cell holds something else.
    """
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
    text = number_text(cell) if isinstance(cell, float) else _text(cell)
    text = values.get(text, text)
    return None if is_hidden(text) else text


def _as_choice(answer: str | list[str] | None, choices: Any) -> str | list[str] | None:
    """A ground truth of yes or no in the words of choices that say true and false."""
    words = {str(choice).strip().lower() for choice in choices}
    if words == {"true", "false"} and answer in ("yes", "no"):
        return "true" if answer == "yes" else "false"
    return answer


def _label(cell: Any, default: str) -> str:
    if isinstance(cell, list):
        return ", ".join(_label(one, default) for one in cell) or default
    if is_empty(cell) or str(cell).strip() == "nan":
        return default
    return number_text(cell).strip()
