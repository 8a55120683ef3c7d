"""Which answers the judge gets, and what it is told of each: lists of items, one for each chunk of the questions."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from captionqa.config.judge_config import When
from captionqa.dataset.item_entry import ItemEntry, JudgedFields
from captionqa.dataset.judged_answers import JudgedAnswers, ListIndex, code_digest
from captionqa.dataset.places import question_place
from captionqa.dataset.question_repeats import Repeat, in_order, repeats_of
from captionqa.dataset.question_row import QuestionRow
from captionqa.dataset.repeat_planning import repeated_text
from captionqa.errors import ResultError
from captionqa.external_sort import ExternalSort
from captionqa.files import atomic_writer, json_line, read_json_lines, write_json
from captionqa.grading.choices import LETTERS
from captionqa.reasoning import split_reasoning
from captionqa.results.graded_answers import records_of
from captionqa.results.qa_record import QaRecord

#: What `graded_by` says of several answers together, none of which the record is about.
_OF_SEVERAL = ("tie", "circular")


def is_to_judge(record: QaRecord, when: When) -> bool:
    """Whether an answer is one of those that the judge gets: it has a ground truth, final words, and fits `when`."""
    return _is_wanted(record, when) and bool(_final_words(record))


def write_judge_items(answers: JudgedAnswers, results_path: str, rows_path: str, index_path: str) -> None:
    """Write the lists of the answers that are judged, by the graded results, and then their index.

    Lists of other answers are removed.

    Raises:
        ResultError: the results are damaged, or not of these questions, or another plan was saved since `index_path`
            was named.
    """
    judge, plan = answers.config.judge, answers.plan()
    assert judge is not None, "there is a judge"
    if index_path != answers.index:
        raise ResultError(
            "the questions or their chunks were planned anew since this run began; run the same command again."
        )
    folder, by_image = Path(answers.lists), answers.layout.questions_by_image.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    without_words = 0
    counts = {chunk.number: 0 for chunk in plan.chunks}
    paths = {chunk.number: folder / name for chunk, name in zip(plan.chunks, answers.list_names(), strict=True)}
    with ExternalSort(folder.parent) as items:
        for row, record in _joined(rows_path, results_path):
            if not _is_wanted(record, judge.when):
                continue
            if not (words := _final_words(record)):
                without_words += 1
                continue
            entry = _entry(row, record, words)
            if by_image and len(row["images"]) == 1:
                entry["by_image"] = True
            place = question_place(row["images"], row["id"], by_image)
            items.add((place, row["id"], json_line(entry)))
        for number, members in groupby(items, key=lambda item: plan.chunk_of(item[0])):
            with atomic_writer(paths[number]) as file:
                for _, _, line in members:
                    file.write(line)
                    counts[number] += 1
    for number in (number for number, count in counts.items() if not count):
        with atomic_writer(paths[number]):
            pass
    index: ListIndex = {
        "items": {str(number): count for number, count in counts.items()},
        "code": code_digest(),
        "without_words": without_words,
    }
    write_json(index_path, index)


def _is_wanted(record: QaRecord, when: When) -> bool:
    if record["is_correct"] is None or record["graded_by"] in _OF_SEVERAL:  # the first has no ground truth
        return False
    return when == "always" or (record["gt_letter"] is None if when == "freeform" else not record["is_parsed"])


def _final_words(record: QaRecord) -> str:
    """What follows the reasoning; empty where an answer ended within it."""
    return (split_reasoning(record["model_output"])[1] or "").strip()


def _joined(rows_path: str, results_path: str) -> Iterator[tuple[QuestionRow, QaRecord]]:
    """Each record with its row; both files are sorted by id, and rows without a record are left out."""
    rows: Iterator[QuestionRow] = read_json_lines(rows_path)
    for qid, record in records_of(results_path):
        row = next((row for row in rows if row["id"] == qid), None)
        if row is None:
            raise ResultError(f"{results_path} has {qid!r}, which is no present question; run the same command again.")
        yield row, record


def _entry(row: QuestionRow, record: QaRecord, words: str) -> ItemEntry:
    """The item of an answer. An answer to choices in another order is shown with them as they were asked."""
    repeat = _repeat(row, record)
    choices, letter = record["choices"], record["gt_letter"]
    if repeat.order is not None:
        choices = in_order(choices, repeat.order)
        letter = letter and LETTERS[repeat.order.index(LETTERS.index(letter))]
    judged: JudgedFields = {
        "choices": "\n".join(f"{name}. {choice}" for name, choice in zip(LETTERS, choices, strict=False)),
        "ground_truth": _truth(record["gt_answer"]) if letter is None else _lettered(letter, choices),
        "answer": words,
    }
    question = repeated_text(row["question"], row.get("choices"), repeat)
    return {"id": row["id"], "question": question, "images": row["images"], "stamps": [], "judged": judged}


def _repeat(row: QuestionRow, record: Mapping[str, Any]) -> Repeat:
    """Which of the items of a question its record is the answer of."""
    decided = record.get("decided_by", {"round": 1, "sample": 1})
    wanted = decided["round"], decided["sample"]
    return next(one for one in repeats_of(row["id"], row.get("repeats")) if (one.round, one.sample) == wanted)


def _truth(answer: str | list[str] | None) -> str:
    return " | ".join(dict.fromkeys(answer)) if isinstance(answer, list) else str(answer)


def _lettered(letter: str, choices: list[str]) -> str:
    place = LETTERS.index(letter)
    return f"{letter}. {choices[place]}" if place < len(choices) else letter
