"""Graded answers as rows: JSON lines and parquet, one row for each question that has a result."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from captionqa.export.answer_stream import GradedAnswer
from captionqa.export.table import write_jsonl, write_parquet
from captionqa.export.target import Target

#: {column: its type, as `table.TYPES` names it}
COLUMNS = {
    "qid": "text",
    "question": "text",
    "choices": "texts",
    "gt_answers": "texts",
    "gt_letter": "text",
    "output": "text",
    "thinking": "text",
    "predicted_letter": "text",
    "is_correct": "flag",
    "score": "share",
    "rule": "text",
    "is_parsed": "flag",
    "refused": "flag",
    "truncated": "flag",
    "finish_reason": "text",
    "prompt_tokens": "number",
    "completion_tokens": "number",
    "category": "text",
    "source": "text",
    "image_paths": "texts",
    "num_images": "number",
    "fallback_letter": "text",
    "fallback_is_correct": "flag",
    "model": "text",
}
NAME = "answers"


def write_answer_lines(answers: Iterable[GradedAnswer], target: Target) -> None:
    """answers-00000.jsonl and so on."""
    write_jsonl(_rows(answers), target, NAME)


def write_answer_parquet(answers: Iterable[GradedAnswer], target: Target) -> None:
    """answers-00000.parquet and so on."""
    write_parquet(_rows(answers), COLUMNS, target, NAME)


def acceptable_answers(truth: str | list[str] | None) -> list[str]:
    """The ground truth as a list, which is empty where there is none: a column has one type."""
    if truth is None:
        return []
    return [truth] if isinstance(truth, str) else truth


def _rows(answers: Iterable[GradedAnswer]) -> Iterator[Mapping[str, Any]]:
    for graded in answers:
        record, answer = graded.record, graded.answer
        row = {
            **record,
            "gt_answers": acceptable_answers(record["gt_answer"]),
            "output": record["model_output"],
            "rule": record["graded_by"],
            "finish_reason": answer["finish_reason"],
            "prompt_tokens": answer["prompt_tokens"],
            "completion_tokens": answer["completion_tokens"],
            "model": graded.model,
        }
        yield {column: row.get(column) for column in COLUMNS}
