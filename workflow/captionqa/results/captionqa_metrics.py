"""The figures of the CaptionQA protocol: those of the published code and captionqa's own, side by side.

The published code gives a question without an answer 0 points; captionqa's figures leave it out and count it. It reads
letters as `captionqa_rules.published_letter` does; captionqa's figures count the letters that it reads itself.
"""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NotRequired, TypedDict

from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.grading.captionqa_rules import CANNOT_ANSWER, cannot_answer_score, has_yes_and_no
from captionqa.results.score_statistics import bootstrap_interval

if TYPE_CHECKING:
    from captionqa.results.qa_record import QaRecord

#: Stands in a category of the data set between its main category and the rest.
SEPARATOR = " - "


class PublishedFigures(TypedDict):
    """As the published code counts."""

    #: With those that failed, but for those that the protocol leaves out.
    questions: int
    #: The mean; the leaderboard's figure is 100 times this.
    score: float
    accuracy: float
    cannot_answer_rate: float


class OwnFigures(PublishedFigures):
    """As captionqa counts; `questions` are those that have an answer."""

    #: A bootstrap interval as [low, high]; None without questions.
    score_interval_95: list[float] | None
    #: The score if "cannot answer" counted among the choices of which a guess takes one.
    score_with_one_more_choice: float


class Figures(TypedDict):
    """Of one group of questions."""

    published: PublishedFigures
    own: OwnFigures
    failed: int


class ProtocolMetrics(Figures):
    """The key `captionqa` of a metrics file."""

    #: Questions without the option "cannot answer", since the published rule takes them for yes/no.
    yes_no: int
    #: Those of them without a choice "yes" and a choice "no", such as `Is it red or blue?`.
    yes_no_without_yes_and_no: int
    #: Answers of which the two readers read another letter.
    read_differently: int
    #: {domain: figures}; the preset captionqa has the domain as source.
    domains: dict[str, Figures]
    #: {main category: figures}, such as Attribute.
    main_categories: dict[str, Figures]
    #: {category: figures}, such as Attribute - Color.
    categories: dict[str, Figures]


class WithProtocol(TypedDict):
    #: Only with qa.protocol.
    captionqa: NotRequired[ProtocolMetrics]


class _Group:
    """Counts the questions of one group."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        #: {score: questions} by captionqa's letters; by the published ones; and by captionqa's with one more choice.
        self.own: Counter[float] = Counter()
        self.published: Counter[float] = Counter()
        self.one_more: Counter[float] = Counter()

    def figures(self) -> Figures:
        answered, failed = self.counts["answered"], self.counts["failed"]
        return {
            "published": {
                "questions": answered + failed,
                "score": _mean(self.published, answered + failed),
                "accuracy": _share(self.counts["published correct"], answered + failed),
                "cannot_answer_rate": _share(self.counts["published cannot"], answered + failed),
            },
            "own": {
                "questions": answered,
                "score": _mean(self.own, answered),
                "accuracy": _share(self.counts["own correct"], answered),
                "cannot_answer_rate": _share(self.counts["own cannot"], answered),
                "score_interval_95": bootstrap_interval(self.own),
                "score_with_one_more_choice": _mean(self.one_more, answered),
            },
            "failed": failed,
        }


class ProtocolTally:
    """Counts questions of the protocol one by one; `metrics` gives the figures, None where there were none."""

    def __init__(self) -> None:
        self._total = _Group()
        self._domains: dict[str, _Group] = defaultdict(_Group)
        self._main: dict[str, _Group] = defaultdict(_Group)
        self._categories: dict[str, _Group] = defaultdict(_Group)
        self._counts: Counter[str] = Counter()

    def add_record(self, record: "QaRecord") -> None:
        """Count an answer; one to a question that was not asked by the protocol changes nothing."""
        if "published" not in record or record["score"] is None:
            return
        published, score = record["published"], record["score"]
        choices = record["choices"]
        flags = ["answered"] + ["own correct"] * bool(record["is_correct"]) + ["own cannot"] * record["cannot_answer"]
        flags += ["published correct"] * published["is_correct"] + ["published cannot"] * published["cannot_answer"]
        # "cannot answer" is one of the record's choices, where it was added
        one_more = cannot_answer_score(len(choices)) if record["cannot_answer"] else score
        for group in self._groups(record["source"], record["category"]):
            group.counts.update(flags)
            group.own[score] += 1
            group.published[published["score"]] += 1
            group.one_more[one_more] += 1
        is_yes_no = CANNOT_ANSWER not in choices
        self._counts["yes/no"] += is_yes_no
        self._counts["without yes and no"] += is_yes_no and not has_yes_and_no(choices)
        self._counts["read differently"] += published["letter"] != record["predicted_letter"]

    def add_failure(self, row: QuestionRow | InvalidRow) -> None:
        """Count a question without an answer; one that the protocol leaves out changes nothing."""
        if "permutation" in row:
            for group in self._groups(row["source"], row["category"]):
                group.counts["failed"] += 1

    def metrics(self) -> ProtocolMetrics | None:
        if not self._total.counts:
            return None
        return {
            **self._total.figures(),
            "yes_no": self._counts["yes/no"],
            "yes_no_without_yes_and_no": self._counts["without yes and no"],
            "read_differently": self._counts["read differently"],
            "domains": _all_figures(self._domains),
            "main_categories": _all_figures(self._main),
            "categories": _all_figures(self._categories),
        }

    def _groups(self, domain: str, category: str) -> tuple[_Group, ...]:
        main = category.partition(SEPARATOR)[0]
        return self._total, self._domains[domain], self._main[main], self._categories[category]


def _all_figures(groups: dict[str, _Group]) -> dict[str, Figures]:
    return {name: groups[name].figures() for name in sorted(groups)}


def _mean(scores: Counter[float], count: int) -> float:
    return sum(score * times for score, times in scores.items()) / count if count else 0.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
