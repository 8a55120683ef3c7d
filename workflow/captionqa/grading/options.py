"""Options: looking up in a text the options of one question, by their texts and values."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from captionqa.grading.choices import LETTERS
from captionqa.grading.dates import parse_time
from captionqa.grading.number_words import NUMBER_WORD
from captionqa.grading.plain_text import plain_line, plain_text
from captionqa.grading.quantity import Quantity, parse_quantity, same_quantity
from captionqa.grading.same_value import formula_variables, same_value
from captionqa.grading.signs import with_minus_signs

TextSpans = list[tuple[int, int]]
#: At most this many mentions of an option are looked at.
MAX_MENTIONS = 30
#: A longer text is a sentence and no value.
MAX_VALUE_CHARACTERS = 100
#: Options whose words occur in nearly every sentence; they count only at the beginning of a text.
YES_NO = frozenset({"yes", "no", "true", "false"})
#: The label of an option, which is no part of its value.
_LABEL = re.compile(r"\(?[A-Z](?:[.):]|\s(?=[-\d]))|\([A-Z]\)")
#: What each number and formula has, in digits or words, in lower case.
_VALUE = re.compile(rf"[\d\\^_=<>√π½¼¾⅓⅔]|{NUMBER_WORD}")
#: What each option has that may be compared by its value.
_COMPARABLE = re.compile(rf"[\d\\^_=+*/<>|√π∞\u00b2\u00b3\u00b9\u2070-\u2079≤≥½¼¾⅓⅔]|\b(?:half|{NUMBER_WORD})")
_ARTICLE = re.compile(r"(?:the|an?)\s")
#: An option with these words could be mistaken for a statement about the answer.
_SPEAKS_OF_ANSWERS = re.compile(r"\b(?:options?|choices?|answers?|statements?|correct|right)\b.*\s\S+\s|答|选|正确")
#: What may follow a number and change its value, so that it is not the number of an option.
_SCALE = re.compile(
    r"\s?(?:(?:hundred|thousand|million|billion|percent|times|half|dozens?|score|squared|cubed|factorial|and\s(?:a\s)?half)\b|%|°)"
)
#: What may stand before a number and change its value, or make it the name of something: √5, "minus 5", "Figure 5".
_JOINED_BEFORE = re.compile(
    r"(?:[-\u2013]\s?|[\u2014√∛^/\u2044.]|\b(?:minus|negative|log|ln|sin|cos|tan|root|root\sof|sqrt|twice|double|triple|thrice|"
    r"half|half\sof|dozen\sof|figure|fig\.?|table|page|chapter|section|step|question|equation|item|image|picture|panel|row|column|"
    r"problem|exercise)\s)\Z"
)
#: How far back such words are looked for.
_BEFORE_CHARACTERS = 14
#: A word that changes the one after it: "light red", "upper left".
_MODIFIER = re.compile(r"\b(light|dark|pale|upper|lower|top|bottom|middle|non)[ -]\Z")
#: "left" as a verb: "left the room".
_LEFT_SOMETHING = re.compile(r"\s(?:the|an?|his|her|its|their|for|behind|it)\b")
_TO_THE_LEFT = re.compile(r"\b(?:the|on|to|at|is|from|far|its|my|your)\s\Z")
#: How a text goes on where the number before is only a part of a longer one or of a calculation.
_NUMBER_GOES_ON = re.compile(r"[.,:/^]?\d|\s?[-+*/^=<>]\s?\d")
#: Phrases that begin with "no" and do not choose an option "no".
_NO_PHRASE = re.compile(r"no\s(?:one|longer|more|answer|option|choice|response)\b")


class Commitment(Enum):
    """What the words at one place of a text commit to."""

    #: One of the options.
    OPTION = "option"
    #: No single option: several, all or none of them, a letter out of range, or doubt.
    NO_SINGLE_OPTION = "no single option"
    #: A text that is no option.
    OTHER_TEXT = "other text"
    #: Nothing: the words say nothing about the answer.
    NOTHING = "nothing"


class Reading(NamedTuple):
    """What was read at one place of a text."""

    commitment: Commitment
    #: The option's letter, for Commitment.OPTION alone.
    letter: str | None = None
    #: Where the option's letter or text ends; -1 where the text ended before anything was said.
    end: int = 0


#: What most places of a text say.
_OTHER_TEXT = Reading(Commitment.OTHER_TEXT)


class Options:
    """The options of one question, prepared for looking them up in texts."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.letters = LETTERS[: len(choices)]
        #: The texts of the options in plain text.
        self._plain = [
            with_minus_signs(plain_line(choice)).rstrip(" .;,").lstrip(" ;,") for choice in choices[: len(LETTERS)]
        ]
        self.texts = [text.lower() for text in self._plain]
        #: All of them, to see at once whether any has a sign.
        self._lines = "\n".join(self.texts)
        #: Whether the text of each option is its own letter.
        self.are_letters = self.texts == list(self.letters.lower())

    @cached_property
    def _by_key(self) -> dict[str, str | None]:
        return self._letters_by_key(map(_key, self.texts))

    @cached_property
    def _by_key_without_article(self) -> dict[str, str | None]:
        if not _ARTICLE.search(self._lines):
            return self._by_key
        return self._letters_by_key(_key(_ARTICLE.sub("", text)) for text in self.texts)

    def _letters_by_key(self, keys: Iterable[str]) -> dict[str, str | None]:
        """The letter of each key that is not empty; None for one of several options."""
        letters: dict[str, str | None] = {}
        for letter, key in zip(self.letters, keys, strict=True):
            if key:
                letters[key] = None if key in letters else letter
        return letters

    @cached_property
    def _words(self) -> list[tuple[str, str]]:
        """The letters and texts of the options that are looked for in a text: all but those of one letter."""
        found = zip(self.letters, self.texts, strict=True)
        return [(letter, text) for letter, text in found if not _is_letter(text)]

    @cached_property
    def _about_answers(self) -> list[str]:
        found = self.texts if _SPEAKS_OF_ANSWERS.search(self._lines) else []
        return [text for text in found if _SPEAKS_OF_ANSWERS.search(text)]

    @cached_property
    def _quantities(self) -> list[Quantity | None]:
        return [parse_quantity(text) for text in self._plain]

    @cached_property
    def _formula_variables(self) -> list[frozenset[str] | None]:
        """The variables of each option that is a formula, None for any other."""
        return [formula_variables(text) for text in self._plain]

    @cached_property
    def has_values(self) -> bool:
        """Whether an option is a quantity or a formula, and no words."""
        return (
            self._may_have_values
            and _VALUE.search(self._lines) is not None
            and (any(self._quantities) or any(found is not None for found in self._formula_variables))
        )

    def plain(self, text: str) -> str:
        """A text in plain text, with "minus 5" written -5 where an option has a minus."""
        text = plain_text(text)
        return with_minus_signs(text) if "-" in self._lines else text

    def text_of(self, letter: str) -> str:
        """The text of an option, in lower case."""
        return self.texts[self.letters.index(letter)]

    def equal_to(self, text: str) -> str | None:
        """The letter of the one option that a whole text equals, by its words or by its value.

        None for a text that is a single letter: that is a label.
        """
        if _is_letter(text):
            return None
        plain = with_minus_signs(plain_line(text))
        low = plain.lower()
        if (key := _key(low)) in self._by_key:
            return self._by_key[key]
        if (key := _key(_ARTICLE.sub("", low))) in self._by_key_without_article:
            return self._by_key_without_article[key]
        return self._of_value(plain) if self._may_have_values else None

    @cached_property
    def _may_have_values(self) -> bool:
        """Whether an option has what each number, formula and time has."""
        return _COMPARABLE.search(self._lines) is not None

    def _of_value(self, text: str) -> str | None:
        """The letter of the one option whose value a text is."""
        if len(text) > MAX_VALUE_CHARACTERS or _LABEL.match(text):
            return None
        quantity, variables, time = parse_quantity(text), formula_variables(text), parse_time(text)
        if quantity is None and variables is None and time is None:
            return None
        if time:
            found = [at for at, other in enumerate(self._plain) if parse_time(other) == time]
        else:
            found = [
                at for at, other in enumerate(self._quantities) if quantity and other and same_quantity(quantity, other)
            ]
        if not found and variables is not None:
            found = [
                at
                for at, (other, its_variables) in enumerate(zip(self._plain, self._formula_variables, strict=True))
                if its_variables is not None
                and not (quantity and self._quantities[at])
                and ("=" in text + other or its_variables == variables)  # other variables make another formula
                and same_value(other, text)
            ]
        return self.letters[found[0]] if len(found) == 1 else None

    def option_at(self, text: str, at: int) -> Reading:
        """The option whose text begins at a place, the longest if several do; options of one letter are left out.

        The reading is OPTION, OTHER_TEXT, or NO_SINGLE_OPTION where two options have the same text.
        """
        low, best = text.lower(), _OTHER_TEXT
        article = _ARTICLE.match(low, at)
        for start in (at, article.end()) if article else (at,):
            for letter, choice in self._words:
                if not low.startswith(choice, start):
                    continue
                end = start + len(choice)
                if (
                    end > best.end
                    and not (choice == "no" and _NO_PHRASE.match(low, start))
                    and _stands_alone(low, start, end)
                ):
                    best = Reading(Commitment.OPTION, letter, end)
        if best.letter and self.texts.count(self.text_of(best.letter)) > 1:
            return Reading(Commitment.NO_SINGLE_OPTION)
        return best

    def mentions(self, text: str) -> dict[str, TextSpans]:
        """The letters of the options whose text appears, with the spans of each.

        A mention within the mention of a longer option is left out, and so are options of one letter, yes and no.
        """
        low = text.lower()
        found: dict[str, TextSpans] = {}
        for letter, choice in self._words:
            start = -1 if choice in YES_NO else low.find(choice)
            while start >= 0 and len(found.get(letter, ())) < MAX_MENTIONS:
                if _stands_alone(low, start, start + len(choice)) and not self._is_modified(low, start):
                    found.setdefault(letter, []).append((start, start + len(choice)))
                start = low.find(choice, start + 1)
        all_spans = [span for spans in found.values() for span in spans]
        outermost = {
            letter: [span for span in spans if not any(_is_part(span, other) for other in all_spans)]
            for letter, spans in found.items()
        }
        return {letter: spans for letter, spans in outermost.items() if spans}

    def _is_modified(self, low: str, start: int) -> bool:
        """Whether a word before an option makes it another thing ("light red"), unless that word is an option too."""
        modifier = _MODIFIER.search(low, max(0, start - _BEFORE_CHARACTERS), start)
        return modifier is not None and modifier[1] not in self.texts

    def quotations(self, low: str) -> TextSpans:
        """Where a text in lower case quotes options that speak of options or answers; such words state nothing."""
        spans: TextSpans = []
        for choice in self._about_answers:
            start = low.find(choice)
            while start >= 0 and len(spans) < MAX_MENTIONS:
                spans.append((start, start + len(choice)))
                start = low.find(choice, start + len(choice))
        return spans


def is_inside(at: int, spans: TextSpans) -> bool:
    """Whether a place of a text is within one of the spans."""
    return any(start <= at < end for start, end in spans)


def _is_part(span: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a span is within a longer one."""
    return other[0] <= span[0] and span[1] <= other[1] and other[1] - other[0] > span[1] - span[0]


def _is_letter(text: str) -> bool:
    """Whether an option is only a letter, with or without brackets, so that it could be taken for a label."""
    text = text.strip(" .()[]")
    return len(text) <= 1 and not text.isdigit() and text.isascii()


def _stands_alone(low: str, start: int, end: int) -> bool:
    """Whether the text of a span is not a part of a longer word, name, number or formula."""
    before, after = low[start - 1 : start], low[end : end + 1]
    if (_is_word(before) and _is_word(low[start])) or (_is_word(low[end - 1]) and (_is_word(after) or after == "'")):
        return False
    if after in ("\\", "^", "{") or before == "{" or (low[start] == "\\" and before and before in "+-*/=^({}"):
        return False  # a part of a formula
    if after == "-" and low[end + 1 : end + 2].isalnum():
        return False
    lead = low[max(0, start - _BEFORE_CHARACTERS) : start]
    if low[start].isdigit():
        if _JOINED_BEFORE.search(lead) or (before in (",", ":") and low[start - 2 : start - 1].isdigit()):
            return False
    elif low[start:end] == "left" and _LEFT_SOMETHING.match(low, end) and not _TO_THE_LEFT.search(lead):
        return False
    return not (_SCALE.match(low, end) or (low[end - 1].isdigit() and _NUMBER_GOES_ON.match(low, end)))


def _is_word(sign: str) -> bool:
    """Whether a character belongs to the word beside it; in scripts without blanks words touch one another."""
    return sign == "_" or (sign.isalnum() and sign < "\u3040")


def _key(text: str) -> str:
    """What is compared of an option's text: no blanks, no marks at its ends, one spelling of fractions."""
    text = "".join(text.split()).strip(";:,!*_\"'").rstrip(".;:,!*_\"'")
    return text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac") if "\\" in text else text
