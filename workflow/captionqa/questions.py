"""Questions: a parquet of them as plain rows, and the choices inside a question's text."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captionqa.errors import InputError

REQUIRED_COLUMNS = ("qid", "question", "answer", "image")
UNCATEGORIZED = "uncategorized"
UNKNOWN_SOURCE = "unknown"
LETTERS = "ABCDEFGHIJ"
_INLINE = re.compile(r"(?:(?<=\s)|^)\(([A-Ja-j])\)\s*")
#: What follows the last choice and is no part of it: an empty line, or a line that tells how to answer.
_AFTER_CHOICES = re.compile(
    r"\n\s*\n|\n\s*(?:answer|please|choose|select|respond|reply|give|note|hint)\b", re.IGNORECASE
)
_LINE = re.compile(r"^[ \t]*(?:\(([A-Ja-j])\)|([A-Ja-j])[.):])[ \t]+(?=\S)", re.MULTILINE)


def read_questions(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet of questions: qid, question, answer, images (list), category, source.

    `image` may be a string, a list or an array of strings; `category` and `source` may be missing or empty.

    Raises:
        InputError: the file is not a parquet, or a column, a value or a qid is missing, wrong or there twice.
    """
    import pyarrow as pa  # half a second to import; only the planning driver needs it
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"qa.question_path: there is no file {path}; give a parquet of questions.")
    try:
        names = pq.read_schema(path).names
        missing = [name for name in REQUIRED_COLUMNS if name not in names]
        if missing:
            raise InputError(
                f"{path} has no column {', '.join(missing)}; it needs {', '.join(REQUIRED_COLUMNS)} and has "
                f"{', '.join(names)}."
            )
        columns = [name for name in (*REQUIRED_COLUMNS, "category", "source") if name in names]
        table = pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows; give at least one question.")
    rows, seen = [], set()
    for number, raw in enumerate(table.to_pylist()):
        row = _row(raw, f"{path}, row {number}")
        if row["id"] in seen:
            raise InputError(f"{path}: the qid {row['id']!r} is there twice; each question needs its own.")
        seen.add(row["id"])
        rows.append(row)
    return rows


def parse_choices(question: str) -> list[str]:
    """The choices inside a question's text, in order; an empty list where there are none.

    Reads `A. x`, `A) x`, `A: x` and `(A) x`, one a line, and `(A) x (B) y` within a line. Letters must start at A and
    follow one another, so that a point or a figure of that name is not taken for a choice.
    """
    for pattern in (_LINE, _INLINE):
        found = list(pattern.finditer(question))
        for first in range(len(found) - 1, -1, -1):
            if _letter(found[first]) == "A" and (choices := _run(question, found[first:])):
                return choices
    return []


def _run(question: str, found: Sequence[re.Match]) -> list[str]:
    """The texts of a run of matches as long as their letters are A, B, C ...; none for a run of one."""
    run = []
    for match in found:
        if len(run) == len(LETTERS) or _letter(match) != LETTERS[len(run)]:
            break
        run.append(match)
    if len(run) < 2:
        return []
    after = _AFTER_CHOICES.search(question, run[-1].end())
    ends = [match.start() for match in run[1:]] + [after.start() if after else len(question)]
    return [question[match.end() : end].strip() for match, end in zip(run, ends, strict=True)]


def _letter(match: re.Match) -> str:
    return next(group for group in match.groups() if group).upper()


def _row(raw: dict[str, Any], where: str) -> dict[str, Any]:
    qid = raw["qid"]
    if qid is None or str(qid) == "":
        raise InputError(f"{where}: the qid is missing.")
    for column in ("question", "answer"):
        if raw[column] is None or not str(raw[column]).strip():
            raise InputError(f"{where} (qid {qid}): the column {column!r} is empty.")
    images = raw["image"]
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not all(isinstance(name, str) and name for name in images):
        raise InputError(f"{where} (qid {qid}): image must be a path or a list of paths, not {raw['image']!r}.")
    return {
        "id": str(qid),
        "question": str(raw["question"]),
        "answer": str(raw["answer"]),
        "images": list(images),
        "category": _label(raw.get("category"), UNCATEGORIZED),
        "source": _label(raw.get("source"), UNKNOWN_SOURCE),
    }


def _label(value: Any, default: str) -> str:
    text = "" if value is None else str(value).strip()
    return default if text in ("", "nan") else text
