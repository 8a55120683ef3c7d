"""The graded answers as exports take them: each record of the QA results with the answer that it was read from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionqa.client.answer import Answer
from captionqa.client.chunk_result import ChunkResults
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.dataset.question_repeats import repeat_id
from captionqa.errors import ResultError
from captionqa.results.qa_record import QaRecord


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """One answered question."""

    model: str
    record: QaRecord
    answer: Answer


def graded_answers(results: str, chunks: Sequence[str], settings: AnswerSettings) -> Iterator[GradedAnswer]:
    """Yield the records of a results file in their order, with their answers: memory does not grow with their number.

    Raises:
        ResultError: the results file is damaged, or has a question that no chunk result answers.
    """
    lines = ChunkResults(chunks, settings).lines()
    for record in _records(results):
        shown = record.get("decided_by")
        item = record["qid"] if shown is None else repeat_id(record["qid"], shown["round"], shown["sample"])
        line = next((line for line in lines if line["id"] == item), None)
        if line is None or "answer" not in line:
            raise ResultError(
                f"{results}: the question {record['qid']!r} is in no chunk result; delete it and run again."
            )
        yield GradedAnswer(settings["model"], record, line["answer"])


def _records(results: str) -> Iterator[QaRecord]:
    try:
        for _, _, record in elements(Path(results)):
            record.pop(KEY_COLUMN, None)
            yield record  # type: ignore[misc]  # as `merge_qa` writes them
    except (OSError, ValueError) as error:
        raise ResultError(f"{results} cannot be read: {error}; delete it and run again.") from error
