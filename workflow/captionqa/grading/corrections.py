"""Corrections: what a text says of its answer after it has given one."""

import re

from captionqa.grading.options import Options, TextSpans
from captionqa.grading.remarks import remarks

#: Words with which a text corrects what it said before.
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|sorry|hmm+|hold\son|on\ssecond\sthought|mistake|oops|let\sme\sre|re-?consider\w*|"
    r"re-?check\w*|no[,.:]|rather|however|(?:or\s)?i\smean|looking\scloser|but\s(?=[^.!?\n]*\bso\s(?:it|that|the\sanswer)\b))"
)
#: A correction that takes the answer back.
_REVOCATION = re.compile(
    r"\b(?:wait|hmm+|hold\son|actually|no|oops|sorry)\b[^.!?\n]{0,60}?\b(?:wrong|incorrect|mistaken?|not\s(?:right|correct))\b|"
    r"\bi\s(?:have\s)?(?:made|see)\s(?:a|my)\s(?:mistake|error)\b|\banswer\s(?:cannot|can't|can\snot)\sbe\b|"
    r"\b(?:that|this|which)(?:'s|\sis|\swas)\s(?:wrong|incorrect|a\smistake|not\s(?:right|correct))\b",
)
#: A letter with which a text ends, after a word that chooses it, or on a line of its own.
_LAST_LETTER = re.compile(
    r"(?:(?:\b(?i:so|thus|hence|therefore|mean|no|sorry|oops|wait|actually|correction|it(?:'s|\sis|\sshould\sbe|\smust\sbe)|be|is|say)[,:]?\s|\n)"
    r"(?:option\s|choice\s)?)[(\[*_]*(?P<letter>[A-Z])[)\]*_]*[.!]?[*_]*\s*\Z"
)


def corrected(letter: str, end: int, text: str, low: str, options: Options, quotations: TextSpans) -> str | None:
    """The letter that was given up to a place, or what a correction after it says instead.

    None where it is only taken back. `low` is the text in lower case.
    """
    correction = _CORRECTION.search(low, end)
    if correction is None:
        return letter
    last = _LAST_LETTER.search(text, correction.start())
    if last and last["letter"] in options.letters:
        return last["letter"]
    if later := remarks(text, low, options, correction.start(), quotations):
        return later[-1].letter
    return None if _REVOCATION.search(low, end) else letter


def is_taken_back(text: str) -> bool:
    """Whether a text begins by saying that the answer before it is wrong."""
    return _REVOCATION.search(text.lower()) is not None
