"""A record with its choices as they stood in the request: letters in its output are letters of that order."""

from typing import NamedTuple

from captionqa.dataset.choice_order import text_in_order
from captionqa.dataset.question_repeats import in_order
from captionqa.grading.choices import LETTERS
from captionqa.results.qa_record import QaRecord


class Asked(NamedTuple):
    """What a record says of its question and letters, in the order in which the output's choices were asked."""

    question: str
    choices: list[str]
    truth_letter: str | None
    predicted_letter: str | None


def as_asked(record: QaRecord) -> Asked:
    """The question, choices and letters of a record in the order to which its output is the answer."""
    question, choices = record["question"], record["choices"]
    truth, predicted = record["gt_letter"], record["predicted_letter"]
    if order := _asked_order(record):
        question, choices = text_in_order(question, choices, order) or question, in_order(choices, order)
        truth, predicted = (one and LETTERS[order.index(LETTERS.index(one))] for one in (truth, predicted))
    return Asked(question, choices, truth, predicted)


def _asked_order(record: QaRecord) -> list[int] | None:
    """The order of the choices to which the output of a record is the answer; None for that of the file."""
    decided = record.get("decided_by")
    if decided is None:
        return None
    asked = decided["round"], decided["sample"]
    return next(
        (one.get("permutation") for one in record["rounds"] if (one["round"], one["sample"]) == asked),
        None,
    )
