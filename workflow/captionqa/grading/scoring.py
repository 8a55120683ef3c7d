"""Scoring: the rules by which a data set grades, and those of them that give a part of a point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captionqa.config.qa_config import AnswerForm, QaConfig, Scoring
from captionqa.grading.anls import anls
from captionqa.grading.vqa_accuracy import MIN_ANSWERS, vqa_accuracy

#: ChartQA's relaxed accuracy: a number may be off by this share (Masry et al. 2022, Findings of ACL).
RELAXED_TOLERANCE = 0.05
#: Where scores are between 0 and 1, an answer that scores this much counts as correct: that of three of ten people, or
#: a text with one wrong character in ten.
CORRECT_SCORE = 0.9
#: Scorers of an answer's text by the acceptable answers; the other rules compare by value and give 0 or 1.
PARTIAL_SCORERS: Mapping[Scoring, Callable[[str, Sequence[str]], float]] = {"vqa": vqa_accuracy, "anls": anls}


@dataclass(frozen=True)
class GradingRules:
    """How ground truths are read and answers scored: `qa.scoring`, `qa.answer_is` and `qa.relative_tolerance`."""

    scoring: Scoring = "any"
    answer_is: AnswerForm = "auto"
    #: How far a number may be off, as a share of the ground truth.
    relative_tolerance: float = 0

    @classmethod
    def of(cls, qa: QaConfig) -> "GradingRules":
        return cls(qa.scoring, qa.answer_is, qa.relative_tolerance)

    @property
    def tolerance(self) -> float:
        """The tolerance for two numbers, with that of the scoring."""
        return self.relative_tolerance or (RELAXED_TOLERANCE if self.scoring == "relaxed" else 0)

    def fault(self, answers: Sequence[str]) -> str | None:
        """Why these acceptable answers cannot be scored, in a sentence; None where they can."""
        if self.scoring == "vqa" and len(answers) < MIN_ANSWERS:
            return (
                f"The ground truth has {len(answers)} of the {MIN_ANSWERS} or more answers that qa.scoring: vqa needs; "
                "give the column with all people's answers, or set qa.scoring: any."
            )
        return None
