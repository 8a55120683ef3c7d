"""Grading: which letter or value a model's words commit to, and whether that is the ground truth.

The order is fixed: the last balanced \\boxed{...}, the last explicit cue ("answer is", "Answer:"), a message that is
only a letter, the one option whose text appears, else nothing. Never a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from captionqa.questions import LETTERS

THINK_BEGIN = "<think>"
THINK_END = "</think>"
#: A free-form message of so few words is the answer itself.
BARE_ANSWER_WORDS = 3
_CUE = re.compile(r"\banswer(?:\s+is|\s*:)[\s:*_]*", re.IGNORECASE)
#: A and I are words too: before another word they count only where it gives a reason or another letter.
_LETTER = re.compile(
    r"[(\[*_\s]*([A-J])(?:[)\]*_]+|(?=$|[.,:;!)])|(?<![AI])(?=\s)|(?=\s+(?:because|since|as|for|or|and|which|\(|$)))"
)
_ANOTHER = re.compile(
    r"(?:\s*[,/(&]\s*|\s+(?=or|and))(?:(?:or|and)\s+)?(?:(?:possibly|maybe|perhaps|probably)\s+)?[(\[*_]*([A-J])(?![\w'])"
)
_ONLY_LETTER = re.compile(r"[\s(\[*_\"'`]*([A-Ja-j])[\s)\]*_.\"'`]*")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit)\s*\{([^{}]*)\}")
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am)? (?:cannot|can't|can not|unable to|not able to|sorry)|I(?:'m| am) sorry|cannot be determined|"
    r"unable to (?:answer|determine))",
    re.IGNORECASE,
)


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
    return _extract(model_output, choices)[0]


def ground_truth_letter(answer: str, choices: Sequence[str]) -> str | None:
    """The letter of a ground truth given as `\\boxed{A}`, `A`, `(A)` or an option's text; None for a free-form one."""
    if not choices:
        return None
    box = last_box(answer)
    return _committed(answer if box is None else box, choices)


def grade(model_output: str, answer: str, choices: Sequence[str]) -> Grade:
    """Grade an output against the ground truth; free-form ground truth is compared by math-verify."""
    said = final_part(model_output)
    refused = said is not None and bool(_REFUSAL.search(said))
    truth = ground_truth_letter(answer, choices)
    if truth is not None:
        letter, rule = _extract(model_output, choices)
        return Grade(letter, letter == truth, rule, letter is not None, refused)
    value = said if said is None else last_box(said)
    if value is None and said is not None and (cues := list(_CUE.finditer(said))):
        value = said[cues[-1].end() :].strip().split("\n")[0].rstrip(".")
    if value is None and said is not None and not refused and len(said.split()) <= BARE_ANSWER_WORDS:
        value = said.strip().rstrip(".") or None
    if value is None:
        return Grade(None, False, "none", False, refused)
    wanted = last_box(answer)
    return Grade(None, _equal(answer if wanted is None else wanted, value), "verify", True, refused)


def final_part(model_output: str) -> str | None:
    """What follows the model's reasoning; None where the reasoning was never closed."""
    said = model_output.rpartition(THINK_END)[2]
    return None if THINK_BEGIN in said else said


def last_box(text: str) -> str | None:
    """The content of the last balanced \\boxed{...}, or None."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth = 0
        for end in range(start + len("\\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[start + len("\\boxed{") : end].strip()
        start = text.rfind("\\boxed{", 0, start)
    return None


def _extract(model_output: str, choices: Sequence[str]) -> tuple[str | None, str]:
    said = final_part(model_output)
    if said is None:
        return None, "none"
    box = last_box(said)
    if box is not None:
        letter = _committed(box, choices)
        return (letter, "box") if letter else (None, "none")
    cues = list(_CUE.finditer(said))
    if cues:
        letter = _after_cue(said[cues[-1].end() :], choices)
        return (letter, "cue") if letter else (None, "none")
    if match := _ONLY_LETTER.fullmatch(said):
        letter = match[1].upper()
        return (letter, "letter") if letter in LETTERS[: len(choices)] else (None, "none")
    if _REFUSAL.search(said):
        return None, "none"
    named = [index for index, choice in enumerate(choices) if _mentions(said, choice)]
    return (LETTERS[named[0]], "option text") if len(named) == 1 else (None, "none")


def _committed(text: str, choices: Sequence[str]) -> str | None:
    """The letter that a short text stands for: a letter, a letter with its option, or an option's text."""
    text = _TEXT_COMMAND.sub(r"\1", text).strip().strip("$").strip()
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        return letter if letter in LETTERS[: len(choices)] else None
    same = [index for index, choice in enumerate(choices) if _normal(choice) == _normal(text)]
    if len(same) == 1:
        return LETTERS[same[0]]
    match = re.match(r"\(?([A-J])[).:]\s*(.+)", text, re.DOTALL)
    if match and match[1] in LETTERS[: len(choices)]:
        option = choices[LETTERS.index(match[1])]
        return match[1] if _normal(option) == _normal(match[2]) else None
    return None


def _after_cue(rest: str, choices: Sequence[str]) -> str | None:
    line = rest.split("\n")[0]
    if letter := _committed(line, choices):
        return letter
    match = _LETTER.match(line)
    if match is None:
        return None
    possible = LETTERS[: len(choices)]
    another = _ANOTHER.match(line, match.end())
    return match[1] if match[1] in possible and not (another and another[1] in possible) else None


def _mentions(text: str, choice: str) -> bool:
    wanted = choice.strip().rstrip(".")
    return bool(wanted) and re.search(rf"(?<!\w)(?<!\d\.){re.escape(wanted)}(?!\w)", text, re.IGNORECASE) is not None


def _normal(text: str) -> str:
    return " ".join(text.split()).strip(" .*_").casefold()


@lru_cache(maxsize=4096)
def _equal(wanted: str, given: str) -> bool:
    """Whether two free-form answers are the same value; math-verify reads LaTeX, numbers, sets and units."""
    if _normal(wanted) == _normal(given):
        return True
    from math_verify import parse, verify  # takes a second to import; needed for free-form answers alone

    return verify(parse(f"${wanted}$"), parse(f"${given}$"))
