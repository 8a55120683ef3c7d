"""Answers: the value that a model's words commit to, where there are no options to choose from."""

import re
from collections.abc import Iterator

from captionqa.grading.announcements import last_cue
from captionqa.grading.chosen_letter import SEARCHED_CHARACTERS, last_boxes
from captionqa.grading.options import NEGATION
from captionqa.grading.quantity import number, skip

#: A message of so few words is the answer itself.
BARE_ANSWER_WORDS = 3
#: What a sentence ends with is its value up to so many words.
STATED_WORDS = 6
#: An answer after a cue ends with its sentence or its line, or where a reason begins.
_ANSWER_END = re.compile(
    r"[.!?](?=\s|\Z)|[。！？\n]|,?\s(?:because|since|as\s(?:the|it|we|there)|which\s|where\s)|</answer>", re.IGNORECASE
)
_BEFORE_ANSWER = re.compile(r"[\s:*_\"'>#]*")
#: What may stand between boxes that are one answer together: "x = \boxed{2} or x = \boxed{3}".
_BETWEEN_BOXES = re.compile(
    r"[\s$,;&*()\[\]\\]*(?:(?:and|or|和|或))?[\s$,;&*()\[\]\\]*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?\$?\s*"
)
_ABOUT = re.compile(r"\A\s*(?:about|around|approximately|roughly|nearly|exactly)\s+", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:[^.!?。！？\n]|[.!?](?!\s|\Z))+[.!?。！？]*")
_CONCLUDES = re.compile(
    r"(?:so|thus|therefore|hence|consequently|finally|overall|altogether|in\s(?:total|conclusion|summary|all)|"
    r"as\sa\sresult|we\s(?:get|have|find|obtain)|this\s(?:gives|means)|final|total|result|conclusion|"
    r"因此|所以|故|综上|于是)(?![a-z])",
    re.IGNORECASE,
)
_VERBS = (
    r"(?:\b(?:is|are|was|were|equals?|equal\sto|be|gives|get|becomes?|yields|totals|measures|costs|weighs|takes|reads|says)\s|"
    r"是|等于|得到|为)"
)
_VERB = re.compile(_VERBS, re.IGNORECASE)
#: Where a sentence states something; two statements are not one answer.
_STATEMENT = re.compile(rf"{_VERBS}|(?<!\d)[:：]|[:：](?!\d)", re.IGNORECASE)
_TWO_EQUATIONS = re.compile(r"=[^=]*[,;][^=]*=")
_CONDITION = re.compile(r",?\s(?:when|if|where|given|because|since)\s", re.IGNORECASE)
_STATES = re.compile(
    rf".*(?:{_VERBS}|\bin\stotal:?\s|[=≈]|(?<!\d)[:：]|[:：](?!\d)|\\approx(?![a-z]))\s*"
    r"(?P<value>(?:[^=:：]|(?<=\d):(?=\d))+)",
    re.IGNORECASE | re.DOTALL,
)
_COUNTS = re.compile(
    r"\b(?:there\s(?:is|are|were|was)|shows?|contains?|ha(?:s|ve)|see|count|includes?|共?有)\s*"
    r"(?:a\stotal\sof|exactly|only|approximately|about|around|roughly)?\s*(?P<value>\d[\d,]*(?:\.\d+)?|(?:one|two|three|four|"
    r"five|six|seven|eight|nine|ten|eleven|twelve)(?=\s))(?![\d/.-]*\d|\s*(?:or|to|and|more|fewer|less|times|dozen|"
    r"hundred|thousand|million|billion|percent|of|out|-|–)\b|[-–/:%])",
    re.IGNORECASE,
)
_NUMERAL = re.compile(
    r"\d+(?:[.,]\d+)*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE
)
_HEDGE = re.compile(r"\b(?:perhaps|maybe|might|may|could|possibly|either|whether|unclear|unsure)\b", re.IGNORECASE)
_YES_NO = re.compile(
    r"[\s*_\"']*(yes|no|true|false|是的?|否|不是|对|正确|错误)(?=\s*[,.;:!，。—–\n*-]|\s*\Z)", re.IGNORECASE
)


def stated_value(said: str) -> str | None:
    """The value of a model's final words: in the last box, after the last cue, or in a concluding sentence.

    None where they commit to no value.
    """
    said = said[-SEARCHED_CHARACTERS:]
    if found := last_boxes(said, _BETWEEN_BOXES):
        return ", ".join(dict.fromkeys(found)) or None
    said = said.replace("**", "")
    if (cue := last_cue(said)) is not None:
        begin = skip(_BEFORE_ANSWER, said, cue)
        end = _ANSWER_END.search(said, begin)
        phrase = said[begin : end.start() if end else len(said)].strip(" *_").rstrip(" .*_")
        return _end_of(phrase) or None
    if match := _YES_NO.match(said):
        return match[1]
    if (len(said.split()) <= BARE_ANSWER_WORDS and not _VERB.search(said)) or number(_ABOUT.sub("", said)):
        return said.strip().rstrip(".") or None
    return _concluded(said)


def _end_of(phrase: str) -> str:
    """The value of a phrase such as "that the area is 12 cm"."""
    if not phrase.startswith(("that ", "the ", "The ")) or number(phrase) or NEGATION.search(phrase):
        return phrase
    match = _STATES.fullmatch(phrase)
    return match["value"].strip() if match else phrase


def _concluded(said: str) -> str | None:
    """The value that the last sentence ends with, or counts, if it is the only one or draws the conclusion."""
    sentences = [match[0].strip(" *_#>\t") for match in _SENTENCE.finditer(said)]
    sentences = [sentence for sentence in sentences if re.search(r"\w", sentence)]
    if not sentences or sentences[-1].endswith(("?", "？")) or NEGATION.search(sentences[-1]):
        return None
    last = sentences[-1]
    if _HEDGE.search(last):
        return None
    if len(sentences) > 1 and not _CONCLUDES.match(last):
        return None
    return next(_values(last.rstrip(" .*_。！!")), None)


def _values(sentence: str) -> Iterator[str]:
    if (match := _COUNTS.search(sentence)) and len(_NUMERAL.findall(sentence)) == 1:
        yield match["value"]
    if (condition := _CONDITION.search(sentence)) and _STATES.fullmatch(sentence[: condition.start()]):
        sentence = sentence[: condition.start()]
    if len(_STATEMENT.findall(sentence)) > 1 or _TWO_EQUATIONS.search(sentence):
        return
    if match := _STATES.fullmatch(sentence):
        value = match["value"].strip(" $") if match["value"].count("$") == 1 else match["value"].strip()
        if number(value) or len(value.split()) <= STATED_WORDS:
            yield value
