"""Agreement of two graders on the same answers: Cohen's kappa."""

from dataclasses import dataclass
from typing import TypedDict


class AgreementMetrics(TypedDict):
    """How far the rules and the judge agree, over the answers that both graded."""

    n: int
    both_correct: int
    only_rules: int
    only_judge: int
    both_incorrect: int
    #: The share of answers with the same grade; None without any.
    agreement: float | None
    #: None where it is not defined: without an answer, or where both gave all answers the same grade.
    cohens_kappa: float | None


@dataclass
class Agreement:
    """Counts answers that two graders called correct or incorrect."""

    both_correct: int = 0
    only_rules: int = 0
    only_judge: int = 0
    both_incorrect: int = 0

    def add(self, by_rules: bool, by_judge: bool) -> None:
        if by_rules:
            self.both_correct += by_judge
            self.only_rules += not by_judge
        else:
            self.only_judge += by_judge
            self.both_incorrect += not by_judge

    @property
    def n(self) -> int:
        return self.both_correct + self.only_rules + self.only_judge + self.both_incorrect

    def metrics(self) -> AgreementMetrics:
        return {
            "n": self.n,
            "both_correct": self.both_correct,
            "only_rules": self.only_rules,
            "only_judge": self.only_judge,
            "both_incorrect": self.both_incorrect,
            "agreement": (self.both_correct + self.both_incorrect) / self.n if self.n else None,
            "cohens_kappa": self.kappa(),
        }

    def kappa(self) -> float | None:
        """Cohen 1960, Educational and Psychological Measurement 20, 37-46; None where it is not defined."""
        n = self.n
        rules, judge = self.both_correct + self.only_rules, self.both_correct + self.only_judge
        # both in answers squared, so that 1 - expected is exactly 0 where it should be
        expected = rules * judge + (n - rules) * (n - judge)
        observed = n * (self.both_correct + self.both_incorrect)
        return (observed - expected) / (n * n - expected) if n * n > expected else None
