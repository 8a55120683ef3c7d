"""Metrics: counts, accuracies, mean scores and their 95 % intervals over graded questions."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from captionqa.config.qa_config import AnswerForm, Scoring
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.reasoning import split_reasoning
from captionqa.results.captionqa_metrics import WithProtocol
from captionqa.results.repeat_records import WithRepeats
from captionqa.results.score_statistics import bootstrap_interval
from captionqa.results.statistics import wilson_interval

if TYPE_CHECKING:
    from captionqa.results.qa_record import QaRecord


class ScoreMetrics(TypedDict):
    """The scores of some questions; a question that failed scores 0."""

    #: The mean over all of them.
    mean_score: float
    #: As [low, high]: Wilson's interval where all scores are 0 or 1, else a bootstrap interval; None without questions.
    mean_score_interval_95: list[float] | None


class GroupMetrics(ScoreMetrics):
    """The metrics of one category or one source."""

    #: Questions, with those that failed.
    total: int
    #: Those without a ground truth.
    ungraded: int
    correct: int
    #: correct / (total - ungraded); 0 where nothing is graded.
    accuracy: float
    #: Wilson's interval as [low, high]; None where nothing is graded.
    accuracy_interval_95: list[float] | None
    #: Answers from which no letter or value could be read.
    unparsed: int
    #: Answers that ended at max_tokens.
    truncated: int
    #: Answers that are a refusal.
    refused: int
    #: Questions without a result.
    failed: int


class AccuracyMetrics(ScoreMetrics):
    """The metrics over all questions; a question that failed counts as wrong unless a key says otherwise."""

    #: All questions, with those that failed.
    total_questions: int
    #: Questions without a ground truth, which no accuracy counts.
    ungraded_questions: int
    correct_answers: int
    #: correct_answers / (total_questions - ungraded_questions); 0 where nothing is graded.
    overall_accuracy: float
    overall_accuracy_interval_95: list[float] | None
    #: Questions that have a result.
    answered_questions: int
    #: The same over the questions that have a result.
    accuracy_over_answered: float
    accuracy_over_answered_interval_95: list[float] | None
    unparsed_answers: int
    truncated_answers: int
    refused_answers: int
    failed_questions: int
    #: {failure reason: questions}.
    failures_by_reason: dict[str, int]
    #: {grading rule: answers that it read}.
    graded_by: dict[str, int]
    #: {category: metrics}.
    category_metrics: dict[str, GroupMetrics]
    #: {source: metrics}.
    source_metrics: dict[str, GroupMetrics]


class FallbackMetrics(TypedDict):
    """What the fallback, a second request for the letter alone, would change; no other metric counts its letters."""

    #: Answers that committed to no option, so that the letter was asked for.
    asked: int
    #: Fallbacks that gave a letter of the options.
    answered: int
    correct: int
    #: The accuracy over all questions, if the fallback's letters counted.
    overall_accuracy_with_fallback: float
    overall_accuracy_with_fallback_interval_95: list[float] | None


class WithFallback(TypedDict):
    #: Only with qa.fallback.
    fallback: NotRequired[FallbackMetrics]


class ThinkingMetrics(TypedDict):
    """The reasoning before answers."""

    #: Answers with reasoning before them.
    answers: int
    #: Of these, the ones that ended within it.
    unfinished: int
    characters: int
    mean_characters: float


class WithThinking(TypedDict):
    #: Only where an answer has reasoning before it.
    thinking: NotRequired[ThinkingMetrics]


class InContext(TypedDict):
    #: As in the records: absent for images.
    context: NotRequired[str]


class QaMetrics(AccuracyMetrics, WithFallback, WithProtocol, WithRepeats, WithThinking, InContext):
    """A QA metrics file."""

    #: The model's name in the configuration.
    model: str
    #: qa.scoring and qa.answer_is.
    scoring: Scoring
    answer_is: AnswerForm
    #: How far a number might be off: qa.relative_tolerance, or that of the scoring.
    relative_tolerance: float
    question_path: str | Sequence[str]
    dataset_path: str
    #: The server of the first answer; None where there is no answer.
    server_url: str | None


class Tally:
    """Counts graded and failed questions one by one; `metrics` gives the totals."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._groups: dict[str, dict[str, Counter[str]]] = {
            "category": defaultdict(Counter),
            "source": defaultdict(Counter),
        }
        self._scores: Counter[float] = Counter()
        #: {(kind of group, group): scores}.
        self._group_scores: dict[tuple[str, str], Counter[float]] = defaultdict(Counter)
        self._rules: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._thinking: Counter[str] = Counter()

    def add_record(self, record: "QaRecord") -> None:
        """Count a question that has a result."""
        flags = ["total", "answered"] + ["ungraded"] * (record["is_correct"] is None)
        flags += ["correct"] * bool(record["is_correct"]) + ["unparsed"] * (not record["is_parsed"])
        flags += ["truncated"] * record["truncated"] + ["refused"] * record["refused"]
        if "fallback_letter" in record:
            flags += ["fallback asked"] + ["fallback answered"] * (record["fallback_letter"] is not None)
            flags += ["fallback correct"] * record["fallback_is_correct"]
        self._count(record["category"], record["source"], flags, record["score"])
        self._rules[record["graded_by"]] += 1
        if thinking := record.get("thinking"):
            self._thinking["answers"] += 1
            self._thinking["unfinished"] += not split_reasoning(record["model_output"])[1]
            self._thinking["characters"] += len(thinking)

    def add_failure(self, row: QuestionRow | InvalidRow, reason: str) -> None:
        """Count a question without a result, which is wrong where it has a ground truth."""
        is_ungraded = "invalid" not in row and row["answer"] is None
        flags = ["total", "failed"] + ["ungraded", "failed ungraded"] * is_ungraded
        self._count(row["category"], row["source"], flags, None if is_ungraded else 0.0)
        self._reasons[reason] += 1

    def metrics(self) -> AccuracyMetrics:
        total = self._total
        graded = total["total"] - total["ungraded"]
        answered = total["answered"] - (total["ungraded"] - total["failed ungraded"])
        return {
            "total_questions": total["total"],
            "ungraded_questions": total["ungraded"],
            "correct_answers": total["correct"],
            "overall_accuracy": _fraction(total["correct"], graded),
            "overall_accuracy_interval_95": wilson_interval(total["correct"], graded),
            **_score_metrics(self._scores),
            "answered_questions": total["answered"],
            "accuracy_over_answered": _fraction(total["correct"], answered),
            "accuracy_over_answered_interval_95": wilson_interval(total["correct"], answered),
            "unparsed_answers": total["unparsed"],
            "truncated_answers": total["truncated"],
            "refused_answers": total["refused"],
            "failed_questions": total["failed"],
            "failures_by_reason": dict(sorted(self._reasons.items())),
            "graded_by": dict(sorted(self._rules.items())),
            "category_metrics": self._group_metrics("category"),
            "source_metrics": self._group_metrics("source"),
        }

    def thinking_metrics(self) -> WithThinking:
        """The figures of reasoning; empty where no answer has any."""
        counts = self._thinking
        if not counts["answers"]:
            return {}
        return {
            "thinking": {
                "answers": counts["answers"],
                "unfinished": counts["unfinished"],
                "characters": counts["characters"],
                "mean_characters": counts["characters"] / counts["answers"],
            }
        }

    def fallback_metrics(self) -> FallbackMetrics:
        total = self._total
        correct = total["correct"] + total["fallback correct"]
        return {
            "asked": total["fallback asked"],
            "answered": total["fallback answered"],
            "correct": total["fallback correct"],
            "overall_accuracy_with_fallback": _fraction(correct, total["total"] - total["ungraded"]),
            "overall_accuracy_with_fallback_interval_95": wilson_interval(correct, total["total"] - total["ungraded"]),
        }

    def _count(self, category: str, source: str, flags: list[str], score: float | None) -> None:
        self._total.update(flags)
        groups = (("category", category), ("source", source))
        for kind, group in groups:
            self._groups[kind][group].update(flags)
        if score is not None:
            self._scores[score] += 1
            for key in groups:
                self._group_scores[key][score] += 1

    def _group_metrics(self, kind: str) -> dict[str, GroupMetrics]:
        return {
            name: {
                "total": counts["total"],
                "ungraded": counts["ungraded"],
                "correct": counts["correct"],
                "accuracy": _fraction(counts["correct"], counts["total"] - counts["ungraded"]),
                "accuracy_interval_95": wilson_interval(counts["correct"], counts["total"] - counts["ungraded"]),
                **_score_metrics(self._group_scores[kind, name]),
                "unparsed": counts["unparsed"],
                "truncated": counts["truncated"],
                "refused": counts["refused"],
                "failed": counts["failed"],
            }
            for name, counts in sorted(self._groups[kind].items())
        }


def _score_metrics(scores: Counter[float]) -> ScoreMetrics:
    total = scores.total()
    mean = sum(score * count for score, count in scores.items()) / total if total else 0.0
    is_partial = not scores.keys() <= {0.0, 1.0}
    interval = bootstrap_interval(scores) if is_partial else wilson_interval(scores[1.0], total)
    return {"mean_score": mean, "mean_score_interval_95": interval}


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
