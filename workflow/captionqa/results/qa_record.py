"""The result record of one question: its answer, graded by its row of the question file."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from captionqa.client.chunk_result import ResultLine
from captionqa.client.final_text import split_answer
from captionqa.dataset.question_repeats import in_order
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import ItemFailure, Reason
from captionqa.grading.captionqa_grade import CaptionqaTruth, PublishedGrade
from captionqa.grading.choices import LETTERS, lettered_choices
from captionqa.grading.ground_truth import Grade, GroundTruth, extract_answer
from captionqa.grading.scoring import GradingRules
from captionqa.results.repeat_records import DecidedBy, RepeatRecord

#: What `graded_by` says of an answer to a question without a ground truth.
UNGRADED = "ungraded"


class QaRecord(TypedDict):
    """One entry of a QA results file, which is {qid: QaRecord}."""

    qid: str
    #: The text with the choices inside.
    question: str
    #: The texts of the choices, A first; empty for a free-form question.
    choices: list[str]
    #: The ground truth as the question file has it; a list where it gives several acceptable answers,
    #: and None where it gives none.
    gt_answer: str | list[str] | None
    #: The letter that the ground truth names; None for a free-form one.
    gt_letter: str | None
    #: The letter that the output commits to; None where it commits to none, or the question is free-form.
    predicted_letter: str | None
    #: The model's own words, with the reasoning that it wrote before them.
    model_output: str
    #: That reasoning, or what the server's parser took out as such, which is not graded; absent where there is none.
    thinking: NotRequired[str]
    #: None without a ground truth.
    is_correct: bool | None
    #: The part of a point that the answer gets, from 0 to 1; by most rules of qa.scoring 0 or 1. None as above.
    score: float | None
    category: str
    source: str
    #: Relative to qa.dataset_path.
    image_paths: list[str]
    num_images: int
    #: The rule that read the output: box, cue, letter, option text, verify, vqa, anls, none or ungraded. Where several
    #: answers to the question are as frequent tie, and where not all rotations have the same one circular.
    graded_by: str
    #: Whether a letter or value could be read from the output; with circular, from that of each rotation.
    is_parsed: bool
    #: Whether an output that could not be read is a refusal.
    refused: bool
    #: Whether the output ended at max_tokens.
    truncated: bool
    #: Only where the fallback was asked: the letter that it gave, or None.
    fallback_letter: NotRequired[str | None]
    fallback_is_correct: NotRequired[bool]
    #: Only with qa.protocol: as in `QuestionRow`, what the answer is by the published code, and whether it is "cannot
    #: answer".
    permutation: NotRequired[list[int]]
    published: NotRequired[PublishedGrade]
    cannot_answer: NotRequired[bool]
    #: What it was asked with in place of its images, such as none or caption_short; absent where with its images.
    context: NotRequired[str]
    #: Only of a question that is asked more than once: each of its answers, and how these decide.
    rounds: NotRequired[list[RepeatRecord]]
    decided_by: NotRequired[DecidedBy]


def qa_record(
    row: QuestionRow | InvalidRow, line: ResultLine, rules: GradingRules, order: Sequence[int] | None = None
) -> QaRecord:
    """Grade one question by its line in a chunk result, which an invalid row has none of.

    Where it was asked with its choices in another `order`, letters are those of the row's own order all the same.

    Raises:
        ItemFailure: the question has no result: its row is invalid, its request failed or its ground truth cannot be
            graded.
    """
    if "invalid" in row:
        raise ItemFailure(Reason.INVALID_QUESTION, row["invalid"])
    if "failure" in line:
        raise ItemFailure(Reason(line["failure"]), line["detail"])
    record = _graded(row, line, rules, order)
    thinking, _ = split_answer(line["answer"])
    if thinking:
        record["thinking"] = thinking
    return record


def _graded(row: QuestionRow, line: ResultLine, rules: GradingRules, order: Sequence[int] | None) -> QaRecord:
    """The record of an answered question, with all of the answer's text as its output; raises as `qa_record`."""
    answer, choices = line["answer"], row.get("choices") or lettered_choices(row["question"])
    truncated = answer["finish_reason"] == "length"
    if row["answer"] is None:
        return _ungraded(row, answer["text"], choices, truncated, order)
    if "permutation" in row:
        return _by_protocol(row, answer["text"], choices, row["permutation"], truncated, order)
    truth = GroundTruth.read(row["answer"], choices, rules)
    if truth.fault:
        raise ItemFailure(Reason.UNGRADABLE_GROUND_TRUTH, truth.fault)
    asked = truth if order is None else truth.with_choices(in_order(choices, order), _asked_letter(truth.letter, order))
    graded = asked.grade(answer["text"], truncated)
    record = _record(row, answer["text"], choices, truth.letter, graded, truncated, order)
    if truth.letter and not graded.parsed and "fallback" in line:
        reply = line["fallback"]
        # a server that does not know structured outputs may answer anything
        fallback = asked.grade("" if "failure" in reply else reply["text"])
        record["fallback_letter"] = _letter_in_row(fallback.predicted_letter, order)
        record["fallback_is_correct"] = fallback.is_correct
    return record


def _by_protocol(
    row: QuestionRow,
    output: str,
    choices: list[str],
    permutation: list[int],
    truncated: bool,
    order: Sequence[int] | None,
) -> QaRecord:
    """The record of a question that was asked by the CaptionQA protocol."""
    asked = choices if order is None else in_order(choices, order)
    truth = CaptionqaTruth(asked, permutation if order is None else in_order(permutation, order), str(row["answer"]))
    graded = truth.grade(output)
    record = _record(row, output, choices, _letter_in_row(truth.letter, order), graded, truncated, order)
    record["permutation"] = permutation
    published = truth.published(output)
    record["published"] = {**published, "letter": _letter_in_row(published["letter"], order)}
    record["cannot_answer"] = truth.is_cannot_answer(graded.predicted_letter)
    return record


def _asked_letter(letter: str | None, order: Sequence[int]) -> str | None:
    """The letter that a choice of the row has where the choices are asked in another order."""
    return None if letter is None else LETTERS[order.index(LETTERS.index(letter))]


def _letter_in_row(letter: str | None, order: Sequence[int] | None) -> str | None:
    """The letter that a choice has in the row, by the one that it had where the choices were in another order."""
    return letter if letter is None or order is None else LETTERS[order[LETTERS.index(letter)]]


def _record(
    row: QuestionRow,
    output: str,
    choices: list[str],
    truth_letter: str | None,
    graded: Grade,
    truncated: bool,
    order: Sequence[int] | None,
) -> QaRecord:
    """The record of a graded answer."""
    return {
        "qid": row["id"],
        "question": row["question"],
        "choices": choices,
        "gt_answer": row["answer"],
        "gt_letter": truth_letter,
        "predicted_letter": _letter_in_row(graded.predicted_letter, order),
        "model_output": output,
        "is_correct": graded.is_correct,
        "score": graded.score,
        "category": row["category"],
        "source": row["source"],
        "image_paths": row["images"],
        "num_images": len(row["images"]),
        "graded_by": graded.rule,
        "is_parsed": graded.parsed,
        "refused": graded.refused,
        "truncated": truncated,
    }


def _ungraded(
    row: QuestionRow, output: str, choices: list[str], truncated: bool, order: Sequence[int] | None
) -> QaRecord:
    """The record of a question whose ground truth the file keeps secret."""
    asked = choices if order is None else in_order(choices, order)
    letter = _letter_in_row(extract_answer(output, asked, truncated), order) if choices else None
    return {
        "qid": row["id"],
        "question": row["question"],
        "choices": choices,
        "gt_answer": None,
        "gt_letter": None,
        "predicted_letter": letter,
        "model_output": output,
        "is_correct": None,
        "score": None,
        "category": row["category"],
        "source": row["source"],
        "image_paths": row["images"],
        "num_images": len(row["images"]),
        "graded_by": UNGRADED,
        "is_parsed": letter is not None or not choices,
        "refused": False,
        "truncated": truncated,
    }
