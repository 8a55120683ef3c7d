"""The question file: a parquet file read as plain rows, each fit to be asked or with a description of what is wrong."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar, final

from captionqa.config.config import ColumnsConfig
from captionqa.dataset.cell import CellError, is_empty
from captionqa.dataset.choices_column import NAMES, read_choices, shows, with_choices
from captionqa.errors import InputError
from captionqa.list_text import texts_of

#: A file without columns for choices.
NO_COLUMNS = ColumnsConfig(choices=None)
REQUIRED_COLUMNS = ("qid", "question", "answer", "image")
UNCATEGORIZED = "uncategorized"
UNKNOWN_SOURCE = "unknown"
#: Rows in memory at a time, whatever the size of the file's own row groups.
BATCH_ROWS = 4096
BUFFER_BYTES = 1024 * 1024

T = TypeVar("T")


@final
class QuestionRow(TypedDict):
    """A row that can be asked."""

    #: The qid as text.
    id: str
    #: The text, with the choices inside or below and `<image>` marks as they are.
    question: str
    #: The ground truth as the file has it, such as `\\boxed{A}`, or several acceptable answers.
    answer: str | list[str]
    #: Paths relative to qa.dataset_path, in their order; at least one.
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


def read_questions(path: Path, wanted: ColumnsConfig = NO_COLUMNS) -> Iterator[QuestionRow | InvalidRow]:
    """Yield the rows of a parquet file of questions in the order of the file.

    `image` may be a path, a list or an array of paths, or structs with a `path`; `category` and `source` may be
    missing or empty. The choices of `wanted` columns are written below each question that does not list them itself.

    Raises:
        InputError: the file is not a parquet file, has no rows or lacks a column, or a qid is missing. Duplicate qids
            are not noticed here, since rows are read one batch at a time.
    """
    # takes half a second to import, and only the planning driver needs it; pyarrow has no type stubs
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    if not path.is_file():
        raise InputError(f"qa.question_path: there is no file {path}; give a parquet file of questions.")
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            missing = [name for name in REQUIRED_COLUMNS if name not in names]
            if missing:
                raise InputError(
                    f"{path} has no column {', '.join(missing)}; it needs {', '.join(REQUIRED_COLUMNS)} and has "
                    f"{', '.join(names)}."
                )
            choices = choices_columns(path, names, wanted)
            columns = [name for name in (*REQUIRED_COLUMNS, "category", "source", *choices) if name in names]
            number = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(columns))):
                for raw in batch.to_pylist():
                    yield _row(raw, choices, f"{path}, row {number}")
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error
    if not number:
        raise InputError(f"{path} has no rows; give at least one question.")


def choices_columns(path: Path, names: Sequence[str], wanted: ColumnsConfig) -> list[str]:
    """The columns of the file that hold choices, by the configuration or by their name; none where it has none.

    Raises:
        InputError: a configured column is missing, or two columns could be meant.
    """
    if wanted.choices is None:
        return []
    if wanted.choices == "auto":
        found = [name for name in NAMES if name in names]
        if len(found) > 1:
            raise InputError(
                f"{path} has the columns {' and '.join(found)}; name the one with the choices in qa.columns.choices, "
                "or set it to null where the choices are in the questions' text."
            )
        return found
    columns = [wanted.choices] if isinstance(wanted.choices, str) else list(wanted.choices)
    if missing := [name for name in columns if name not in names]:
        raise InputError(f"qa.columns.choices: {path} has no column {', '.join(missing)}; it has {', '.join(names)}.")
    return columns


def _row(raw: dict[str, Any], choices_columns: Sequence[str], where: str) -> QuestionRow | InvalidRow:
    if is_empty(raw["qid"]):
        raise InputError(f"{where}: the qid is missing.")
    qid = str(raw["qid"])
    faults: list[str] = []
    question = _checked(raw, "question", _text, faults)
    answer = _checked(raw, "answer", _answer, faults)
    images = _checked(raw, "image", _images, faults)
    choices: list[str] | None = []
    if choices_columns:
        cells = {"choices": [raw[name] for name in choices_columns]}
        choices = _checked(cells, "choices", read_choices, faults, " and ".join(choices_columns))
    category = _label(raw.get("category"), UNCATEGORIZED)
    source = _label(raw.get("source"), UNKNOWN_SOURCE)
    if question is None or answer is None or images is None or choices is None:
        return {
            "id": qid,
            "question": question,
            "answer": answer,
            "images": images or [],
            "category": category,
            "source": source,
            "invalid": f"In the question file {' and '.join(faults)}.",
        }
    row: QuestionRow = {
        "id": qid,
        "question": question,
        "answer": answer,
        "images": images,
        "category": category,
        "source": source,
    }
    if choices:
        row["choices"], row["choices_added"] = choices, not shows(question, choices)
        if row["choices_added"]:
            row["question"] = with_choices(question, choices)
    return row


def _checked(raw: dict[str, Any], column: str, read: Callable[[Any], T], faults: list[str], name: str = "") -> T | None:
    """A cell as `read` gives it; None, and one more of the `faults`, where the cell is wrong."""
    try:
        return read(raw[column])
    except CellError as error:
        faults.append(f"the column {name or column!r} {error}")
        return None


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


def _answer(cell: Any) -> str | list[str]:
    """A ground truth: a text or number, or a list of the acceptable ones.

    Raises:
        CellError: the cell is empty, or neither of these.
    """
    if is_empty(cell):
        raise CellError("is empty")
    if not isinstance(cell, list):
        return _text(cell)
    try:
        answers = texts_of(cell)
    except ValueError as error:
        raise CellError(str(error)) from None
    if not answers:
        raise CellError("holds an empty list")
    return answers[0] if len(answers) == 1 else answers


def _images(cell: Any) -> list[str]:
    """The paths of a question's images.

    Raises:
        CellError: the cell is empty, or holds anything but paths.
    """
    names = []
    for image in cell if isinstance(cell, list) else [cell]:
        name = image.get("path") or image.get("bytes") or image if isinstance(image, dict) else image
        if is_empty(name):
            raise CellError("has an empty path in its list" if isinstance(cell, list) else "is empty")
        if isinstance(name, bytes):
            raise CellError("holds an image's bytes; images have to be files below qa.dataset_path, given by path")
        if not isinstance(name, str):
            raise CellError(f"must be a path or a list of paths, not {str(name)[:60]}")
        names.append(name)
    if not names:
        raise CellError("is empty")
    return names


def _label(cell: Any, default: str) -> str:
    if is_empty(cell) or str(cell).strip() == "nan":
        return default
    if isinstance(cell, float) and cell.is_integer():  # pandas makes floats of integers where cells are missing
        cell = int(cell)
    return str(cell).strip()
