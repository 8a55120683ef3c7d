"""Questions on the page: each question with its answer and grade, or with why it has none, as one record."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import Reason
from captionqa.files import read_json_lines
from captionqa.page.sample import Kind
from captionqa.results.qa_record import QaRecord

#: What became of a question, in the order in which the page shows them.
Status = Literal["wrong", "unparsed", "failed", "right", "ungraded"]
STATUSES: tuple[Status, ...] = ("wrong", "unparsed", "failed", "right", "ungraded")
#: Characters of a text on the page; a longer one is cut there, and says so.
TEXT_CHARACTERS = 20_000
#: Failures whose images are not opened again: one may be too much for the process that decodes it.
IMAGE_FAULTS = (Reason.UNREADABLE_IMAGE, Reason.IMAGE_TOO_LARGE, Reason.MISSING_IMAGE, Reason.PATH_OUTSIDE_DATASET)


class QuestionItem(TypedDict):
    """One question on the page."""

    qid: str
    status: Status
    category: str
    source: str
    #: The rule that read the answer; of a failed question its reason.
    rule: str
    truncated: bool
    #: The text without the choices that are shown below it.
    question: str
    choices: list[str]
    truth: list[str]
    truth_letter: str | None
    letter: str | None
    fallback_letter: str | None
    #: None for a failed question.
    output: str | None
    #: The model's reasoning before the output; absent where it gave none.
    thinking: NotRequired[str]
    score: float | None
    #: Only of a failed question: one sentence on what happened.
    detail: str | None
    images: list[str]
    #: Whether its images are to be shown.
    has_pictures: bool


def question_items(rows_path: str, results_path: str, failures_path: str) -> Iterator[QuestionItem]:
    """Every question of the rows with its record or its failure; all three files are sorted by qid and read in step."""
    records = elements(Path(results_path))
    failures = elements(Path(failures_path))
    record, failure = next(records, None), next(failures, None)
    for row in read_json_lines(rows_path):
        if record is not None and record[2][KEY_COLUMN] == row["id"]:
            yield answered(record[2])  # type: ignore[arg-type]  # the element is the record with its key
            record = next(records, None)
        elif failure is not None and failure[2][KEY_COLUMN] == row["id"]:
            yield failed(row, failure[2]["reason"], failure[2]["detail"])
            failure = next(failures, None)


def question_index(items: Iterable[QuestionItem]) -> dict[str, Any]:
    """What filters and links need of each question, as columns; the items are read once and in order."""
    qids, status, truncated = [], [], []
    columns: dict[str, list[str]] = {"category": [], "source": [], "rule": []}
    for item in items:
        qids.append(item["qid"])
        status.append(item["status"])
        truncated.append(item["truncated"])
        for key, values in columns.items():
            values.append(item[key])  # type: ignore[literal-required]  # the keys are above
    return {
        "qids": qids,
        "status": status,
        "truncated": truncated,
        **{key: numbered(values) for key, values in columns.items()},
    }


def numbered(values: Sequence[str]) -> dict[str, list[Any]]:
    """A column of few different values: these, and of each item the number of its value."""
    names = sorted(set(values))
    numbers = {name: number for number, name in enumerate(names)}
    return {"names": names, "of": [numbers[value] for value in values]}


def kind_of(item: QuestionItem) -> Kind:
    """How a sample sees a question."""
    if item["status"] == "failed":
        return "failed"
    return "wrong" if item["status"] in ("wrong", "unparsed") else "other"


def page_order(item: QuestionItem) -> tuple[int, str]:
    """Wrong answers come first."""
    return STATUSES.index(item["status"]), item["qid"]


def answered(record: QaRecord) -> QuestionItem:
    """A question that has a record."""
    item: QuestionItem = {
        "qid": record["qid"],
        "status": status_of(record),
        "category": record["category"],
        "source": record["source"],
        "rule": record["graded_by"],
        "truncated": record["truncated"],
        "question": cut(without_choices(record["question"], record["choices"])),
        "choices": [cut(choice) for choice in record["choices"]],
        "truth": truths(record["gt_answer"]),
        "truth_letter": record["gt_letter"],
        "letter": record["predicted_letter"],
        "fallback_letter": record.get("fallback_letter"),
        "output": cut(record["model_output"]),
        "score": record["score"],
        "detail": None,
        "images": record["image_paths"],
        "has_pictures": True,
    }
    if thinking := record.get("thinking"):
        item["thinking"] = cut(thinking)
    return item


def failed(row: QuestionRow | InvalidRow, reason: str, detail: str) -> QuestionItem:
    """A question without a result."""
    return {
        "qid": row["id"],
        "status": "failed",
        "category": row["category"],
        "source": row["source"],
        "rule": reason,
        "truncated": False,
        "question": cut(row["question"] or ""),
        "choices": [],
        "truth": truths(row["answer"]),
        "truth_letter": None,
        "letter": None,
        "fallback_letter": None,
        "output": None,
        "score": None,
        "detail": cut(detail),
        "images": row["images"],
        "has_pictures": reason not in IMAGE_FAULTS,
    }


def status_of(record: QaRecord) -> Status:
    """What became of a question that has a record."""
    if record["is_correct"] is None:
        return "ungraded"
    if record["is_correct"]:
        return "right"
    return "wrong" if record.get("is_parsed", True) else "unparsed"


def truths(answer: str | list[str] | None) -> list[str]:
    """The acceptable answers; none where the file keeps them secret."""
    if answer is None:
        return []
    return [answer] if isinstance(answer, str) else list(answer)


def cut(text: str) -> str:
    """A text of at most TEXT_CHARACTERS, with a note where it was longer."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    return f"{text[:TEXT_CHARACTERS]}\n… ({len(text):,} characters; the results file has all of them)"


def without_choices(question: str, choices: list[str]) -> str:
    """A question without the lines that list exactly its choices, which the page shows in a form of its own."""
    lines = question.split("\n")
    for start in range(len(lines) - len(choices) + 1) if choices else ():
        listed = lines[start : start + len(choices)]
        if all(map(_is_choice, listed, map(chr, range(ord("A"), ord("A") + len(choices))), choices)):
            return "\n".join(lines[:start] + lines[start + len(choices) :]).strip()
    return question


def _is_choice(line: str, letter: str, choice: str) -> bool:
    found = re.fullmatch(rf"\s*[(\[]?{letter}[)\].:]+\s*(.*?)\s*", line)
    return found is not None and found[1] == choice.strip()
