"""The raw responses: what the server answered to each question, before any grading."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from captionqa.client.chunk_result import ResultLine
from captionqa.dataset.question_repeats import question_of, repeat_of
from captionqa.export.table import write_jsonl
from captionqa.export.target import Target


def write_responses(lines: Iterable[ResultLine], target: Target) -> None:
    """responses-00000.jsonl and so on; `lines` are those of the chunk results that have an answer."""
    write_jsonl(map(_row, lines), target, "responses")


def answered_lines(lines: Iterable[ResultLine]) -> Iterator[ResultLine]:
    """The lines that have an answer."""
    return (line for line in lines if "answer" in line)


def _row(line: ResultLine) -> Mapping[str, Any]:
    row: dict[str, Any] = {"qid": question_of(line["id"])}
    if line["id"] != row["qid"]:
        row["round"], row["sample"] = repeat_of(line["id"])
    row |= _named(dict(line["answer"]))
    if "same_as" in line:
        row["same_as"] = line["same_as"]
    if "fallback" in line:
        row["fallback"] = _named(dict(line["fallback"]))
    return row


def _named(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer, or a failure, with its text called as in the other exports."""
    return {"output": answer.pop("text"), **answer} if "text" in answer else answer
