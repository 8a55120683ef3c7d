"""Grading: which letter or value a model's words commit to, and whether that is the ground truth.

The order is fixed: the last balanced \\boxed{...}, the last explicit cue ("answer is", "Answer:"), a message that is
only a letter, the one option whose text appears, else nothing. Never a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from captionqa.grading.choices import LETTERS
from captionqa.grading.chosen_letter import REFUSAL, extract, final_part, last_box, read_short
from captionqa.grading.options import Kind, Options
from captionqa.grading.quantity import plain
from captionqa.grading.same_value import same_value
from captionqa.grading.stated_value import stated_value

_SEVERAL_LETTERS = re.compile(r"[(\[{]?[A-J][)\]}]?(?:\s*(?:[,;/&+]|and|or)?\s*[(\[{]?[A-J][)\]}]?)+")
_ONE_LETTER = re.compile(r"[(\[{\s]*[A-Za-z][)\]}.:\s]*")
_LETTER_TRUTH = re.compile(r"\s*\(?([A-Ja-j])[).]?\s*")
_UNSEEN_OPTIONS = [""] * len(LETTERS)
_VALUE = re.compile(r"[\d\\=^<>]")


@dataclass(frozen=True)
class Grade:
    """How one answer was graded; `rule` says which rule decided: box, cue, letter, option text, verify or none."""

    predicted_letter: str | None
    is_correct: bool
    rule: str
    parsed: bool
    refused: bool


def extract_answer(model_output: str, choices: Sequence[str]) -> str | None:
    """The letter that the output commits to, or None where it commits to none."""
    return extract(model_output, choices)[0]


def ground_truth_letter(answer: str, choices: Sequence[str]) -> str | None:
    """The letter of a ground truth: `\\boxed{A}`, `A`, `(A)`, an option's text or value; None for a free-form one."""
    return read_short(_wanted(answer), Options(choices)).letter if choices else None


def ungradable(answer: str, choices: Sequence[str]) -> str | None:
    """Why no output could be graded against this ground truth, in a sentence; None where it can be."""
    wanted = plain(_wanted(answer)).strip()
    if not wanted.strip(" .$*_{}"):
        return f"The ground truth {answer!r} is empty."
    if not choices or ground_truth_letter(answer, choices):
        return None
    last = Options(choices).letters[-1]
    if _ONE_LETTER.fullmatch(wanted):
        return f"The ground truth {answer!r} is no letter of the choices A to {last}."
    if _SEVERAL_LETTERS.fullmatch(wanted):
        return f"The ground truth {answer!r} names several choices; one can be graded."
    if read_short(wanted, Options(choices)).kind is Kind.NONE or not _VALUE.search(wanted):
        return f"The ground truth {answer!r} is neither a letter of the choices A to {last} nor the text of one choice."
    return None


def grade(model_output: str, answer: str, choices: Sequence[str], relative_tolerance: float = 0) -> Grade:
    """Grade an output against the ground truth; a free-form ground truth is compared by value.

    Without choices two plain numbers may differ by the tolerance, a share of the ground truth.
    """
    said = final_part(model_output)
    truth = ground_truth_letter(answer, choices)
    if truth is not None:
        letter, rule = extract(model_output, choices)
        return Grade(letter, letter == truth, rule, letter is not None, letter is None and _refuses(said))
    wanted, value = _wanted(answer), None if said is None else stated_value(said)
    if not choices and (letter := _LETTER_TRUTH.fullmatch(plain(wanted))):
        # the options are in the image
        named = extract(model_output, _UNSEEN_OPTIONS)[0]
        if named == letter[1].upper():
            return Grade(None, True, "verify", True, False)
    if value is None or REFUSAL.search(value):
        return Grade(None, False, "none", False, _refuses(said))
    return Grade(None, same_value(wanted, value, 0 if choices else relative_tolerance), "verify", True, False)


def _wanted(answer: str) -> str:
    """The ground truth without its box."""
    box = last_box(answer)
    return answer if box is None else box


def _refuses(said: str | None) -> bool:
    return said is not None and bool(REFUSAL.search(said))
