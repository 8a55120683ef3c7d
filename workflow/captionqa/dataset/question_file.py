"""The question file: a parquet file read as plain rows, each fit to be asked or with a description of what is wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict, TypeVar, final

from captionqa.errors import InputError

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
    #: The text, with the choices inside and `<image>` marks as they are.
    question: str
    #: The ground truth as the file has it, such as `\\boxed{A}`.
    answer: str
    #: Paths relative to qa.dataset_path, in their order; at least one.
    images: list[str]
    #: `UNCATEGORIZED` where the file has none.
    category: str
    #: `UNKNOWN_SOURCE` where the file has none.
    source: str


@final
class InvalidRow(TypedDict):
    """A row that cannot be asked; its fields are those of a `QuestionRow`, and None or [] where the cell is wrong."""

    id: str
    question: str | None
    answer: str | None
    images: list[str]
    category: str
    source: str
    #: One sentence that says what is wrong with which columns.
    invalid: str


class _CellError(Exception):
    """What is wrong with one cell."""


def read_questions(path: Path) -> Iterator[QuestionRow | InvalidRow]:
    """Yield the rows of a parquet file of questions in the order of the file.

    `image` may be a path, a list or an array of paths, or structs with a `path`; `category` and `source` may be
    missing or empty.

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
            columns = [name for name in (*REQUIRED_COLUMNS, "category", "source") if name in names]
            number = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                for raw in batch.to_pylist():
                    yield _row(raw, f"{path}, row {number}")
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error
    if not number:
        raise InputError(f"{path} has no rows; give at least one question.")


def _row(raw: dict[str, Any], where: str) -> QuestionRow | InvalidRow:
    if _is_empty(raw["qid"]):
        raise InputError(f"{where}: the qid is missing.")
    qid = str(raw["qid"])
    faults: list[str] = []
    question = _checked(raw, "question", _text, faults)
    answer = _checked(raw, "answer", _text, faults)
    images = _checked(raw, "image", _images, faults)
    category = _label(raw.get("category"), UNCATEGORIZED)
    source = _label(raw.get("source"), UNKNOWN_SOURCE)
    if question is None or answer is None or images is None:
        return {
            "id": qid,
            "question": question,
            "answer": answer,
            "images": images or [],
            "category": category,
            "source": source,
            "invalid": f"In the question file {' and '.join(faults)}.",
        }
    return {
        "id": qid,
        "question": question,
        "answer": answer,
        "images": images,
        "category": category,
        "source": source,
    }


def _checked(raw: dict[str, Any], column: str, read: Callable[[Any], T], faults: list[str]) -> T | None:
    """A cell as `read` gives it; None, and one more of the `faults`, where the cell is wrong."""
    try:
        return read(raw[column])
    except _CellError as error:
        faults.append(f"the column {column!r} {error}")
        return None


def _text(cell: Any) -> str:
    """A cell as text.

    Raises:
        _CellError: the cell is empty, or neither a text nor a number.
    """
    if _is_empty(cell):
        raise _CellError("is empty")
    if isinstance(cell, list | dict | bytes):
        raise _CellError(f"holds a {type(cell).__name__}, not a text or a number")
    return str(cell)


def _images(cell: Any) -> list[str]:
    """The paths of a question's images.

    Raises:
        _CellError: the cell is empty, or holds anything but paths.
    """
    names = []
    for image in cell if isinstance(cell, list) else [cell]:
        name = image.get("path") or image.get("bytes") or image if isinstance(image, dict) else image
        if _is_empty(name):
            raise _CellError("has an empty path in its list" if isinstance(cell, list) else "is empty")
        if isinstance(name, bytes):
            raise _CellError("holds an image's bytes; images have to be files below qa.dataset_path, given by path")
        if not isinstance(name, str):
            raise _CellError(f"must be a path or a list of paths, not {str(name)[:60]}")
        names.append(name)
    if not names:
        raise _CellError("is empty")
    return names


def _is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: null, NaN or blanks."""
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())


def _label(cell: Any, default: str) -> str:
    if _is_empty(cell) or str(cell).strip() == "nan":
        return default
    if isinstance(cell, float) and cell.is_integer():  # pandas makes floats of integers where cells are missing
        cell = int(cell)
    return str(cell).strip()
