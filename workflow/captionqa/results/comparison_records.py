"""The records of comparison.json."""

from typing import NotRequired, TypedDict


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


class Cell(Estimate, Captioned):
    """One model in one context."""

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


class Difference(PairedDifference, Captioned, ComparedWith):
    """Cell A minus cell B: two contexts of one model, or two models."""

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


class Comparison(TypedDict):
    """The file comparison.json."""

    cells: list[Cell]
    differences: list[Difference]
    #: None where no question has a ground truth.
    majority_answer: MajorityAnswer | None
    #: {category: its own majority answer}.
    category_majority_answers: dict[str, MajorityAnswer]
