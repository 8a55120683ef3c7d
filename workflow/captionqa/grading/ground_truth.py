r"""Grading: whether what a model's words commit to is the ground truth.

The rules are tried in a fixed order: the last balanced \boxed{...}, the last explicit cue ("answer is", "Answer:"), a
message that is only a letter, the one option whose text appears. An output that none of them reads is unparsed; the
answer is never guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from captionqa.grading.choices import LETTERS
from captionqa.grading.chosen_letter import LetterRule, chosen_letter, read_whole
from captionqa.grading.model_output import last_box, without_reasoning
from captionqa.grading.options import Commitment, Options, Reading
from captionqa.grading.plain_text import plain_text
from captionqa.grading.refusal import REFUSAL
from captionqa.grading.same_value import same_value
from captionqa.grading.stated_value import stated_value

#: What decided a grade: a rule that found a letter, "verify" for a comparison of values, or "none".
Rule = Literal[LetterRule, "verify"]

#: Two or more letters: "A, C", "(A) and (B)", "AB".
_SEVERAL_LETTERS = re.compile(r"[(\[{]?[A-J][)\]}]?(?:\s*(?:[,;/&+]|and|or)?\s*[(\[{]?[A-J][)\]}]?)+")
#: One letter, whether of an option or not.
_ONE_LETTER = re.compile(r"[(\[{\s]*[A-Za-z][)\]}.:\s]*")
#: The letter of an option: A, (A), A.
_OPTION_LETTER = re.compile(r"\s*\(?([A-Ja-j])[).]?\s*")
#: What a value has that can be computed with; a ground truth without it is words.
_VALUE = re.compile(r"[\d\\=^<>]")
#: Stands in for options that are in the image and not in the question's text.
_UNLISTED_OPTIONS = Options([""] * len(LETTERS))


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


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of one question, read once for all that is asked about it."""

    #: The ground truth without its box.
    value: str
    #: The question's choices, prepared for looking them up.
    options: Options
    #: The letter of `\\boxed{A}`, `A`, `(A)` or of an option's text or value; None for a free-form ground truth.
    letter: str | None
    #: The letter where the question's text lists no choices, since they are in the image; None for any other truth.
    unlisted_letter: str | None
    #: Why no output could be graded against it, in a sentence; None where it can be.
    fault: str | None

    @classmethod
    def read(cls, answer: str, choices: Sequence[str]) -> "GroundTruth":
        """Read a ground truth as the question file gives it; `choices` are those that the question lists."""
        box = last_box(answer)
        value = answer if box is None else box
        text, options = plain_text(value).strip(), Options(choices)
        if not choices:
            unlisted = _OPTION_LETTER.fullmatch(text)
            fault = _fault(answer, text, options, None)
            return cls(value, options, None, unlisted[1].upper() if unlisted else None, fault)
        reading = _read(text, options)
        return cls(value, options, reading.letter, None, _fault(answer, text, options, reading))

    def grade(self, model_output: str, relative_tolerance: float = 0) -> Grade:
        """Grade an output: by its letter where the ground truth has one, else by value.

        For a question without choices two plain numbers may differ by the tolerance, a share of the ground truth.
        """
        final_text = without_reasoning(model_output)
        if final_text is None:
            return Grade(None, False, "none", False, False)
        if self.letter is not None:
            letter, rule = chosen_letter(final_text, self.options)
            is_refusal = letter is None and _refuses(final_text)
            return Grade(letter, letter == self.letter, rule, letter is not None, is_refusal)
        if self.unlisted_letter and chosen_letter(final_text, _UNLISTED_OPTIONS)[0] == self.unlisted_letter:
            return Grade(None, True, "verify", True, False)
        value = stated_value(final_text)
        if value is None or _refuses(value):
            return Grade(None, False, "none", False, _refuses(final_text))
        tolerance = 0 if self.options.letters else relative_tolerance
        return Grade(None, same_value(self.value, value, tolerance), "verify", True, False)


def extract_answer(model_output: str, choices: Sequence[str]) -> str | None:
    """The letter that an output commits to, or None where it commits to none."""
    return chosen_letter(without_reasoning(model_output), Options(choices))[0]


def grade(model_output: str, answer: str, choices: Sequence[str], relative_tolerance: float = 0) -> Grade:
    """Grade one output against a ground truth, as GroundTruth.grade does.

    Raises DependencyError where free-form answers have to be compared and math-verify does not start.
    """
    return GroundTruth.read(answer, choices).grade(model_output, relative_tolerance)


def _read(text: str, options: Options) -> Reading:
    """What a ground truth commits to; no single option where a letter stands before another option's text."""
    reading = read_whole(text, options)
    other = options.equal_to(text[reading.end :].lstrip(" .:)]-")) if reading.end else None
    return reading if other in (None, reading.letter) else Reading(Commitment.NO_SINGLE_OPTION)


def _fault(answer: str, text: str, options: Options, reading: Reading | None) -> str | None:
    """Why a ground truth is ungradable: from its plain text and, if there are choices, what that commits to."""
    if not text.strip(" .$*_{}"):
        return f"The ground truth {answer!r} is empty."
    if reading is None or reading.letter:
        return None
    last = options.letters[-1]
    if _ONE_LETTER.fullmatch(text):
        return f"The ground truth {answer!r} is no letter of the choices A to {last}."
    if _SEVERAL_LETTERS.fullmatch(text):
        return f"The ground truth {answer!r} names several choices; one can be graded."
    if reading.commitment is Commitment.NO_SINGLE_OPTION or not _VALUE.search(text):
        return f"The ground truth {answer!r} is neither a letter of the choices A to {last} nor the text of one choice."
    return None


def _refuses(text: str) -> bool:
    return bool(REFUSAL.search(text))
