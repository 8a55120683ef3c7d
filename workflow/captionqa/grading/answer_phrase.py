"""Answer phrases: which option the words at one place of a text commit to, such as those after "the answer is"."""

import re

from captionqa.grading.doubt import NEGATION, RULED_OUT
from captionqa.grading.options import Commitment, Options, Reading
from captionqa.grading.plain_text import skip
from captionqa.grading.refusal import REFUSAL

#: A longer line is read as a sentence: its beginning is not compared with the options' texts.
_MAX_OPTION_CHARACTERS = 400
#: What may stand between a cue and the option that it announces: "most likely", "option", marks, blanks.
_LEAD = re.compile(
    r"(?:[\s:*_\"'<>#=~|…]++|\.{2,}+(?! ?(?:\n|\Z))|[-–—]+>?(?=[\s*])|→|"
    r"(?:(?:most|very|quite)\s)?(?:likely|probably|clearly|definitely|actually|indeed|therefore|thus|simply|just|then|"
    r"obviously|certainly|evidently|surely|only|also|still|in\sfact|undoubtedly)\b,?|"
    r"(?:the\s)?(?:(?:correct|right|best|final)\s)?(?:option|choice|letter|answer|alternative)\b"
    r"(?:\s(?:labell?ed|marked|with|letter|number|is))?|labell?ed\b|(?:la|el|le|a|o)\s(?=[A-J]\b)|选项|选择|選項|为|是|opción|opção|réponse|option){0,12}+",
    re.IGNORECASE,
)
#: A question between letters, before its answer: "B or C? C".
_ASKED = re.compile(r"(?:either\s)?\(?[A-J]\)?(?:,\s\(?[A-J]\)?){0,8},?\sor\s\(?[A-J]\)?\?\s*", re.IGNORECASE)
#: A letter as a label. A and I are words too: before another word they count only where it gives a reason.
_LABEL = re.compile(
    r"[(\[{]\s?[*_]*(?:(?P<paren>[A-Za-z])[*_]*\s?(?:[)\]}](?![\w'])|\Z)|(?P<tight>[A-Z])[)\]}])|"
    r"(?P<closed>[A-Za-z])\s?[)\]}](?![\w'])|"
    r"(?P<ended>[A-Z])(?!'[a-z])(?=[.:](?!\d|[A-Z]\.)|,(?!\d)|[;!?\n*_\"')\]]|\s?[-–—→]{1,2}>?[\s(]|\s?\(|\s*\Z|\s\n|"
    r"[、。！？；\u3040-\u9fff\uac00-\ud7af]|\s(?:because|since|as|for|or|and|which|given|due|based|over|rather|instead|"
    r"with|by|where|from|is\s(?:the\s)?(?:correct|right|best|answer))\b)|"
    r"(?P<loose>[B-HJ-Z])(?=\s(?!(?:is|are|was|has)\b)[^\s=<>+*/^])|"
    r"(?P<lower>[b-hj]|(?<=[:*\"']\s)[ai]|(?<=[:*\"'])[ai])(?=[.*_\"'}]*\s*(?:\Z|\n))"
)
#: A letter in lower case that ends its line, where the options are the letters themselves.
_OWN_LETTER = re.compile(r"([a-z])(?=[.!*_\"']*\s*(?:\Z|\n))")
#: A label marked by a bracket, point or colon; it is read as a label even where an option's text begins with it.
_MARKED_LABEL = re.compile(r"[(\[]?[A-J][)\].:](?:\s|\Z)")
#: Several letters written as one: (A, B), AB, A/B.
_LETTERS_JOINED = re.compile(r"\([A-J](?:,\s?[A-J]){1,9}\)|[A-J](?:[A-J]{1,9}|(?:\s?[/&+]\s?[A-J]){1,9})(?![\w'])")
#: What stands between a label and the text of its option.
_AFTER_LABEL = re.compile(r"[\s.:)\]*_,;–—]*+(?:-+(?=\s)\s*)?")
#: How a list of Roman numerals goes on after I.
_ROMAN = re.compile(r"(?:,|,?\s(?:and|or|&))\s(?:and\s)?[IVX]{2,4}\b")
#: A second letter that is joined to the one before: "or B", "and possibly C", ", D".
_SECOND_LETTER = re.compile(
    r"[ *_\"')\]]*+(?:[,/&+]|\((?=(?:or|and|possibly|maybe|perhaps)\b)|(?=(?:or|and|oder|und|ou|et|o|y|e|as\swell)\s)|"
    r"(?=[或和、与及])) ?(?:and/or|or|and|oder|und|ou|et|o|y|e|as\swell\sas|或者?|和|、|与|及)? ?"
    r"(?:(?:possibly|maybe|perhaps|probably|even|also|option|choice)\s)*[(\[*_]*(?P<letter>[A-Z])(?![\w'])"
    r"(?!\s(?:is|was|has|would|being|shows|does|looks|seems)\b)"
)
#: A second label in brackets later in the sentence: "(A) it is red, and (C) it is round".
_LATER_LABEL = re.compile(
    r"(?:[,;]|[,;]?\s(?:and|or|and/or))\s\(([A-Z])\)(?!\s(?:is|was|has|would|being|shows|does)\b)"
)
#: Where the search for such a label ends: with the sentence, or where a reason or a contrast begins.
_CLAUSE_END = re.compile(
    r"[.!?](?=\s|\Z)|\n|\b(?:because|since|as|not|while|whereas|rather|over|instead|but|unlike|eliminat\w+)\b"
)
#: What joins a second option's text to the first.
_OR_TEXT = re.compile(r"[ *_\"')]*(?:,|/|,?\s?(?:or|and)\s)\s?(?:(?:possibly|maybe|perhaps)\s)?(?:the\s|an?\s)?")
#: A phrase that begins with a denial: "not A, it is C".
_DENIED = re.compile(r"(?:n't|not|never|isn't|cannot|can't)\b|不", re.IGNORECASE)
#: What leads from a denial to the option that is meant.
_BUT = re.compile(
    r"(?:\bbut(?:\srather)?|\b(?:so|hence)?\s?it(?:'s|\sis|\smust\sbe)|\brather|\binstead|而是|而应选)[,:]?\s*"
    r"(?:(?:it(?:'s|\sis)|is)\s)?",
    re.IGNORECASE,
)
#: A phrase that begins by naming no single option: "either", "unclear", "none".
_UNDECIDED = re.compile(
    r"(?:either|neither|both|unclear|unknown|uncertain|undetermin\w*|indetermin\w*|ambiguous|impossible|n/a|none|cannot|"
    r"can't|unable|inconclusive|not|unavailable|all\sof|any\sof|one\sof|between|\?)",
    re.IGNORECASE,
)
#: A phrase that only speaks of the answer: "based on", "clear", "found by".
_ABOUT_THE_ANSWER = re.compile(
    r"(?:supported|based|consistent|clear|found|given|shown|determined|derived|obtained|that|to|in|as|let|we|i|there|"
    r"this|these|look\w*|first|step|because|correct|right|wrong|incorrect|indicated|straightforward|obvious)\b(?!\Z)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z|[\"')*])|[。！？\n]")


def read_phrase(text: str, at: int, options: Options, only_letter: bool = False) -> Reading:
    """What the words at a place of a text commit to.

    With `only_letter` an option counts only by a letter that ends its clause, and not by its text.
    """
    at = skip(_LEAD, text, at)
    at = skip(_ASKED, text, at)
    stop = _SENTENCE_END.search(text, at)
    end = stop.start() if stop else len(text)
    if at >= len(text):
        return Reading(Commitment.NOTHING, end=-1)
    if _DENIED.match(text, at) and options.option_at(text, at).letter is None:
        return _after_denial(text, at, end, options)
    if options.are_letters and (own := _OWN_LETTER.match(text, at)) and own[1].upper() in options.letters:
        return Reading(Commitment.OPTION, own[1].upper(), own.end())
    line = text[at : text.find("\n", at) if "\n" in text[at:] else len(text)]
    if not only_letter and len(line) <= _MAX_OPTION_CHARACTERS:
        sentence = text[at:end]
        letter = options.equal_to(line) or (options.equal_to(sentence) if sentence != line else None)
        if letter:
            return _unless_doubted(Reading(Commitment.OPTION, letter, end), text, options)
        found = options.option_at(text, at)
        if found.commitment is not Commitment.OTHER_TEXT and not _MARKED_LABEL.match(text, at):
            return _unless_doubted(found, text, options)
    if _LETTERS_JOINED.match(text, at):
        return Reading(Commitment.NO_SINGLE_OPTION)
    if label := _LABEL.match(text, at):
        return _labelled(label, text, options, only_letter)
    if only_letter:
        return Reading(Commitment.NOTHING)
    if _UNDECIDED.match(text, at):
        return Reading(Commitment.NO_SINGLE_OPTION)
    if _ABOUT_THE_ANSWER.match(text, at):
        return Reading(Commitment.NOTHING)
    return _mentioned(text, at, end, options)


def _mentioned(text: str, at: int, end: int, options: Options) -> Reading:
    """The one option whose text appears anywhere in a sentence that neither denies nor asks."""
    sentence = text[at:end]
    mentions = options.mentions(sentence)
    if len(mentions) == 1 and not NEGATION.search(sentence) and not _ends_in_question(text, end):
        ((letter, spans),) = mentions.items()
        return Reading(Commitment.OPTION, letter, at + spans[-1][1])
    is_undecided = mentions or REFUSAL.search(sentence)
    return Reading(Commitment.NO_SINGLE_OPTION if is_undecided else Commitment.OTHER_TEXT)


def _after_denial(text: str, at: int, end: int, options: Options) -> Reading:
    """The option that a denial goes on to name ("not A, it is C"); without one, a denial says nothing."""
    if but := _BUT.search(text, at, end):
        reading = read_phrase(text, but.end(), options, only_letter=True)
        if reading.commitment is Commitment.OPTION:
            return reading
    return Reading(Commitment.NOTHING)


def _labelled(label: re.Match[str], text: str, options: Options, only_letter: bool) -> Reading:
    """The option of a label, unless the text doubts it or names another one too."""
    form, end = label.lastgroup, label.end()
    assert form is not None  # each alternative of _LABEL has one named group
    letter = label[form].upper()
    if only_letter and form == "loose":
        return Reading(Commitment.NOTHING)
    if _ends_in_question(text, end) or (letter == "I" and _ROMAN.match(text, end)):
        return Reading(Commitment.NOTHING)
    if letter not in options.letters:
        return Reading(Commitment.NO_SINGLE_OPTION)
    if _is_joined(text, end, letter, options) or _has_later_label(text, end, letter):
        return Reading(Commitment.NO_SINGLE_OPTION)
    named = options.option_at(text, skip(_AFTER_LABEL, text, end))
    if named.letter == letter:
        return _unless_doubted(Reading(Commitment.OPTION, letter, named.end), text, options)
    if only_letter and RULED_OUT.match(text, end):
        return Reading(Commitment.NOTHING)
    return Reading(Commitment.OPTION, letter, end)


def _unless_doubted(reading: Reading, text: str, options: Options) -> Reading:
    """A reading of an option's text, unless it is asked, or another letter or option text is joined to it."""
    if reading.letter is None:
        return reading
    if _ends_in_question(text, reading.end):
        return Reading(Commitment.NOTHING)
    if _is_joined(text, reading.end, reading.letter, options):
        return Reading(Commitment.NO_SINGLE_OPTION)
    if joined := _OR_TEXT.match(text, reading.end):
        other = options.option_at(text, joined.end())
        if other.letter not in (None, reading.letter):
            return Reading(Commitment.NO_SINGLE_OPTION)
    return reading


def _is_joined(text: str, end: int, letter: str, options: Options) -> bool:
    """Whether another letter is joined to the one that ends here; A and I count only as letters of options."""
    second = _SECOND_LETTER.match(text, end)
    if second is None or second["letter"] == letter:
        return False
    return second["letter"] in options.letters or second["letter"] not in "AI"


def _has_later_label(text: str, end: int, letter: str) -> bool:
    """Whether the same clause goes on to the label of another option."""
    stop = _CLAUSE_END.search(text, end)
    later = _LATER_LABEL.search(text, end, stop.start() if stop else len(text))
    return later is not None and later[1] != letter


def _ends_in_question(text: str, end: int) -> bool:
    return text[end : end + 3].lstrip(" *_)\"'.").startswith("?")
