"""Grading by the CaptionQA protocol: 1, 0, or a little more than chance for "cannot answer", by two readers.

What captionqa reads from an output decides `is_correct` and `score`; what the published code reads stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from captionqa.grading.captionqa_rules import CANNOT_ANSWER, cannot_answer_score, published_letter
from captionqa.grading.choices import LETTERS
from captionqa.grading.chosen_letter import chosen_letter
from captionqa.grading.ground_truth import Grade
from captionqa.grading.model_output import without_reasoning
from captionqa.grading.options import Options
from captionqa.grading.refusal import REFUSAL


class PublishedGrade(TypedDict):
    """What the published evaluation code would make of an answer."""

    letter: str | None
    is_correct: bool
    cannot_answer: bool
    score: float


@dataclass(frozen=True)
class CaptionqaTruth:
    """The ground truth of one question, whose options were shuffled."""

    #: As the model saw them, A first.
    options: Sequence[str]
    #: For each option the number of its choice in the file; the highest is that of "cannot answer", if it was added.
    permutation: Sequence[int]
    #: The text of the right choice.
    answer: str

    @property
    def has_cannot_answer(self) -> bool:
        """Whether the question was given the further option, which is the last before shuffling."""
        return self.options[self.permutation.index(len(self.options) - 1)] == CANNOT_ANSWER

    @property
    def choices(self) -> int:
        """How many choices the file gives, which the score of "cannot answer" counts."""
        return len(self.options) - self.has_cannot_answer

    @property
    def letter(self) -> str:
        """The letter of the right choice: of two with the same text the first in the file."""
        right = (
            (number, letter)
            for number, letter, option in zip(self.permutation, LETTERS, self.options, strict=False)
            if option.strip() == self.answer.strip()
        )
        return min(right)[1]

    def grade(self, output: str) -> Grade:
        """Grade an output by the letter that captionqa reads.

        Also of a truncated one: the protocol cuts answers after 4 tokens, since its prompt ends where the letter goes.
        """
        final_text, options = without_reasoning(output), Options(self.options)
        letter, rule = chosen_letter(final_text, options)
        is_refusal = letter is None and final_text is not None and REFUSAL.search(final_text) is not None
        return Grade(letter, letter == self.letter, rule, letter is not None, is_refusal, self._score(letter))

    def published(self, output: str) -> PublishedGrade:
        """Grade an output by the letter that the published code reads."""
        letter = published_letter(output, len(self.options))
        return {
            "letter": letter,
            "is_correct": letter == self.letter,
            "cannot_answer": self.is_cannot_answer(letter),
            "score": self._score(letter),
        }

    def is_cannot_answer(self, letter: str | None) -> bool:
        """Whether a letter is that of "cannot answer"."""
        return letter is not None and self.options[LETTERS.index(letter)] == CANNOT_ANSWER

    def _score(self, letter: str | None) -> float:
        if self.is_cannot_answer(letter):
            return cannot_answer_score(self.choices)
        return float(letter == self.letter)
