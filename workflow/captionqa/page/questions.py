"""Questions on the page: each with its answers in all contexts, or with why it has none, as one record."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

from captionqa.config.config import Config
from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.files import read_json_lines
from captionqa.page.answers import IMAGE_FAULTS, MISSED, STATUSES, PageAnswer, cut, failed, given
from captionqa.page.judgements import Judgements
from captionqa.page.sample import Kind
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.failures import Failure
from captionqa.results.qa_record import QaRecord

#: What a column has of a question: its record, why it failed, or nothing yet.
Outcome = QaRecord | Failure | None
#: In a column of statuses: there is no answer yet.
ABSENT = "-"


class QuestionItem(TypedDict):
    """One question on the page."""

    qid: str
    category: str
    source: str
    #: The text without the choices that are shown below it.
    question: str
    choices: list[str]
    truth: list[str]
    truth_letter: str | None
    #: One for each column, in their order; None where the run has not got so far.
    answers: list[PageAnswer | None]
    images: list[str]
    #: Whether its images are to be shown.
    has_pictures: bool


def question_items(
    rows_path: str, answer_sets: Sequence[AnswerSet], judged_by: Config | None = None
) -> Iterator[QuestionItem]:
    """Every question of the rows that an answer set has; all files are sorted by qid and read in step.

    `judged_by` is the configuration of a judge that grades the answers: what it said of them is with them.
    """
    columns = [_Column(one) for one in answer_sets]
    judges = [] if judged_by is None else [Judgements(one, judged_by) for one in answer_sets]
    for row in read_json_lines(rows_path):
        outcomes = [column.take(row["id"]) for column in columns]
        if not any(outcomes):
            continue
        item = question_item(row, outcomes)
        for number, judge in enumerate(judges):
            answer = item["answers"][number]
            judgement = None if judge is None else judge.of(row["id"], outcomes[number])
            if judgement is not None and answer is not None:
                answer["judge"] = judgement
        yield item


def question_item(row: QuestionRow | InvalidRow, outcomes: Sequence[Outcome]) -> QuestionItem:
    """A question by its row and what each column has of it."""
    answers = [_answer(outcome) for outcome in outcomes]
    record: Any = next((each for each in outcomes if each is not None and "is_correct" in each), None)
    faults = {answer["rule"] for answer in answers if answer is not None and answer["status"] == "failed"}
    choices = record["choices"] if record else []
    return {
        "qid": row["id"],
        "category": row["category"],
        "source": row["source"],
        "question": cut(without_choices(record["question"], choices) if record else row["question"] or ""),
        "choices": [cut(choice) for choice in choices],
        "truth": truths(record["gt_answer"] if record else row["answer"]),
        "truth_letter": record["gt_letter"] if record else None,
        "answers": answers,
        "images": row["images"],
        "has_pictures": not faults & set(IMAGE_FAULTS),
    }


class _Column:
    """The records and the failures of one answer set, in the order of the rows."""

    def __init__(self, answers: AnswerSet):
        self._streams = [elements(Path(answers.results)), elements(answers.failures)]
        self._next = [next(stream, None) for stream in self._streams]

    def take(self, qid: str) -> Any:
        for number, found in enumerate(self._next):
            if found is not None and found[2][KEY_COLUMN] == qid:
                self._next[number] = next(self._streams[number], None)
                return found[2]
        return None


def _answer(outcome: Any) -> PageAnswer | None:
    if outcome is None:
        return None
    return given(outcome) if "is_correct" in outcome else failed(outcome["reason"], outcome["detail"])


def question_index(items: Iterable[QuestionItem], columns: int) -> dict[str, Any]:
    """What filters and links need of each question; the items are read once and in order.

    `status` and `truncated` have a text for each column, with a character for each question: the number of its status,
    and whether it is truncated.
    """
    qids: list[str] = []
    groups: dict[str, list[str]] = {"category": [], "source": []}
    status: list[list[str]] = [[] for _ in range(columns)]
    truncated: list[list[str]] = [[] for _ in range(columns)]
    rules: list[list[str]] = [[] for _ in range(columns)]
    for item in items:
        qids.append(item["qid"])
        for key, values in groups.items():
            values.append(item[key])  # type: ignore[literal-required]  # the keys are above
        for number, answer in enumerate(item["answers"]):
            status[number].append(_digit(answer))
            truncated[number].append(str(int(answer is not None and answer["truncated"])))
            rules[number].append("" if answer is None else answer["rule"])
    rule = numbered([name for column in rules for name in column])
    return {
        "qids": qids,
        "status": ["".join(column) for column in status],
        "truncated": ["".join(column) for column in truncated],
        **{key: numbered(values) for key, values in groups.items()},
        "rule": {
            "names": rule["names"],
            "of": [rule["of"][len(qids) * number : len(qids) * (number + 1)] for number in range(columns)],
        },
    }


class AnswerCounts:
    """Counts what became of the questions in each column, and in all of them together."""

    def __init__(self, columns: int):
        self._truncated = [0] * columns
        #: {the status of one question in each column: such questions}.
        self._patterns: Counter[tuple[str, ...]] = Counter()

    def add(self, item: QuestionItem) -> None:
        self._patterns[tuple(map(_digit, item["answers"]))] += 1
        for number, answer in enumerate(item["answers"]):
            self._truncated[number] += answer is not None and answer["truncated"]

    def column(self, number: int) -> dict[str, int]:
        """{all, each status, truncated: questions} of a column."""
        counts: Counter[str] = Counter()
        for pattern, questions in self._patterns.items():
            if pattern[number] != ABSENT:
                counts.update({"all": questions, STATUSES[int(pattern[number])]: questions})
        return {**counts, "truncated": self._truncated[number]}

    def patterns(self) -> list[tuple[str, int]]:
        """[(a digit for each column, questions)]: the number of a status, as in `question_index`."""
        return [("".join(pattern), questions) for pattern, questions in self._patterns.items()]


def numbered(values: Sequence[str]) -> dict[str, list[Any]]:
    """A column of few different values: these, and of each item the number of its value."""
    names = sorted(set(values))
    numbers = {name: number for number, name in enumerate(names)}
    return {"names": names, "of": [numbers[value] for value in values]}


def kind_of(item: QuestionItem) -> Kind:
    """How a sample sees a question: whether it failed in any column, else by its first answer."""
    statuses = [answer["status"] for answer in item["answers"] if answer is not None]
    if "failed" in statuses:
        return "failed"
    return "wrong" if statuses[0] in MISSED else "other"


def page_order(item: QuestionItem) -> tuple[str, str]:
    """Wrong answers of the first column come first; those that are not there yet come last."""
    return _digit(item["answers"][0]).replace(ABSENT, "~"), item["qid"]


def truths(answer: str | list[str] | None) -> list[str]:
    """The acceptable answers; none where the file keeps them secret."""
    if answer is None:
        return []
    return [answer] if isinstance(answer, str) else list(answer)


def without_choices(question: str, choices: list[str]) -> str:
    """A question without the lines that list exactly its choices, which the page shows in a form of its own."""
    lines = question.split("\n")
    for start in range(len(lines) - len(choices) + 1) if choices else ():
        listed = lines[start : start + len(choices)]
        if all(map(_is_choice, listed, map(chr, range(ord("A"), ord("A") + len(choices))), choices)):
            return "\n".join(lines[:start] + lines[start + len(choices) :]).strip()
    return question


def _is_choice(line: str, letter: str, choice: str) -> bool:
    found = re.fullmatch(rf"\s*[(\[]?{letter}[)\].:]+\s*(.*?)\s*", line)
    return found is not None and found[1] == choice.strip()


def _digit(answer: PageAnswer | None) -> str:
    return ABSENT if answer is None else str(STATUSES.index(answer["status"]))
