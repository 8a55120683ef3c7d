"""The grades of many results files side by side, as arrays that a million questions fit in."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionqa.errors import ResultError
from captionqa.files import AnyPath, read_json_object
from captionqa.results.answer_sets import RESULTS_ENDING, AnswerSet

if TYPE_CHECKING:  # numpy takes 0.1 s to import
    import numpy as np
    from numpy.typing import NDArray


class State(IntEnum):
    """What one results file says of a question."""

    ABSENT = 0
    #: It is in the failures file.
    FAILED = 1
    #: It has no ground truth.
    UNGRADED = 2
    GRADED = 3


@dataclass(frozen=True)
class Grades:
    """The grades of one answer set; each array has one entry for each question of the table."""

    #: A `State`.
    state: "NDArray[np.int8]"
    is_correct: "NDArray[np.bool_]"
    #: From 0 to 1.
    score: "NDArray[np.float64]"
    #: A hash of the question's text and its ground truth; 0 where it has no record.
    identity: "NDArray[np.int64]"


@dataclass(frozen=True)
class GradeTable:
    """The grades of all answer sets, question by question. A question has the same number in all arrays."""

    answer_sets: Sequence[AnswerSet]
    #: One for each answer set.
    grades: Sequence[Grades]
    categories: Sequence[str]
    #: The number of each question's category; that of the first record that any file has of it, else -1.
    category: "NDArray[np.int64]"
    #: The number of its list of images, likewise; each question without images has one of its own.
    image: "NDArray[np.int64]"
    truths: Sequence[str]
    #: The number of its ground truth, likewise: of its letter where it has one; -1 where it has none.
    truth: "NDArray[np.int64]"


class _Numbers(defaultdict[str, int]):
    """Numbers texts in the order in which they are first asked for."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]


class _Columns:
    """The grades of one answer set while its files are read."""

    def __init__(self) -> None:
        self.state, self.correct, self.score, self.identity = array("b"), array("b"), array("d"), array("q")

    def reach(self, count: int) -> None:
        """Lengthen the arrays with zeros, so that they have at least `count` entries."""
        for values in (self.state, self.correct, self.score, self.identity):
            _lengthen(values, count, 0)

    def add(self, number: int, record: Mapping[str, Any]) -> None:
        """Note the record of a question, or its failure, which has no `is_correct`."""
        self.reach(number + 1)
        if "is_correct" not in record:
            self.state[number] = State.FAILED
            return
        self.state[number] = State.UNGRADED if record["is_correct"] is None else State.GRADED
        self.correct[number] = bool(record["is_correct"])
        given = record.get("score")  # versions before scores gave none
        self.score[number] = float(bool(record["is_correct"])) if given is None else given
        self.identity[number] = hash((record["question"], str(record["gt_answer"]))) or 1

    def grades(self) -> Grades:
        import numpy as np

        return Grades(
            np.frombuffer(self.state, np.int8),
            np.frombuffer(self.correct, np.bool_),
            np.frombuffer(self.score, np.float64),
            np.frombuffer(self.identity, np.int64),
        )


class _Questions:
    """What the records say of the questions themselves, whichever file says it first."""

    def __init__(self) -> None:
        self.qids, self.categories, self.images, self.truths = _Numbers(), _Numbers(), _Numbers(), _Numbers()
        self.category, self.image, self.truth = array("q"), array("q"), array("q")

    def add(self, qid: str, record: Mapping[str, Any]) -> int:
        """The number of a question; notes what its record says."""
        number = self.qids[qid]
        for values in (self.category, self.image, self.truth):
            _lengthen(values, len(self.qids), -1)
        if "is_correct" in record:
            if self.category[number] < 0:
                self.category[number] = self.categories[record["category"]]
                self.truth[number] = -1 if record["is_correct"] is None else self.truths[_truth(record)]
            if self.image[number] < 0 and (paths := record.get("image_paths")):
                self.image[number] = self.images["\n".join(paths)]
        return number

    def clusters(self) -> "NDArray[np.int64]":
        """The numbers of the lists of images; those of questions without images follow."""
        import numpy as np

        image = np.array(self.image, np.int64)
        alone = image < 0
        image[alone] = len(self.images) + np.arange(alone.sum())
        return image


def read_grades(answer_sets: Sequence[AnswerSet]) -> GradeTable:
    """Read the results and the failures of all answer sets.

    Raises:
        ResultError: a file is missing or is none of results.
    """
    import numpy as np

    questions, columns = _Questions(), []
    for answer_set in answer_sets:
        column = _Columns()
        for qid, record in _records(answer_set):
            column.add(questions.add(qid, record), record)
        columns.append(column)
    for column in columns:
        column.reach(len(questions.qids))
    return GradeTable(
        answer_sets,
        [column.grades() for column in columns],
        list(questions.categories),
        np.array(questions.category, np.int64),
        questions.clusters(),
        list(questions.truths),
        np.array(questions.truth, np.int64),
    )


def _lengthen(values: "array[Any]", count: int, filler: int) -> None:
    if (missing := count - len(values)) > 0:
        values.extend([filler] * missing)


def _truth(record: Mapping[str, Any]) -> str:
    truth = record.get("gt_letter") or record["gt_answer"]
    return truth if isinstance(truth, str) else " | ".join(truth)


def _records(answer_set: AnswerSet) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(qid, record) of each result and each failure, of which the records have no `is_correct`."""
    for path in (Path(answer_set.results), answer_set.failures):
        if not path.is_file():
            if path == answer_set.failures:
                continue
            raise ResultError(
                f"{path} is not there; name results files MODEL_qa{RESULTS_ENDING}, such as a run writes."
            )
        yield from records_of(path)


def records_of(path: AnyPath) -> Iterator[tuple[str, Any]]:
    """(qid, record) of each entry of a file of results or failures; raises ResultError where it is none, or damaged."""
    try:
        yield from read_json_object(path)
    except ValueError as error:
        raise ResultError(
            f"{path} is no file of results or failures as a run writes it: {error}; if a run wrote it, delete it and "
            "run again."
        ) from error
