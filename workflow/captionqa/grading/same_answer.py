"""Whether what a model says is an acceptable answer: the same value, yes for true, or words that could be a refusal."""

import re

from captionqa.grading.doubt import NEGATION
from captionqa.grading.model_output import SEARCHED_CHARACTERS
from captionqa.grading.options import Options
from captionqa.grading.plain_text import plain_text
from captionqa.grading.refusal import REFUSAL
from captionqa.grading.same_value import same_value

#: Words for yes and no, which booleans of a question file are answered with.
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
#: A longer text says more than one thing, so that of it only the last line counts.
_SHORT_CHARACTERS = 200
_CANNOT = re.compile(r"\b(?:can't|can\snot|could\snot|couldn't)\b", re.IGNORECASE)


def same_answer(wanted: str, given: str, relative_tolerance: float = 0) -> bool:
    """As same_value; yes and true are the same answer, and so are no and false."""
    truth = _BOOLEANS.get(_word(wanted))
    if truth is not None and (said := _BOOLEANS.get(_word(given))) is not None:
        return said is truth
    return same_value(wanted, given, relative_tolerance)


def says_it_verbatim(final_text: str, answer: str) -> bool:
    """Whether a text says an answer that elsewhere would be a refusal, such as "cannot be determined" or "error".

    False for any other answer, and where the text denies it or refuses in other words beside it.
    """
    answer = _CANNOT.sub("cannot", plain_text(answer).strip())
    if not REFUSAL.search(answer):
        return False
    text = _CANNOT.sub("cannot", plain_text(final_text[-SEARCHED_CHARACTERS:]).strip())
    if len(text) > _SHORT_CHARACTERS:
        text = text.rpartition("\n")[2][-_SHORT_CHARACTERS:]
    spans = Options([answer]).mentions(text).get("A", [])
    rest = text
    for start, end in reversed(spans):
        rest = rest[:start] + rest[end:]
    return bool(spans) and not REFUSAL.search(rest) and not NEGATION.search(rest)


def _word(text: str) -> str:
    return text.strip(" .*_\"'").casefold()
