r"""Grading: whether what a model's words commit to is the ground truth.

The rules are tried in a fixed order: the last balanced \boxed{...}, the last explicit cue ("answer is", "Answer:"), a
message that is only a letter, the one option whose text appears. An output that none of them reads is unparsed; the
answer is never guessed. A ground truth may be a list of acceptable answers, of which any is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from captionqa.config.qa_config import AnswerForm, Scoring
from captionqa.grading.acceptable_answers import acceptable_answers
from captionqa.grading.chosen_letter import LetterRule, chosen_letter
from captionqa.grading.hidden import is_hidden
from captionqa.grading.model_output import without_reasoning
from captionqa.grading.options import Options
from captionqa.grading.plain_text import plain_text
from captionqa.grading.refusal import REFUSAL
from captionqa.grading.same_answer import same_answer, says_it_verbatim
from captionqa.grading.scoring import CORRECT_SCORE, PARTIAL_SCORERS, GradingRules
from captionqa.grading.stated_value import stated_value
from captionqa.grading.truth_letter import LetterOrFault, indexed_letter, named_letter

#: What decided a grade: a rule that found a letter, "verify" for a comparison of values, a scorer of texts, or "none".
Rule = Literal[LetterRule, "verify", "vqa", "anls"]

#: The letter of an option that is in the image: A, (A), A.
_OPTION_LETTER = re.compile(r"\s*\(?([A-Ja-j])[).]?\s*")
#: Stands in for options that are in the image and not in the question's text.
_UNLISTED_OPTIONS = Options([""] * 10)


@dataclass(frozen=True)
class Grade:
    """How one answer was graded."""

    #: The letter that the output commits to; None where there is none, and for a comparison of values.
    predicted_letter: str | None
    is_correct: bool
    rule: Rule
    #: Whether the output commits to a letter or a value.
    parsed: bool
    #: Whether the output commits to none and reads as a refusal.
    refused: bool
    #: From 0 to 1, where the scoring gives parts of a point; None where it gives all or nothing.
    partial_score: float | None = None

    @property
    def score(self) -> float:
        """The part of a point that the answer gets."""
        return float(self.is_correct) if self.partial_score is None else self.partial_score


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of one question, read once for all that is asked about it."""

    #: The acceptable answers without their boxes.
    answers: tuple[str, ...]
    #: The question's choices, prepared for looking them up.
    options: Options
    #: The letter of `\\boxed{A}`, `A`, an index, or an option's text or value; None for a free-form ground truth.
    letter: str | None
    #: The letters where the question's text lists no choices, since they are in the image; none for any other truth.
    unlisted_letters: frozenset[str]
    #: Why no output could be graded against it, in a sentence; None where it can be.
    fault: str | None
    rules: GradingRules

    @classmethod
    def read(
        cls, answer: str | Sequence[str], choices: Sequence[str], rules: GradingRules | None = None
    ) -> "GroundTruth":
        """Read a ground truth as the question file gives it; `choices` are those that the question lists."""
        rules, options = rules or GradingRules(), Options(choices)
        answers = tuple(acceptable_answers(answer, rules))
        texts = [plain_text(text).strip() for text in answers]
        letter, fault = _letter(answer, texts, options, rules)
        unlisted = frozenset[str]()
        if not choices and fault is None:
            fault = rules.fault(answers)
            matches = map(_OPTION_LETTER.fullmatch, texts if rules.answer_is != "text" else ())
            unlisted = frozenset(match[1].upper() for match in matches if match)
        return cls(answers, options, letter, unlisted, fault, rules)

    def with_choices(self, choices: Sequence[str], letter: str | None) -> "GroundTruth":
        """The same for a question with its choices in another order, in which the right one has this letter."""
        return replace(self, options=Options(choices), letter=letter)

    def grade(self, model_output: str, truncated: bool = False) -> Grade:
        """Grade an output: by its letter where the ground truth has one, else by value.

        Of a truncated output only a box or an announced answer with the end of its sentence counts. For a question
        without choices two plain numbers may differ by the tolerance, a share of the ground truth.
        """
        final_text = without_reasoning(model_output)
        if final_text is None:
            return Grade(None, False, "none", False, False)
        if self.letter is not None:
            letter, rule = chosen_letter(final_text, self.options, truncated)
            is_refusal = letter is None and _refuses(final_text)
            return Grade(letter, letter == self.letter, rule, letter is not None, is_refusal)
        if self.unlisted_letters and (
            chosen_letter(final_text, _UNLISTED_OPTIONS, truncated)[0] in self.unlisted_letters
        ):
            return Grade(None, True, "verify", True, False)
        value = stated_value(final_text, truncated)
        if not self.options.letters and self.rules.scoring in PARTIAL_SCORERS:
            return self._scored("" if truncated else final_text, value)
        if value is None or _refuses(value):
            if not truncated and any(says_it_verbatim(final_text, answer) for answer in self.answers):
                return Grade(None, True, "verify", True, False)
            return Grade(None, False, "none", False, _refuses(final_text))
        tolerance = 0 if self.options.letters else self.rules.tolerance
        is_correct = any(same_answer(answer, value, tolerance) for answer in self.answers)
        return Grade(None, is_correct, "verify", True, False)

    def _scored(self, final_text: str, value: str | None) -> Grade:
        """Score the text of an output, or the value that it states, whichever scores more."""
        scoring = self.rules.scoring
        texts = {final_text.strip(), value or ""} - {""}
        score = max((PARTIAL_SCORERS[scoring](text, self.answers) for text in texts), default=0.0)
        if not texts or (score == 0 and _refuses(final_text)):
            return Grade(None, False, "none", False, bool(texts), 0.0)
        rule: Rule = "vqa" if scoring == "vqa" else "anls"
        return Grade(None, score >= CORRECT_SCORE, rule, True, False, score)


def extract_answer(model_output: str, choices: Sequence[str], truncated: bool = False) -> str | None:
    """The letter that an output commits to, or None where it commits to none.

    `truncated` says that the output ended at max_tokens (`finish_reason: length`).
    """
    return chosen_letter(without_reasoning(model_output), Options(choices), truncated)[0]


def grade(
    model_output: str,
    answer: str | Sequence[str],
    choices: Sequence[str],
    relative_tolerance: float = 0,
    *,
    scoring: Scoring = "any",
    answer_is: AnswerForm = "auto",
    truncated: bool = False,
) -> Grade:
    """Grade one output against a ground truth, as GroundTruth.grade does.

    Raises DependencyError where free-form answers have to be compared and math-verify does not start.
    """
    truth = GroundTruth.read(answer, choices, GradingRules(scoring, answer_is, relative_tolerance))
    return truth.grade(model_output, truncated)


def _letter(answer: str | Sequence[str], texts: Sequence[str], options: Options, rules: GradingRules) -> LetterOrFault:
    """The option that a ground truth names, read from its plain texts, or why it cannot be graded."""
    if not any(text.strip(" .$*_{}") for text in texts):
        return None, f"The ground truth {answer!r} is empty."
    if rules.answer_is in ("index0", "index1"):
        return indexed_letter(answer, texts, options, first=int(rules.answer_is[-1]))
    letter, fault = named_letter(answer, texts, options, rules.answer_is) if options.letters else (None, None)
    if letter is None and all(map(is_hidden, texts)):
        fault = f"The ground truth {answer!r} hides the answer, as test splits do; take a split that has answers."
    return letter, fault


def _refuses(text: str) -> bool:
    return bool(REFUSAL.search(text))
