"""Remarks: the explicit cues that call a letter correct or arrive at one: "B is correct", "this corresponds to (C)"."""

import re
from typing import NamedTuple

from captionqa.grading.answer_phrase import read_phrase
from captionqa.grading.doubt import is_supposed
from captionqa.grading.options import Commitment, Options, TextSpans, is_inside

#: A letter and, up to eighty characters later, that it is correct: "B, the red one, is the best answer", "C fits best".
_LETTER_IS_CORRECT = re.compile(
    r"(?:(?:\((?P<paren>[A-Z])\)|(?<![\w'(/.-])(?P<letter>[A-Z])(?![\w'])(?P<stop>[.):])?))"
    r"(?P<gap>(?:\s?\([^()\n]{1,80}\)|[,:]?\s(?:(?!\b(?:[A-J]|whether|cannot|impossible|without|unless|but|not)\b)[^.!?\n]){1,80}?))??,?\s"
    r"(?:(?:is|must\sbe|would\sbe|should\sbe|has\sto\sbe|appears\sto\sbe|seems\sto\sbe|seems|as)\s"
    r"(?:(?:clearly|definitely|indeed|therefore|thus|hence|the|only|most|our|my|obviously|likely|actually|probably|single|also|"
    r"best|very)\s){0,4}(?:correct(?!ly)|right(?!\s(?:of|side|next|above|below|angle|triangle|hand|now)|-)|"
    r"best(?=\s(?:answer|option|choice|match|fit|description|one|candidate|guess|caption|title|representation|statement)\b|"
    r"\s(?:because|since|as|here|given)\b|\W*(?:[.,;:!?)\n]|\Z))|answer|"
    r"accurate|appropriate|suitable|correct\sanswer|fitting|match)(?!\s(?:about|in|that|for|but|if|unless))\b|"
    r"is\sthe\s(?:false|wrong|incorrect|odd|untrue)\s(?:one|statement|option)\b|"
    r"is\sthe\sonly\s(?:option|choice|one|statement|answer)\s(?:that|which)\s(?!(?:is\s|does\s)?(?:not|n't|false|wrong|fails))|"
    r"(?:best\s)?(?:matches|fits)\s(?:best|better|the\s(?:description|image|picture)))"
)
#: What may come just before a letter that is an option; after another noun ("point B") the letter names something else.
_BEFORE_LETTER = re.compile(
    r"(?:option|choice|answer|letter|alternative|so|thus|therefore|hence|that|only|because|and|but|then|conclude|think|"
    r"believe|means|since|see|clearly|actually|hmm|wait|rather|instead|mean|no|looks|now)"
)
#: Those of them after which A and I are letters and not words.
_LABELS = ("option", "choice", "answer", "letter", "alternative")
#: A denial just before "corresponds to" and its like.
_DENIED = re.compile(r"(?:\bnot|n't|\bnever)\s\Z", re.IGNORECASE)
#: What leads to a letter: "corresponds to", "this is", "leaves us with option", "therefore, (".
_ARRIVES_AT = re.compile(
    r"\b(?:(?:corresponds?(?:ing)?\sto|match(?:es|ing)?(?:\swith)?|which\sis|that\sis|that's|this\sis|leads?\sto|"
    r"leaves(?:\s(?:us|me)\swith)?(?:\sonly)?|points\sto|closest\sto|(?:mentioned|stated|described|given)\sin|"
    r"would\sbe|must\sbe|\bis|namely|i\.e\.)[,:]?\s(?:with\s)?(?:the\s)?(?:correct\s)?(?=option|choice|answer|\()|"
    r"(?:leaves|leaving)\s(?:(?:us|me)\swith\s|only\s|just\s)*(?=[a-j][.,!\n])|"
    r"(?:is|be)\s(?=\([a-j]\))|\((?=option\s[a-j]\))|"
    r"(?:therefore|thus|hence|so|consequently|in\sconclusion|overall|finally|wait|actually|correction|no(?!\W*\n)|sorry|rather|"
    r"instead)[,:.!…—–-]*\s(?:it(?:'s|\sis|\smust\sbe|\sshould\sbe)\s|that(?:'s|\sis)\s)?(?:the\s)?"
    r"(?=(?:option\s|choice\s|answer\s)?[(\[]?[a-j][)\].,!\n](?!\s(?:the|an?|which|where|being)\s[^.\n]{1,40},))|"
    r"(?:therefore|thus|hence|so)[,:]?\s(?=option\s)|(?:it|that|this)(?:'s|\sis|\s(?:must|should|would)\sbe)\s"
    r"(?=(?:option\s|choice\s)?[(\[]?[a-j](?:[)\].,!\n]|\Z)))",
)
#: A row of a table that calls its option correct.
_MARKED_ROW = re.compile(
    r"^\|[ *]*(?:option\s)?[(]?([A-J])[)*. ]*\|(?!.*(?:\bnot\b|n't\b|incorrect|wrong|✗|❌|✘|\bfalse\b))"
    r".*?(?:\bcorrect\b|✅|✓|✔).*\|",
    re.IGNORECASE | re.MULTILINE,
)
#: A line that begins with a label and calls its option correct in words or by a sign: "B) Paris ✅".
_MARKED_LINE = re.compile(
    r"^[ \-•#>]*(?:option\s|choice\s)?[(\[]?([A-J])[)\].:,]+(?=\s)"
    r"(?!.*(?:\bnot\b|n't\b|incorrect|wrong|✗|❌|✘|\bfalse\b))"
    r".*?(?:\bcorrect\b|✅|✓|✔).*$",
    re.IGNORECASE | re.MULTILINE,
)
#: "Option B ... is correct" and "only B ... fits" in Chinese.
_CHINESE = re.compile(
    r"(?:选项|只有)([A-J])(?![和、与及])(?:(?!选项|不|错)[^。\n]){0,60}?(?:正确|符合|是对)|"
    r"(?<![A-Za-z和、与及])([A-J])(?:选?项)?(?:是|为)?(?:正确|对)(?!错)的?(?=[，。；,;\n]|\Z)"
)
#: "All of the options are", "neither of these choices is": no single option is right.
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|neither|two|three)\s(?:of\s)?(?:(?:the|these|given|four|five|above)\s){0,3}"
    r"(?:options|statements|choices|answers)\b(?:\s\([a-j]\),?|\sand)*\s(?:are|is|should)\b",
)
#: A label just before such words, which are then the text of its option.
_LABEL_BEFORE = re.compile(r"[A-Ja-j][).:]\s?\Z")
#: How far back the word before a letter is looked for.
_WORD_CHARACTERS = 24
#: How far back a denial is looked for.
_DENIAL_CHARACTERS = 12
#: How far back the label before "all of the options" is looked for.
_LABEL_CHARACTERS = 6


class Remark(NamedTuple):
    """An explicit cue that names its letter itself."""

    at: int
    #: None where the text says that all of the options are right, or none.
    letter: str | None


def remarks(text: str, low: str, options: Options, after: int, quotations: TextSpans) -> list[Remark]:
    """The remarks of a text from a place on, in their order, without those that are quoted, supposed or denied.

    `low` is the text in lower case, `quotations` are the spans that quote an option.
    """
    found = [Remark(match.start(), match["paren"] or match["letter"]) for match in _called_correct(text, after)]
    for match in _ARRIVES_AT.finditer(low, after):
        if not _DENIED.search(text, max(0, match.start() - _DENIAL_CHARACTERS), match.start()):
            reading = read_phrase(text, match.end(), options, only_letter=True)
            if reading.commitment is Commitment.OPTION:
                found.append(Remark(match.start(), reading.letter))
    found += [Remark(match.start(), match[1].upper()) for match in _MARKED_LINE.finditer(text, after)]
    if "|" in text:
        found += [Remark(match.start(), match[1].upper()) for match in _MARKED_ROW.finditer(text, after)]
    if not text.isascii():
        found += [Remark(match.start(), match[1] or match[2]) for match in _CHINESE.finditer(text, after)]
    found = [remark for remark in found if not is_inside(remark.at, quotations)]
    for match in _ALL_OR_NONE.finditer(low, after):
        if not _LABEL_BEFORE.search(text, max(0, match.start() - _LABEL_CHARACTERS), match.start()):
            # where an option reads "all of the above are", that is its letter
            found.append(Remark(match.start(), options.option_at(text, match.start()).letter))
    known = (None, *options.letters)
    return sorted(
        (remark for remark in found if remark.letter in known and not is_supposed(text, remark.at)),
        key=lambda remark: remark.at,
    )


def _called_correct(text: str, after: int) -> list[re.Match[str]]:
    """Where a letter is called correct, if the word before it lets it be the letter of an option."""
    found = []
    for match in _LETTER_IS_CORRECT.finditer(text, after):
        before = text[max(0, match.start() - _WORD_CHARACTERS) : match.start()]
        words = before.rpartition("\n")[2].split()
        word = words[-1].lower().strip("(*\"'") if words else ""
        is_name = word.isalpha() and not _BEFORE_LETTER.fullmatch(word)
        is_word = (
            (match["paren"] or match["letter"]) in "AI"
            and match["gap"]
            and not (match["paren"] or match["stop"] or word in _LABELS)
        )
        if not is_name and not is_word:
            found.append(match)
    return found
