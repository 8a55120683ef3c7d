"""What results and metrics say of questions that are asked more than once."""

from typing import Literal, NotRequired, TypedDict

#: majority: the record is that of the first answer among the most frequent. tie: two were as frequent, so that none
#: counts. circular: it is right only if it is right in each round. none: no answer could be read.
DecisionRule = Literal["majority", "tie", "circular", "none"]


class RepeatRecord(TypedDict):
    """One answer to a question that is asked more than once; the keys of a QaRecord mean the same."""

    #: From 1.
    round: int
    sample: int
    #: Only where the choices were asked in another order: for each place the number of its choice in `choices`.
    permutation: NotRequired[list[int]]
    #: The seed of the request; None where it had none.
    seed: int | None
    #: In the letters of `choices`, whatever letter the model saw.
    predicted_letter: str | None
    model_output: str
    thinking: NotRequired[str]
    is_correct: bool | None
    score: float | None
    graded_by: str
    is_parsed: bool
    refused: bool
    truncated: bool


class DecidedBy(TypedDict):
    """How the answers to one question became its record."""

    rule: DecisionRule
    #: Which answer the record's output is.
    round: int
    sample: int
    #: {letter, or stated value: answers}.
    votes: dict[str, int]


class AccuracyOf(TypedDict):
    """The accuracy of one round or of one sample."""

    #: Its number, from 1.
    number: int
    questions: int
    #: Right answers; of several answers to a question in one round the share.
    correct: float
    accuracy: float
    #: As [low, high], clustered by image.
    accuracy_interval_95: list[float] | None


class Spread(TypedDict):
    """How far the accuracies of rounds or samples are from each other, over the questions that all of them asked."""

    questions: int
    lowest: float
    highest: float
    #: With n - 1.
    standard_deviation: float


class RepeatMetrics(TypedDict):
    """The figures of questions that are asked more than once, have a ground truth and an answer to each request."""

    questions: int
    #: Requests of all questions that are asked more than once: answered + failed.
    requests: int
    answered_requests: int
    failed_requests: int
    #: By the first answer alone, as a run without repeats would have it.
    first_accuracy: float | None
    #: The mean over questions of the share of their answers that are right.
    mean_accuracy: float | None
    #: As [low, high], clustered by image, with a question's answers as one value.
    mean_accuracy_interval_95: list[float] | None
    #: By the record: majority, or right in each rotation.
    decided_accuracy: float | None
    decided_accuracy_interval_95: list[float] | None
    #: The share of questions all answers to which say the same.
    consistency: float | None
    consistency_interval_95: list[float] | None
    #: Questions of which two answers were as frequent.
    ties: int
    by_round: list[AccuracyOf]
    #: None with less than two rounds, or where no question was asked in all of them.
    spread_over_rounds: Spread | None
    by_sample: list[AccuracyOf]
    spread_over_samples: Spread | None
    #: {k: the share of questions of which one of k answers is right}, by the unbiased estimator of Chen et al. 2021
    #: (arXiv 2107.03374); {} without samples.
    pass_at: dict[str, float]


class WithRepeats(TypedDict):
    #: Only where a question is asked more than once.
    repeats: NotRequired[RepeatMetrics]
