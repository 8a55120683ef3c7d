"""The value that a model's final words commit to, where there are no options to choose from."""

import re
from collections.abc import Iterator

from captionqa.grading.announcements import end_of_last_announcement
from captionqa.grading.doubt import DENIAL
from captionqa.grading.model_output import SEARCHED_CHARACTERS, last_boxes
from captionqa.grading.number_words import NUMBER_WORD
from captionqa.grading.plain_text import skip
from captionqa.grading.quantity import parse_quantity

#: A text of at most this many words is the answer itself.
BARE_ANSWER_WORDS = 3
#: The end of a sentence is its value if it has at most this many words.
STATED_WORDS = 6
#: The end of an announced answer: the end of its sentence or line, or where a reason begins.
_ANSWER_END = re.compile(
    r"[.!?](?=\s|\Z)|[。！？\n]|,?\s(?:because|since|as\s(?:the|it|we|there)|which\s|where\s)|</answer>", re.IGNORECASE
)
#: What may stand between an announcement and its answer.
_BEFORE_ANSWER = re.compile(r"[\s:*_\"'>#]*")
#: What may stand between boxes that are one answer together: "x = \boxed{2} or x = \boxed{3}".
_BETWEEN_BOXES = re.compile(
    r"[\s$,;&*()\[\]\\]*(?:(?:and|or|和|或))?[\s$,;&*()\[\]\\]*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?\$?\s*"
)
#: What may stand before a bare value and is no part of it: "about", "Total:", "a total of", "in" before a year.
_ABOUT = re.compile(
    r"\A\s*(?:(?:(?:the|a)\s)?(?:total|count|number|sum|result|value|solution|length|area|amount)(?:\s(?:number|count|value))?"
    r"\s?(?::|of\s(?=\d))\s*|in\s(?=[12]\d{3}\W*\Z)|(?:about|around|approximately|roughly|nearly|exactly)\s+)+",
    re.IGNORECASE,
)
#: What follows a count: "three of them", but "one of them" counts nothing.
_OF_THEM = re.compile(r"(?<!one)(?<!One)(?<!1)\sof\s(?:them|these|those)\W*\Z")
#: Mathematics on lines of its own, after a text that it completes: "The length is:\n$$\nx = 12\n$$".
_DISPLAY = re.compile(
    r"(?<![.!?。！？\s])[ \t]*\n\s*(?:\$\$|\\\[)\s*((?:(?!\$\$|\\\]).){1,300}?)\s*(?:\$\$|\\\])", re.DOTALL
)
#: A last line that is a sum's result: "= $694", "#### 694".
_RESULT_LINE = re.compile(r"(?:\A|\n)[ \t]*(?:=|####)[ \t]*(?P<value>[^\n=#]*\d[^\n=#]*?)[ \t.]*\Z")
#: A value that is called the answer: "12 is the answer".
_CALLED_ANSWER = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s)?(?P<value>[^,;:=]{1,40}?)\s(?:is|would\sbe|must\sbe)\s(?:the|my)\s"
    r"(?:(?:final|correct|right)\s)?(?:answer|solution)\Z",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:[^.!?。！？\n]|[.!?](?!\s|\Z))+[.!?。！？]*")
#: The beginning of a sentence that draws the conclusion.
_CONCLUSION = re.compile(
    r"(?:so|thus|therefore|hence|consequently|finally|overall|altogether|in\s(?:total|conclusion|summary|all)|"
    r"as\sa\sresult|we\s(?:get|have|find|obtain)|this\s(?:gives|means)|final|total|result|conclusion|"
    r"因此|所以|故|综上|于是)(?![a-z])",
    re.IGNORECASE,
)
_VERBS = (
    r"(?:\b(?:is|are|was|were|equals?|equal\sto|be|gives|get|becomes?|yields|totals|measures|costs|weighs|takes|reads|says|shows|displays|indicates)\s|"
    r"是|等于|得到|为)"
)
_VERB = re.compile(_VERBS, re.IGNORECASE)
#: Where a sentence states something; a sentence with two statements has no single answer.
_STATEMENT = re.compile(rf"{_VERBS}|(?<!\d)[:：]|[:：](?!\d)", re.IGNORECASE)
#: Two equations, which are no single answer.
_TWO_EQUATIONS = re.compile(r"=[^=]*[,;][^=]*=")
#: Where a condition or a reason begins, which is no part of the statement before it.
_CONDITION = re.compile(r",?\s(?:when|if|where|given|because|since)\s", re.IGNORECASE)
#: A sentence that ends with its value, after the last verb, colon or equals sign.
_ENDS_WITH_VALUE = re.compile(
    rf".*(?:{_VERBS}|\bin\stotal:?\s|[=≈]|(?<!\d)[:：]|[:：](?!\d)|\\approx(?![a-z]))\s*"
    r"(?P<value>(?:[^=:：]|(?<=\d):(?=\d))+)",
    re.IGNORECASE | re.DOTALL,
)
#: The number that a sentence counts: "There are 12 dogs", "I can see 12", but not "12 or 13" or "12 of the 20".
_COUNT = re.compile(
    r"(?:\bthere\s(?:is|are|was|were|appears?\sto\sbe|seems?\sto\sbe)|\b(?:shows|contains|has|have|depicts)|"
    r"\b(?:I|we|you|one)\s(?:can\s|could\s)?(?:clearly\s)?(?:see|count|find|spot|identify|counted|found))\s"
    r"(?:a\stotal\sof|exactly|only|approximately|about|around|roughly)?\s*"
    rf"(?P<value>\d[\d,]*(?:\.\d+)?|{NUMBER_WORD}(?=\s))"
    r"(?![\d/.-]*\d|[^\W_]|[½¼¾⅓⅔π√^\u2044\u00b2\u00b3\u2070-\u2079\u2013]|\s*(?:or|to|and|more|fewer|less|times|dozen|squared|cubed|hundred|thousand|million|billion|percent|"
    r"of(?!\s(?:them|these|those)\b)|out|-|–)\b|[-–/:%])",
    re.IGNORECASE,
)
#: A sentence that begins with what it counts: "12 people are there".
_COUNTED_FIRST = re.compile(
    rf"(?P<value>\d+|{NUMBER_WORD})\s[a-z]+(?:\s[a-z]+)?\s(?:are|is|were|was|can\sbe)\s"
    r"(?:there|visible|shown|present|seen|in\sthe|on\sthe|depicted)\b",
    re.IGNORECASE,
)
#: Where a sentence goes on to say what its count consists of: "7 of them: 3 big and 4 small".
_DETAILS = re.compile(r"(?<=[a-z])\s?[:(—]|,\s(?:including|of\swhich|namely)\b")
#: A number in digits or words.
_NUMBER = re.compile(rf"\d+(?:[.,]\d+)*|\b{NUMBER_WORD}\b", re.IGNORECASE)
#: Words that leave open what a sentence says.
_HEDGE = re.compile(r"\b(?:perhaps|maybe|might|may|could|possibly|either|whether|unclear|unsure)\b", re.IGNORECASE)
#: A text that begins with yes or no, true or false.
_YES_NO = re.compile(
    r"[\s*_\"']*(yes|no|true|false|是的?|否|不是|对|正确|错误)(?=\s*[,.;:!，。—–\n*-]|\s*\Z)", re.IGNORECASE
)


def stated_value(final_text: str, truncated: bool = False) -> str | None:
    """The value that a final text commits to: its last boxes, what its last announcement introduces, or its conclusion.

    None where it commits to no value. Of a truncated text only boxes count, and an announcement whose sentence goes on
    to another one.
    """
    text = final_text[-SEARCHED_CHARACTERS:]
    if boxes := last_boxes(text, _BETWEEN_BOXES):
        return ", ".join(dict.fromkeys(boxes)) or None
    text = _DISPLAY.sub(r" $\1$ ", text.replace("**", ""))
    if not truncated and (match := _RESULT_LINE.search(text)):
        return match["value"]
    if (announced := end_of_last_announcement(text)) is not None:
        begin = skip(_BEFORE_ANSWER, text, announced)
        end = _ANSWER_END.search(text, begin)
        if truncated and (end is None or end.end() == len(text)):
            return None
        phrase = text[begin : end.start() if end else len(text)].strip(" *_").rstrip(" .*_")
        return _value_of_phrase(phrase) or None
    if truncated:
        return None
    if match := _YES_NO.match(text):
        return match[1]
    text = _OF_THEM.sub("", _ABOUT.sub("", text))
    if (len(text.split()) <= BARE_ANSWER_WORDS and not _VERB.search(text)) or parse_quantity(text):
        return text.strip().rstrip(".") or None
    return _concluded(text)


def _value_of_phrase(phrase: str) -> str:
    """The value at the end of a phrase such as "that the area is 12 cm"; any other phrase as it is."""
    if not phrase.startswith(("that ", "the ", "The ")) or parse_quantity(phrase) or DENIAL.search(phrase):
        return phrase
    match = _ENDS_WITH_VALUE.fullmatch(phrase)
    return match["value"].strip() if match else phrase


def _concluded(text: str) -> str | None:
    """The value that the last sentence counts or ends with, if that is the only sentence or draws the conclusion."""
    sentences = [match[0].strip(" *_#>\t") for match in _SENTENCE.finditer(text)]
    sentences = [sentence for sentence in sentences if re.search(r"\w", sentence)]
    if not sentences or sentences[-1].endswith(("?", "？")) or DENIAL.search(sentences[-1]):
        return None
    last = sentences[-1]
    if _HEDGE.search(last):
        return None
    last = last.rstrip(" .*_。！!")
    if called := _CALLED_ANSWER.fullmatch(last):
        return called["value"]
    if len(sentences) > 1 and not _CONCLUSION.match(last):
        return None
    return next(_values(last), None)


def _values(sentence: str) -> Iterator[str]:
    """What a sentence counts, then what it ends with."""
    details = _DETAILS.search(sentence)
    counting = sentence[: details.start()] if details else sentence
    if (match := _COUNT.search(counting) or _COUNTED_FIRST.match(counting)) and len(_NUMBER.findall(counting)) == 1:
        yield match["value"]
    if (condition := _CONDITION.search(sentence)) and _ENDS_WITH_VALUE.fullmatch(sentence[: condition.start()]):
        sentence = sentence[: condition.start()]
    if len(_STATEMENT.findall(sentence)) > 1 or _TWO_EQUATIONS.search(sentence):
        return
    if match := _ENDS_WITH_VALUE.fullmatch(sentence):
        value = match["value"].strip(" $") if match["value"].count("$") == 1 else match["value"].strip()
        if parse_quantity(value) or len(value.split()) <= STATED_WORDS:
            yield value
