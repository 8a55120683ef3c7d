"""Option texts: which option a text commits to by the option's words or value, where nothing is stated by letter."""

import re

from captionqa.grading.doubt import NEGATION
from captionqa.grading.options import YES_NO, Options, TextSpans
from captionqa.grading.refusal import REFUSAL
from captionqa.grading.stated_value import stated_value

#: An option's text that is no longer than this, such as a number, says little within a long text: there it counts only
#: at the end.
SHORT_OPTION_CHARACTERS = 3
#: A text is long from this length on.
LONG_TEXT_CHARACTERS = 200
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？\n]")
#: A label that touches the text of its option: "C.154 °".
_TIGHT_LABEL = re.compile(r"\W*([A-Z])[.):：]\s*(\S.*)", re.DOTALL)
#: How "yes" goes on where it is one of two: "or no".
_OR_NO = re.compile(r"\W+(?:or|and)\W+(?:yes|no|true|false)\b", re.IGNORECASE)
#: A question before the answer "yes": "Yes or no?".
_ASKED = re.compile(r"\W*(?:yes|no|true|false)\W+or\W+(?:yes|no|true|false)\?\s*", re.IGNORECASE)
#: What may come before "yes": "I would say", "Indeed,", "The statement is".
_BEFORE_YES = re.compile(
    r"\W*(?:(?:i|we)(?:'d|\swould)\s(?:say|answer)\s(?:that\s)?|(?:indeed|so|well|therefore|thus|overall),\s|"
    r"(?:the|this|that)\s(?:(?:given\s)?(?:statement|claim|assertion|caption|hypothesis|proposition|sentence)\s)?is\s|it(?:'s|\sis)\s)?",
    re.IGNORECASE,
)
#: Words that leave open what a sentence says.
_HEDGE = re.compile(r"\b(?:might|may|maybe|perhaps|could|possibly|either|or|whether|error)\b", re.IGNORECASE)
_WORD = re.compile(r"\w")
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"[12]\d{3}")
_OTHER_YEAR = re.compile(r"(?<!\d)[12]\d{3}(?!\d)")
#: What an option is compared with, and no answer: "Between A and B,".
_COMPARED = re.compile(r"(?:(?<=[.!?]\s)|\A|(?<=\n))(?:between|among|of|comparing)\b[^.,;:!?\n]{1,80},", re.IGNORECASE)
#: A denial just before an option that is set against another one: "not on the", "rather than".
_DENIAL_BEFORE = re.compile(
    r"[\s,]*\b(?:not|rather\sthan|instead\sof)\s(?:(?:on|in|at|to)\s)?(?:(?:the|an?)\s)?\Z", re.IGNORECASE
)
#: What ends such a contrast.
_AFTER_DENIED = re.compile(r"\s*(?:[.,;!]|\Z|but\b)", re.IGNORECASE)
#: How far back a denial before an option is looked for.
_DENIAL_CHARACTERS = 30
#: The clause that concludes a text.
_CONCLUSION = re.compile(
    r"(?:\A|[\s,;.])(?:so|therefore|thus|hence)(?:,|\s(?:it(?:'s|\sis)|that(?:'s|\sis)))?\s(?P<rest>[^.!?\n]{1,80})[.!*\s]*\Z",
    re.IGNORECASE,
)


def by_option_text(text: str, options: Options) -> str | None:
    """The one option whose text or value appears, unless it is denied, asked about, left open or part of a refusal."""
    if letter := _whole(text, options):
        return letter
    mentions = options.mentions(text)
    if not mentions:
        return _by_yes_or_no(text, options) or _by_value(text, options)
    if len(mentions) > 1:
        contrasted = _without_contrast(text, mentions)
        mentions = options.mentions(contrasted)
        if len(mentions) == 1:
            text = contrasted
    if len(mentions) != 1:
        return _concluded(text, options)
    ((letter, spans),) = mentions.items()
    return letter if _counts(text, letter, spans, options) else _concluded(text, options)


def _whole(text: str, options: Options) -> str | None:
    """The option that the whole text equals, with or without its label."""
    text = text.strip()
    if len(text) > LONG_TEXT_CHARACTERS:
        return None
    if letter := options.equal_to(text):
        return letter
    tight = _TIGHT_LABEL.fullmatch(text)
    return tight[1] if tight and options.equal_to(tight[2]) == tight[1] else None


def _counts(text: str, letter: str, spans: TextSpans, options: Options) -> bool:
    """Whether the mentions of the only option that is mentioned are its choice."""
    refusal = REFUSAL.search(text)
    if refusal and not any(start <= refusal.start() and refusal.end() <= end for start, end in spans):
        return False
    option, last_end = options.text_of(letter), spans[-1][1]
    # the sentences that mention the option, without it
    sentences = [text[slice(*_sentence(text, start))].lower().replace(option, "") for start, _ in spans]
    if any(NEGATION.search(sentence) or sentence.rstrip(" *\"')").endswith("?") for sentence in sentences):
        return False
    if all(_HEDGE.search(sentence) for sentence in sentences):
        return False
    if option[0].isdigit():  # a number that others follow is a step of a calculation
        later = _OTHER_YEAR if _YEAR.fullmatch(option) else _DIGIT
        if later.search(text, last_end):
            return False
    is_little = len(option) <= SHORT_OPTION_CHARACTERS and len(text) > LONG_TEXT_CHARACTERS
    return not (is_little and last_end < len(text) - 3)  # three characters may close the text


def _without_contrast(text: str, mentions: dict[str, TextSpans]) -> str:
    """A text without the options that it sets another one against: "not red but blue", "between A and B, B is"."""
    spans = [match.span() for match in _COMPARED.finditer(text)]
    for start, end in (span for found in mentions.values() for span in found):
        before = text[max(0, start - _DENIAL_CHARACTERS) : start]
        if (denial := _DENIAL_BEFORE.search(before)) and _AFTER_DENIED.match(text, end):
            spans.append((start - len(before) + denial.start(), end))
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + " " + text[end:]
    return text


def _concluded(text: str, options: Options) -> str | None:
    """The option that the last clause, "so ...", names and nothing else."""
    match = _CONCLUSION.search(text[-LONG_TEXT_CHARACTERS:])
    return options.equal_to(match["rest"]) if match else None


def _by_value(text: str, options: Options) -> str | None:
    """The option of the value that a text states, read as an answer without options is."""
    if not options.has_values or REFUSAL.search(text):
        return None
    value = stated_value(text)
    return options.equal_to(value) if value else None


def _by_yes_or_no(text: str, options: Options) -> str | None:
    """The option yes, no, true or false with which a text begins or ends."""
    if YES_NO.isdisjoint(options.texts) or REFUSAL.search(text):
        return None
    asked = _ASKED.match(text)
    start = _BEFORE_YES.match(text, asked.end() if asked else 0)
    at = start.end() if start else 0
    word = _WORD.search(text, at)
    reading = options.option_at(text, word.start() if word else 0)
    if reading.letter is None or options.text_of(reading.letter) not in YES_NO:
        return None
    return None if _OR_NO.match(text, reading.end) else reading.letter


def _sentence(text: str, at: int) -> tuple[int, int]:
    """Where the sentence around a place begins and ends."""
    begin = max(text.rfind(sign, 0, at) + 1 for sign in (". ", "! ", "? ", "\n"))
    end = _SENTENCE_END.search(text, at)
    return begin, end.end() if end else len(text)
