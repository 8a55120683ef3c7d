"""Grading: which letter or value a model's words commit to, and whether that is the ground truth.

The order is fixed: the last balanced \\boxed{...}, the last explicit cue ("answer is", "Answer:"), a message that is
only a letter, the one option whose text appears, else nothing. Never a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from captionqa.grading.choices import LETTERS
from captionqa.grading.chosen_letter import LetterRule, extract, final_part, last_box, read_whole
from captionqa.grading.options import Kind, Options, Reading
from captionqa.grading.quantity import plain
from captionqa.grading.refusal import REFUSAL
from captionqa.grading.same_value import same_value
from captionqa.grading.stated_value import stated_value

Rule = Literal[LetterRule, "verify"]

_SEVERAL_LETTERS = re.compile(r"[(\[{]?[A-J][)\]}]?(?:\s*(?:[,;/&+]|and|or)?\s*[(\[{]?[A-J][)\]}]?)+")
_ONE_LETTER = re.compile(r"[(\[{\s]*[A-Za-z][)\]}.:\s]*")
_LETTER_TRUTH = re.compile(r"\s*\(?([A-Ja-j])[).]?\s*")
_UNSEEN_OPTIONS = Options([""] * len(LETTERS))
_VALUE = re.compile(r"[\d\\=^<>]")


@dataclass(frozen=True)
class Grade:
    """How one answer was graded; `rule` says which rule decided: box, cue, letter, option text, verify or none."""

    predicted_letter: str | None
    is_correct: bool
    rule: Rule
    parsed: bool
    refused: bool


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of one question, read once for everything that is asked of it."""

    #: The ground truth without its box, and the question's choices prepared for looking them up.
    value: str
    options: Options
    #: The letter of `\\boxed{A}`, `A`, `(A)`, or of an option's text or value; None for a free-form ground truth.
    letter: str | None
    #: The letter of an option that the question's text does not list, since the options are in the image.
    unlisted_letter: str | None
    #: Why no output could be graded against it, in a sentence; None where it can be.
    fault: str | None

    @classmethod
    def read(cls, answer: str, choices: Sequence[str]) -> "GroundTruth":
        """Read a ground truth as it stands in the question file, for the choices that the question lists."""
        box = last_box(answer)
        value = answer if box is None else box
        text, options = plain(value).strip(), Options(choices)
        if not choices:
            unlisted = _LETTER_TRUTH.fullmatch(text)
            fault = _fault(answer, text, options, None)
            return cls(value, options, None, unlisted[1].upper() if unlisted else None, fault)
        reading = _reading(text, options)
        return cls(value, options, reading.letter, None, _fault(answer, text, options, reading))

    def grade(self, model_output: str, relative_tolerance: float = 0) -> Grade:
        """Grade an output; a free-form ground truth is compared by value.

        Without choices two plain numbers may differ by the tolerance, a share of the ground truth.
        """
        said = final_part(model_output)
        if said is None:
            return Grade(None, False, "none", False, False)
        if self.letter is not None:
            letter, rule = extract(said, self.options)
            return Grade(letter, letter == self.letter, rule, letter is not None, letter is None and _refuses(said))
        if self.unlisted_letter and extract(said, _UNSEEN_OPTIONS)[0] == self.unlisted_letter:
            return Grade(None, True, "verify", True, False)
        value = stated_value(said)
        if value is None or _refuses(value):
            return Grade(None, False, "none", False, _refuses(said))
        tolerance = 0 if self.options.letters else relative_tolerance
        return Grade(None, same_value(self.value, value, tolerance), "verify", True, False)


def extract_answer(model_output: str, choices: Sequence[str]) -> str | None:
    """The letter that the output commits to, or None where it commits to none."""
    return extract(final_part(model_output), Options(choices))[0]


def grade(model_output: str, answer: str, choices: Sequence[str], relative_tolerance: float = 0) -> Grade:
    """Grade one output against a ground truth that is used once; see GroundTruth."""
    return GroundTruth.read(answer, choices).grade(model_output, relative_tolerance)


def _reading(text: str, options: Options) -> Reading:
    """What a ground truth stands for: none where a letter stands before another option's text."""
    reading = read_whole(text, options)
    other = options.equal_to(text[reading.end :].lstrip(" .:)]-")) if reading.end else None
    return Reading(Kind.NONE) if other not in (None, reading.letter) else reading


def _fault(answer: str, text: str, options: Options, reading: Reading | None) -> str | None:
    """Why a ground truth is ungradable, from its plain text and, where there are choices, what it stands for."""
    if not text.strip(" .$*_{}"):
        return f"The ground truth {answer!r} is empty."
    if reading is None or reading.letter:
        return None
    last = options.letters[-1]
    if _ONE_LETTER.fullmatch(text):
        return f"The ground truth {answer!r} is no letter of the choices A to {last}."
    if _SEVERAL_LETTERS.fullmatch(text):
        return f"The ground truth {answer!r} names several choices; one can be graded."
    if reading.kind is Kind.NONE or not _VALUE.search(text):
        return f"The ground truth {answer!r} is neither a letter of the choices A to {last} nor the text of one choice."
    return None


def _refuses(said: str) -> bool:
    return bool(REFUSAL.search(said))
