"""The figures of questions that are asked more than once: accuracies, consistency, spread and pass@k.

The answers to one question are not independent of each other, nor are questions on one image: intervals are of one
value per question, clustered by image.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import comb
from typing import TYPE_CHECKING

from captionqa.results.clustered_statistics import mean_interval
from captionqa.results.qa_record import QaRecord
from captionqa.results.repeat_records import AccuracyOf, RepeatMetrics, RepeatRecord, Spread

if TYPE_CHECKING:  # numpy takes 0.1 s to import
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]


def pass_at_k(answers: int, correct: int, k: int) -> float:
    """The chance that one of k answers is right, of `answers` of which so many are right.

    The unbiased estimator of Chen et al. 2021, Evaluating Large Language Models Trained on Code, equation 1.
    """
    return 1 - comb(answers - correct, k) / comb(answers, k)


class RepeatTally:
    """Collects the questions that are asked more than once, one by one."""

    def __init__(self) -> None:
        self._is_repeated = False
        self._answered = self._failed = self._ties = 0
        #: By question.
        self._first, self._mean, self._decided, self._consistent = array("d"), array("d"), array("d"), array("d")
        self._image = array("q")
        self._images: dict[str, int] = {}
        #: {k: by question}.
        self._passes: dict[int, array[float]] = defaultdict(lambda: array("d"))
        self._rounds, self._samples = _Series(), _Series()

    def add_failure(self, answered: int, failed: int, has_truth: bool) -> None:
        """Count the items of a question without a record; none of them failed where the ground truth is at fault."""
        self._is_repeated = True
        if failed and has_truth:
            self._answered += answered
            self._failed += failed

    def add_record(self, record: QaRecord) -> None:
        """Count a question, unless it was asked once or has no ground truth."""
        if "rounds" not in record:
            return
        self._is_repeated = True
        if record["is_correct"] is None:
            return
        self._answered += len(record["rounds"])
        rounds, decided_by, question = record["rounds"], record["decided_by"], len(self._mean)
        right = [float(bool(one["is_correct"])) for one in rounds]
        self._image.append(self._cluster(record["image_paths"]))
        self._first.append(right[0])
        self._mean.append(sum(right) / len(right))
        self._decided.append(float(bool(record["is_correct"])))
        self._consistent.append(float(list(decided_by["votes"].values()) == [len(rounds)]))
        self._ties += decided_by["rule"] == "tie"
        by_round: dict[int, list[float]] = defaultdict(list)
        by_sample: dict[int, list[float]] = defaultdict(list)
        for one, is_right in zip(rounds, right, strict=True):
            by_round[one["round"]].append(is_right)
            by_sample[one["sample"]].append(is_right)
        self._rounds.add(question, by_round)
        self._samples.add(question, by_sample)
        self._add_passes(rounds, by_round.values())

    def metrics(self) -> RepeatMetrics | None:
        """The figures; None where no question is asked more than once."""
        if not self._is_repeated:
            return None
        import numpy as np

        clusters = np.array(self._image, np.int64)
        first, mean, decided, consistent = (
            np.array(values) for values in (self._first, self._mean, self._decided, self._consistent)
        )
        return {
            "questions": len(mean),
            "requests": self._answered + self._failed,
            "answered_requests": self._answered,
            "failed_requests": self._failed,
            "first_accuracy": _mean(first),
            "mean_accuracy": _mean(mean),
            "mean_accuracy_interval_95": mean_interval(mean, clusters),
            "decided_accuracy": _mean(decided),
            "decided_accuracy_interval_95": mean_interval(decided, clusters),
            "consistency": _mean(consistent),
            "consistency_interval_95": mean_interval(consistent, clusters),
            "ties": self._ties,
            "by_round": self._rounds.accuracies(clusters),
            "spread_over_rounds": self._rounds.spread(),
            "by_sample": self._samples.accuracies(clusters),
            "spread_over_samples": self._samples.spread(),
            "pass_at": {str(k): sum(values) / len(values) for k, values in sorted(self._passes.items())},
        }

    def _add_passes(self, rounds: Sequence[RepeatRecord], by_round: Iterable[Sequence[float]]) -> None:
        """Note pass@k of a question: of the samples in each order of its choices, and the mean over the orders."""
        samples = max(one["sample"] for one in rounds)
        if samples == 1:
            return
        groups = list(by_round)
        for k in range(1, samples + 1):
            self._passes[k].append(sum(pass_at_k(samples, int(sum(each)), k) for each in groups) / len(groups))

    def _cluster(self, images: Sequence[str]) -> int:
        """The number of a list of images; a question without images has one of its own."""
        key = "\n".join(images) or f"\0{len(self._image)}"
        return self._images.setdefault(key, len(self._images))


class _Series:
    """The shares of right answers of each round, or of each sample."""

    def __init__(self) -> None:
        #: {number: (questions, their shares)}.
        self._of: dict[int, tuple[array[int], array[float]]] = defaultdict(lambda: (array("q"), array("d")))

    def add(self, question: int, shares: dict[int, list[float]]) -> None:
        for number, right in shares.items():
            questions, values = self._of[number]
            questions.append(question)
            values.append(sum(right) / len(right))

    def accuracies(self, clusters: "Numbers") -> list[AccuracyOf]:
        import numpy as np

        made: list[AccuracyOf] = []
        for number, (questions, values) in sorted(self._of.items()):
            shares, at = np.array(values), np.array(questions, np.int64)
            made.append(
                {
                    "number": number,
                    "questions": len(shares),
                    "correct": round(float(shares.sum()), 6),
                    "accuracy": float(shares.mean()),
                    "accuracy_interval_95": mean_interval(shares, clusters[at]),
                }
            )
        return made

    def spread(self) -> Spread | None:
        import numpy as np

        if len(self._of) < 2:
            return None
        shares = [dict(zip(questions, values, strict=True)) for questions, values in self._of.values()]
        in_all = set.intersection(*(set(each) for each in shares))
        if not in_all:
            return None
        means = np.array([sum(each[question] for question in in_all) / len(in_all) for each in shares])
        return {
            "questions": len(in_all),
            "lowest": float(means.min()),
            "highest": float(means.max()),
            "standard_deviation": float(means.std(ddof=1)),
        }


def _mean(values: "Floats") -> float | None:
    return float(values.mean()) if len(values) else None
