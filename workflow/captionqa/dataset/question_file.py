"""The question file: a parquet as plain rows, each fit to be asked or with what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captionqa.errors import InputError

REQUIRED_COLUMNS = ("qid", "question", "answer", "image")
UNCATEGORIZED = "uncategorized"
UNKNOWN_SOURCE = "unknown"
#: Read at a time, whatever the size of the file's own groups of rows.
BATCH_ROWS = 4096
BUFFER_BYTES = 1024 * 1024
#: In a row that cannot be asked: the sentence that says why.
INVALID = "invalid"


class _CellError(Exception):
    """What is wrong with one cell."""


def read_questions(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a parquet of questions: id, question, answer, images (list), category, source.

    `image` may be a path, a list or an array of paths, or structs with a `path`; `category` and `source` may be
    missing or empty. A row whose question, answer or image is missing or of a wrong type has these as None or [], and
    says why under `invalid`.

    Raises:
        InputError: the file is not a parquet, has no rows or lacks a column, or a qid is missing. That each qid is
            there only once is for the caller to see, who sorts them.
    """
    import pyarrow as pa  # half a second to import; only the planning driver needs it
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"qa.question_path: there is no file {path}; give a parquet of questions.")
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


def _row(raw: dict[str, Any], where: str) -> dict[str, Any]:
    if _is_empty(raw["qid"]):
        raise InputError(f"{where}: the qid is missing.")
    row = {
        "id": str(raw["qid"]),
        "question": None,
        "answer": None,
        "images": [],
        "category": _label(raw.get("category"), UNCATEGORIZED),
        "source": _label(raw.get("source"), UNKNOWN_SOURCE),
    }
    faults = []
    for key, column, read in (
        ("question", "question", _text),
        ("answer", "answer", _text),
        ("images", "image", _images),
    ):
        try:
            row[key] = read(raw[column])
        except _CellError as error:
            faults.append(f"the column {column!r} {error}")
    return row | {INVALID: f"In the question file {' and '.join(faults)}."} if faults else row


def _text(cell: Any) -> str:
    """A cell as text; raises _CellError for what is none."""
    if _is_empty(cell):
        raise _CellError("is empty")
    if isinstance(cell, list | dict | bytes):
        raise _CellError(f"holds a {type(cell).__name__}, not a text or a number")
    return str(cell)


def _images(cell: Any) -> list[str]:
    """The paths of a question's images; raises _CellError for anything else."""
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
    if isinstance(cell, float) and cell.is_integer():  # pandas turns whole numbers with gaps into these
        cell = int(cell)
    return str(cell).strip()
