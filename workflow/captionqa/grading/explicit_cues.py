"""Explicit cues: which letter the statements of a text about its answer commit to.

An announcement ("the answer is") comes before the answer, a remark ("B is correct") names it. The last announcement
counts, unless the text corrects itself afterwards; without one the remarks do.
"""

import re

from captionqa.grading.announcements import announcements
from captionqa.grading.answer_phrase import read_phrase
from captionqa.grading.corrections import corrected
from captionqa.grading.doubt import is_supposed
from captionqa.grading.options import Commitment, Options, Reading, TextSpans, is_inside
from captionqa.grading.remarks import remarks

#: Only this many announcements, from the end, are read: a text may repeat itself endlessly.
LAST_ANNOUNCEMENTS = 50
#: Words with which a remark corrects what was said before it.
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|sorry|hmm+|hold\son|on\ssecond\sthought|mistake|oops|let\sme\sre|re-?consider\w*|"
    r"re-?check\w*|no[,.:]|rather|however)\b",
)
#: The end of the sentence with an announced letter.
_SENTENCE_END = re.compile(r"[.!](?=[*_\s]|\Z)|[。！\n]")
#: How a sentence stops after its letter, or goes on to give a reason.
_STOPS = re.compile(r"[*_\"')\]]*(?:[.,:;!。，\n]|\s[-–—(]|\s(?:because|since|as|for|given|due)\b)")
#: A line that is only a letter.
_ONLY_LETTER = re.compile(r"[ *_(\[]*[A-Za-z][ *_)\].]*(?:\n|\Z)")
#: A line that begins with a label, after the line of a letter.
_NEXT_LABEL = re.compile(r"[^\n]*\n\s*[-*•]?\s*(?:option\s)?[(\[*_]*[A-Z][*_]*[).:\]]", re.IGNORECASE)
_CONCLUSION = re.compile(r"\b(?:therefore|thus|hence|so|consequently|conclu\w+|overall|finally)\b")
#: How far before the beginning of a remark a word is looked for that makes it a conclusion or a correction.
_BEFORE_REMARK_CHARACTERS = 60
#: How far after the beginning of a remark such a word is looked for.
_AFTER_REMARK_CHARACTERS = 20
#: Words before "answer" that make it a verb ("the question that this can best answer is"). Then only a letter counts.
_BEFORE_VERB = re.compile(r"\b(?:can|to|will)\s(?:best\s)?\Z")
#: How far back such a word is looked for.
_VERB_CHARACTERS = 12


def read_explicit_cues(text: str, options: Options, truncated: bool = False) -> tuple[str | None, bool]:
    """The letter that the explicit cues commit to, and whether there is any cue, even one that commits to no letter.

    In a truncated text only an announcement counts whose answer's sentence is complete.
    """
    low = text.lower()
    quotations = options.quotations(low)
    letter, end, is_stated = _last_announced(text, low, options, quotations, truncated)
    if truncated and letter is None:
        return None, is_stated
    if letter:
        return corrected(letter, end, text, low, options, quotations), True
    found = remarks(text, low, options, end, quotations)
    letters = {remark.letter for remark in found}
    if len(letters) == 1:
        return letters.pop(), True
    if found:
        at, letter = found[-1]
        around = low[max(0, at - _BEFORE_REMARK_CHARACTERS) : at + _AFTER_REMARK_CHARACTERS]
        return (letter if _CONCLUSION.search(around) or _CORRECTION.search(around) else None), True
    return None, is_stated


def _last_announced(
    text: str, low: str, options: Options, quotations: TextSpans, truncated: bool
) -> tuple[str | None, int, bool]:
    """The letter after the last announcement that has one, where it ends, and whether anything is announced at all."""
    is_stated = False
    has_other_text = False  # a value that is no option does not take back a letter that was given before it
    found = [cue for cue in announcements(text, low) if not is_inside(cue.start, quotations)]
    for start, end, only_letter in sorted(found, reverse=True)[:LAST_ANNOUNCEMENTS]:
        is_heading = text[start].isupper() and text[start:end].endswith(":")
        if not is_heading and is_supposed(text, start):
            is_stated = True
            continue
        is_verb = bool(_BEFORE_VERB.search(low, max(0, start - _VERB_CHARACTERS), start))
        if only_letter and (is_verb or truncated):
            continue  # "to answer, we look at the options:"
        reading = read_phrase(text, end, options, only_letter or has_other_text or is_verb)
        if truncated and not _is_complete(text, end, reading):
            continue
        if reading.commitment is Commitment.OPTION:
            return reading.letter, reading.end, True
        if reading.commitment is Commitment.NO_SINGLE_OPTION:
            return None, end, True
        has_other_text = has_other_text or reading.commitment is Commitment.OTHER_TEXT
        is_stated = is_stated or has_other_text or reading.end < 0
    return None, 0, is_stated


def _is_complete(text: str, at: int, reading: Reading) -> bool:
    """Whether the letter that is announced at a place is the answer in a text that may end anywhere.

    Its sentence ends, it stands on the line of its announcement or alone, and no other label begins the line after it.
    """
    if reading.letter is None or not _STOPS.match(text, reading.end) or not _SENTENCE_END.search(text, reading.end):
        return False
    if _NEXT_LABEL.match(text, reading.end):
        return False
    begin = text.rfind("\n", at, reading.end) + 1
    return not begin or _ONLY_LETTER.match(text, begin) is not None
