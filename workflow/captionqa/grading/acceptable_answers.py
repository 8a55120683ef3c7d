r"""The acceptable answers of a ground truth as data sets write it: one, or a list of them."""

import re
from collections.abc import Sequence

from captionqa.grading.model_output import boxes
from captionqa.grading.scoring import GradingRules
from captionqa.list_text import parse_list, texts_of

#: What a list, or an answer in a box, has.
_MARK = re.compile(r"[\[|{<]")
#: What separates two boxes of which either is right.
_OR = re.compile(r"\b(?:or|ou|oder)\b|或", re.IGNORECASE)
#: Signs of a formula, in which a bar means an absolute value, a condition or a division.
_FORMULA = re.compile(r"[\\${}()\[\]=<>]")
#: The forms of a ground truth that is one answer, whatever it looks like.
_SINGLE_FORMS = ("letter", "index0", "index1", "text")


def acceptable_answers(answer: str | Sequence[str], rules: GradingRules) -> list[str]:
    r"""The answers of which each is right, as the ground truth has them; none where it has none.

    A list may be a real one, the text of one, or words between vertical bars; with `scoring: exact` it is one answer of
    several parts. Two boxes are one answer of two parts unless "or" joins them.
    """
    if isinstance(answer, str) and not _MARK.search(answer):
        return [answer]
    found = _listed(answer, rules) if isinstance(answer, str) else texts_of(answer)
    parts = [part for entry in found for part in _boxed(entry)]
    return [", ".join(parts)] if rules.scoring == "exact" and parts else parts


def _listed(answer: str, rules: GradingRules) -> list[str]:
    """The entries of a list that is written as text; any other text is one entry."""
    if rules.answer_is in _SINGLE_FORMS:
        return [answer]
    is_list = rules.answer_is == "list"
    elements = parse_list(answer)
    if elements and (is_list or not any(isinstance(element, int | float) for element in elements)):
        return texts_of(elements)
    parts = [part.strip() for part in answer.split("|")]
    if len(parts) > 1 and (is_list or (all(parts) and not _FORMULA.search(answer))):
        return list(filter(None, parts))
    return [answer]


def _boxed(answer: str) -> list[str]:
    """The content of a box, or of several; an answer without one as it is."""
    found = boxes(answer)
    innermost = [box for box in found if not any(box.start < other.start < box.end for other in found)]
    contents = list(dict.fromkeys(answer[slice(*box.content)].strip() for box in innermost))
    if len(contents) < 2:
        return contents or [answer]
    if _OR.search(answer, innermost[0].end, innermost[-1].start):
        return contents
    return [", ".join(contents)]
