"""The records of comparison.json."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

#: (model, captioner, context, data set), as in `AnswerSet.key`.
Key = tuple[str, str | None, str, str]
#: Why a data set is not in an average: no answered question has a ground truth, the model was not asked them in this
#: context, or no answer has a grade. Of the latter two there is no average over the other data sets.
LeftOutReason = Literal["no_ground_truth", "not_asked", "nothing_graded"]


class Estimate(TypedDict):
    """What some questions were answered like in one context."""

    #: All questions that the results and the failures name.
    questions: int
    #: Those that count below: answered, and with a ground truth.
    graded: int
    #: The lists of images that these are about; a question without images counts as one.
    images: int
    failed: int
    #: Answered, and without a ground truth.
    ungraded: int
    correct: int
    #: correct / graded; None where nothing is graded.
    accuracy: float | None
    #: As [low, high], clustered by image.
    accuracy_interval_95: list[float] | None
    #: Only where some score is neither 0 nor 1.
    mean_score: NotRequired[float | None]
    mean_score_interval_95: NotRequired[list[float] | None]


class Captioned(TypedDict, total=False):
    #: Of captions: the model that made them, only where another one answers from them.
    captioner: str


class OfDataSet(TypedDict, total=False):
    #: The name of the data set, only where the configuration names its data sets.
    data_set: str


class Cell(Estimate, Captioned, OfDataSet):
    """One model in one context, on one data set."""

    model: str
    context: str
    #: Its results file, which has the questions by qid.
    results: str
    #: {category: estimate}.
    categories: dict[str, Estimate]


class Tested(TypedDict):
    """A mean difference on the same questions, and whether it may be chance."""

    #: Mean A minus mean B.
    difference: float
    #: As [low, high], clustered by image.
    interval_95: list[float]
    #: Of accuracies McNemar's exact test, of scores a sign-flip test, as if all questions were independent.
    p: float
    #: Corrected by Holm for the number of differences, or where it is of a category for those of all categories.
    p_holm: float
    #: Of a sign-flip test in which all questions on one image turn together.
    p_by_image: float
    p_by_image_holm: float


class PairedDifference(Tested):
    """The difference of two cells, of accuracies."""

    #: Answered in both, and with a ground truth.
    questions: int
    images: int
    both_correct: int
    only_a_correct: int
    only_b_correct: int
    neither_correct: int
    #: The same of the scores; None where all are 0 or 1.
    scores: Tested | None


class LeftOut(TypedDict):
    """How many questions a difference leaves out; one that failed in both counts in both."""

    failed_in_a: int
    failed_in_b: int
    only_in_a: int
    only_in_b: int
    ungraded: int
    another_question_or_ground_truth: int


class ComparedWith(TypedDict, total=False):
    #: The model of B, only where it is another one.
    model_b: str
    #: The model that made its captions, as `captioner`, which is that of A.
    captioner_b: str


class Difference(PairedDifference, Captioned, ComparedWith, OfDataSet):
    """Cell A minus cell B on one data set: two contexts of one model, or two models."""

    #: The model of A.
    model: str
    #: The context of A, and that of B.
    a: str
    b: str
    #: The command that lists by qid the questions that one of the two alone got right, and those left out.
    list_questions: str
    left_out: LeftOut
    #: {category: difference}.
    categories: dict[str, PairedDifference]


class MajorityAnswer(TypedDict):
    """What always giving the most frequent ground truth would score."""

    answer: str
    share: float
    #: As [low, high], clustered by image.
    interval_95: list[float] | None
    questions: int


class MajorityAnswers(TypedDict):
    """The majority answers of one data set."""

    #: None where no question has a ground truth.
    majority_answer: MajorityAnswer | None
    #: {category: its own majority answer}.
    category_majority_answers: dict[str, MajorityAnswer]


class Averaged(TypedDict):
    """What an average over data sets is about; each has the weight 1."""

    #: The names of the data sets that it averages.
    data_sets: list[str]
    #: {name of another data set of the run: why it is not averaged}.
    not_averaged: dict[str, LeftOutReason]


class MacroAverage(Averaged, Captioned):
    """The mean of the accuracies of one model in one context over the data sets."""

    model: str
    context: str
    #: None where a data set is missing that has a ground truth.
    accuracy: float | None
    #: As [low, high], by MOVER from the intervals of the cells.
    accuracy_interval_95: list[float] | None
    #: Only where a cell of some data set has a mean score.
    mean_score: NotRequired[float | None]
    mean_score_interval_95: NotRequired[list[float] | None]


class MacroDifference(Averaged, Captioned, ComparedWith):
    """The mean of the paired differences of two models or contexts over the data sets."""

    #: The model of A.
    model: str
    #: The context of A, and that of B.
    a: str
    b: str
    #: None where a data set is missing, as in `MacroAverage`.
    difference: float | None
    #: As [low, high], by MOVER from the intervals of the differences.
    interval_95: list[float] | None


class Comparison(TypedDict):
    """The file comparison.json."""

    cells: list[Cell]
    differences: list[Difference]
    #: These two only where the data sets have no names.
    majority_answer: NotRequired[MajorityAnswer | None]
    #: {category: its own majority answer}.
    category_majority_answers: NotRequired[dict[str, MajorityAnswer]]
    #: Only where they have names: {name of a data set: the same of it}.
    data_sets: NotRequired[dict[str, MajorityAnswers]]
    #: Only with more than one data set.
    macro_averages: NotRequired[list[MacroAverage]]
    macro_differences: NotRequired[list[MacroDifference]]


def cell_key(cell: Mapping[str, Any]) -> Key:
    """What a cell is of."""
    return cell["model"], cell.get("captioner"), cell["context"], cell.get("data_set", "")


def difference_keys(difference: Mapping[str, Any]) -> tuple[Key, Key]:
    """What the cells A and B of a difference are of."""
    of, data_set = difference, difference.get("data_set", "")
    a = (of["model"], of.get("captioner"), of["a"], data_set)
    return a, (of.get("model_b", of["model"]), of.get("captioner_b"), of["b"], data_set)


def answered_by(model: str, captioner: str | None) -> str:
    """A model as a person reads it, with the one that made the captions where that is another one."""
    return model if captioner is None else f"{model} with {captioner}"
