"""What the files of a judge say: its grades beside those of the rules, and the figures of both."""

from typing import NotRequired, TypedDict

from captionqa.config.judge_config import When
from captionqa.grading.judge_grade import JudgeGrade
from captionqa.results.agreement import AgreementMetrics


class RulesGrade(TypedDict):
    """The grade of the rules; the keys mean the same as in a QaRecord."""

    predicted_letter: str | None
    is_correct: bool
    score: float | None
    graded_by: str
    is_parsed: bool


class JudgesGrade(TypedDict):
    """The grade of the judge."""

    #: None where its output is none of its grades: the answer is not scored by it.
    grade: JudgeGrade | None
    #: The judge's own words, with the reasoning that it wrote before them.
    output: str
    #: The reasoning that the server's parser took out of them; absent where there is none.
    thinking: NotRequired[str]
    #: Whether the output ended at max_tokens.
    truncated: bool


class JudgedRecord(TypedDict):
    """One entry of a file of judged answers, which is {qid: JudgedRecord}."""

    qid: str
    question: str
    gt_answer: str | list[str] | None
    gt_letter: str | None
    model_output: str
    rules: RulesGrade
    judge: JudgesGrade


class AccuracyFigures(TypedDict):
    """An accuracy."""

    correct: int
    total: int
    #: None without any.
    accuracy: float | None
    #: Wilson's, as [low, high].
    accuracy_interval_95: list[float] | None


class JudgeCounts(AccuracyFigures):
    """What became of the answers that the judge got; `total` are those that it called correct or incorrect."""

    #: The answers that it got: judged + unscored + failed.
    items: int
    #: correct + incorrect.
    judged: int
    incorrect: int
    #: Answers of the judge that are none of its grades.
    unscored: int
    #: Requests without an answer, which are in the failures file.
    failed: int
    #: Answers that it did not get, since they have no final words.
    without_words: int


class CombinedFigures(AccuracyFigures):
    """The accuracy by the rules where they read an answer, and by the judge where they did not."""

    #: How many grades are the judge's.
    graded_by_judge: int


class JudgeMetrics(TypedDict):
    """A file of the judge's metrics."""

    #: The model that answered.
    model: str
    #: As in the metrics of the answers.
    context: NotRequired[str]
    #: The model that judged.
    judge: str
    when: When
    #: `qa.judge.decides`.
    decides: bool
    #: As in the metrics of the answers, which the judge does not change.
    rules: AccuracyFigures
    by_judge: JudgeCounts
    combined: CombinedFigures
    #: Over the answers that the rules read and the judge graded.
    agreement: AgreementMetrics
    #: What is to be known of the judge, a sentence each.
    notes: list[str]
