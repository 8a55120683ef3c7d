"""One answer on the page: what a question got in one context and how it is graded, or why it got none."""

from typing import Literal, NotRequired, TypedDict

from captionqa.dataset.question_repeats import in_order
from captionqa.errors import Reason
from captionqa.grading.choices import LETTERS
from captionqa.grading.judge_grade import JudgeGrade
from captionqa.reasoning import split_reasoning
from captionqa.results.qa_record import QaRecord
from captionqa.results.repeat_records import DecisionRule, RepeatRecord

#: What became of a question, in the order in which the page shows them.
Status = Literal["wrong", "tie", "inconsistent", "unparsed", "failed", "right", "ungraded"]
STATUSES: tuple[Status, ...] = ("wrong", "tie", "inconsistent", "unparsed", "failed", "right", "ungraded")
#: Those of answers that are not right, as the selects of two contexts and a sample see them.
MISSED: tuple[Status, ...] = ("wrong", "tie", "inconsistent", "unparsed")
#: Characters of a text on the page; a longer one is cut there, and says so.
TEXT_CHARACTERS = 20_000
#: The same of each answer to a question that is asked more than once.
ROUND_CHARACTERS = 2_000
#: Failures whose images are not opened again: one may be too much for the process that decodes it.
IMAGE_FAULTS = (Reason.UNREADABLE_IMAGE, Reason.IMAGE_TOO_LARGE, Reason.MISSING_IMAGE, Reason.PATH_OUTSIDE_DATASET)


class PageRound(TypedDict):
    """One answer to a question that is asked more than once."""

    round: int
    sample: int
    #: The letters of the choices in the order in which they were asked, such as CAB; None in the order of the file.
    order: str | None
    status: Status
    #: As in the file's order.
    letter: str | None
    truncated: bool
    output: str


class PageJudgement(TypedDict):
    """What a judge made of one answer."""

    #: None where its words are none of its grades, and where it gave no answer.
    grade: JudgeGrade | None
    #: Its words; None where it gave no answer.
    output: str | None
    #: Its reasoning before them; absent where it gave none.
    thinking: NotRequired[str]
    truncated: bool
    #: Only where it gave no answer: the failure reason, and one sentence on what happened.
    reason: NotRequired[str]
    detail: NotRequired[str]


class PageAnswer(TypedDict):
    """An answer, or why there is none."""

    status: Status
    letter: str | None
    fallback_letter: str | None
    #: The rule that read the answer; of a failed question its reason.
    rule: str
    truncated: bool
    #: None for a failed question.
    output: str | None
    #: The model's reasoning before the output; absent where it gave none.
    thinking: NotRequired[str]
    score: float | None
    #: Only of a failed question: one sentence on what happened.
    detail: str | None
    #: Only where the question was asked with captions: that of each image, in their order; None for one without.
    captions: NotRequired[list[str | None]]
    #: Only of a question that is asked more than once: its answers, what decides, and how often each was given.
    rounds: NotRequired[list[PageRound]]
    #: Where the choices of the output were asked in another order than the file's: the order, as in its round.
    order: NotRequired[str]
    decided_by: NotRequired[DecisionRule]
    votes: NotRequired[dict[str, int]]
    #: Only where a judge got the answer.
    judge: NotRequired[PageJudgement]


def given(record: QaRecord) -> PageAnswer:
    """The answer of a record, which may be of a version that noted less."""
    answer: PageAnswer = {
        "status": status_of(record),
        "letter": record["predicted_letter"],
        "fallback_letter": record.get("fallback_letter"),
        "rule": record.get("graded_by", ""),
        "truncated": record.get("truncated", False),
        "output": cut(split_reasoning(record.get("model_output", ""))[1] or ""),
        "score": record.get("score"),
        "detail": None,
    }
    if thinking := record.get("thinking"):
        answer["thinking"] = cut(thinking)
    if "rounds" in record:
        answer["rounds"] = [_round(one) for one in record["rounds"]]
        decided = record["decided_by"]
        answer["decided_by"], answer["votes"] = decided["rule"], decided["votes"]
        for one in answer["rounds"]:
            if one["order"] and (one["round"], one["sample"]) == (decided["round"], decided["sample"]):
                answer["order"] = one["order"]
    return answer


def _round(one: RepeatRecord) -> PageRound:
    order = one.get("permutation")
    return {
        "round": one["round"],
        "sample": one["sample"],
        "order": None if order is None else "".join(in_order(LETTERS, order)),
        "status": status_of(one),
        "letter": one["predicted_letter"],
        "truncated": one["truncated"],
        "output": cut(split_reasoning(one["model_output"])[1] or "", ROUND_CHARACTERS),
    }


def failed(reason: str, detail: str) -> PageAnswer:
    """What stands for the answer of a failed question."""
    return {
        "status": "failed",
        "letter": None,
        "fallback_letter": None,
        "rule": reason,
        "truncated": False,
        "output": None,
        "score": None,
        "detail": cut(detail),
    }


def status_of(record: QaRecord | RepeatRecord) -> Status:
    """What became of a question that has a record, or of one answer to it."""
    if record["is_correct"] is None:
        return "ungraded"
    if record["is_correct"]:
        return "right"
    rule = record.get("graded_by")
    if rule == "tie":  # an earlier version took it for unparsed
        return "tie"
    if not record.get("is_parsed", True):
        return "unparsed"
    return "inconsistent" if rule == "circular" else "wrong"


def cut(text: str, characters: int = TEXT_CHARACTERS) -> str:
    """A text of at most so many characters, with a note where it was longer."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]}\n… ({len(text):,} characters; the results file has all of them)"
