"""Options: what a text says about a question's options by their letters, texts and values, at one place of it."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from captionqa.grading.choices import LETTERS
from captionqa.grading.quantity import number, plain, same_number, skip
from captionqa.grading.refusal import REFUSAL

#: So many mentions of an option are looked at.
MENTIONS = 30
#: Options that are words of nearly every sentence; they count at its beginning alone.
YES_NO = frozenset({"yes", "no", "true", "false"})
_ARTICLE = re.compile(r"(?:the|an?)\s")
#: Options of such words could be taken for a statement about the answer.
_SPEAKING = re.compile(r"\b(?:options?|choices?|answers?|statements?|correct|right)\b.*\s\S+\s|答|选|正确")
#: What may stand between a cue and what it announces.
_LEAD = re.compile(
    r"(?:[\s:*_\"'>#=~|…]++|\.{2,}+(?! ?(?:\n|\Z))|[-–—]+>?(?=[\s*])|→|"
    r"(?:(?:most|very|quite)\s)?(?:likely|probably|clearly|definitely|actually|indeed|therefore|thus|simply|just|then|"
    r"obviously|certainly|evidently|surely|only|also|still|in\sfact|undoubtedly)\b,?|"
    r"(?:the\s)?(?:(?:correct|right|best|final)\s)?(?:option|choice|letter|answer|alternative)\b"
    r"(?:\s(?:labell?ed|marked|with|letter|number|is))?|labell?ed\b|(?:la|el|le|a|o)\s(?=[A-J]\b)|选项|选择|選項|为|是|opción|opção|réponse|option){0,12}+",
    re.IGNORECASE,
)
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
_LETTERS_JOINED = re.compile(r"\([A-J](?:,\s?[A-J]){1,9}\)|[A-J](?:[A-J]{1,9}|(?:\s?[/&+]\s?[A-J]){1,9})(?![\w'])")
_ANOTHER = re.compile(
    r"[ *_\"')\]]*+(?:[,/&+]|\((?=(?:or|and|possibly|maybe|perhaps)\b)|(?=(?:or|and|oder|und|ou|et|o|y|e|as\swell)\s)|"
    r"(?=[或和、与及])) ?(?:and/or|or|and|oder|und|ou|et|o|y|e|as\swell\sas|或者?|和|、|与|及)? ?"
    r"(?:(?:possibly|maybe|perhaps|probably|even|also|option|choice)\s)*[(\[*_]*(?P<letter>[A-J])(?![\w'])"
    r"(?!\s(?:is|was|has|would|being|shows|does|looks|seems)\b)"
)
_LATER_LABEL = re.compile(
    r"(?:[,;]|[,;]?\s(?:and|or|and/or))\s\(([A-J])\)(?!\s(?:is|was|has|would|being|shows|does)\b)"
)
_SENTENCE_STOP = re.compile(
    r"[.!?](?=\s|\Z)|\n|\b(?:because|since|as|not|while|whereas|rather|over|instead|but|unlike|eliminat\w+)\b"
)
_OR_TEXT = re.compile(r"[ *_\"')]*(?:,|/|,?\s?(?:or|and)\s)\s?(?:(?:possibly|maybe|perhaps)\s)?(?:the\s|an?\s)?")
_COUNTED = re.compile(r"\s?(?:hundred|thousand|million|billion|percent|times|half|and\s(?:a\s)?half|%|°)")
_NO_ONE = re.compile(r"no\s(?:one|longer|more|answer|option|choice|response)\b")
_AFTER_NUMBER = re.compile(r"[.,:/^]?\d|\s?[-+*/^=<>]\s?\d")
NEGATION = re.compile(
    r"(?:\b(?:not|never|no|neither|nor|cannot|without|except|unlike|than|instead\sof|isn|aren|doesn|don|wasn|can)\b|n't|"
    r"不|没|非)",
    re.IGNORECASE,
)
_AFTER_LABEL = re.compile(r"[\s.:)\]*_,;–—-]*")
#: How a sentence goes on that rules an option out or leaves it open.
RULED_OUT = re.compile(
    r"\s(?:might|may|could|cannot|can't|isn't|is\s(?:\w+\s)?(?:not|possible|plausible|incorrect|wrong|false|impossible|"
    r"unlikely|eliminated|ruled|out))\b"
)
_BUT = re.compile(
    r"(?:\bbut(?:\srather)?|\b(?:so|hence)?\s?it(?:'s|\sis|\smust\sbe)|\brather|\binstead|而是|而应选)[,:]?\s*"
    r"(?:(?:it(?:'s|\sis)|is)\s)?",
    re.IGNORECASE,
)
_DENIED = re.compile(r"(?:n't|not|never|isn't|cannot|can't)\b|不", re.IGNORECASE)
_UNSURE = re.compile(
    r"(?:either|neither|both|unclear|unknown|uncertain|undetermin\w*|indetermin\w*|ambiguous|impossible|n/a|none|cannot|"
    r"can't|unable|inconclusive|not|unavailable|all\sof|any\sof|one\sof|between|\?)",
    re.IGNORECASE,
)
#: How a sentence goes on that only speaks of the answer.
_SPEAKS_OF = re.compile(
    r"(?:supported|based|consistent|clear|found|given|shown|determined|derived|obtained|that|to|in|as|let|we|i|there|"
    r"this|these|look\w*|first|step|because|correct|right|wrong|incorrect|indicated|straightforward|obvious)\b(?!\Z)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z|[\"')*])|[。！？\n]")


class Kind(Enum):
    """What a place of a text commits to: an option, none for sure, a text that is no option, or it says nothing."""

    LETTER = "letter"
    NONE = "none"
    UNMATCHED = "unmatched"
    SILENT = "silent"


class Reading(NamedTuple):
    """What was read, the letter if there is one, and where it ends."""

    kind: Kind
    letter: str | None = None
    end: int = 0


class Options:
    """The options of one question, prepared for looking them up in texts."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.letters = LETTERS[: len(choices)]
        self.texts = [" ".join(plain(choice).split()).strip(" .;,").lower() for choice in choices[: len(LETTERS)]]
        self._keys = [_key(text) for text in self.texts]
        self._bare_keys = [_key(_ARTICLE.sub("", text)) for text in self.texts]
        self._speaking = [text for text in self.texts if _SPEAKING.search(text)]

    def equal_to(self, text: str) -> str | None:
        """The one option that a whole text equals, by its words or by its value; a single letter is but a label."""
        if _single(text):
            return None
        text = plain(text).lower().strip()
        for keys, key in ((self._keys, _key(text)), (self._bare_keys, _key(_ARTICLE.sub("", text)))):
            if found := [at for at, other in enumerate(keys) if key and other == key]:
                return self.letters[found[0]] if len(found) == 1 else None
        if not (value := number(text)):
            return None
        values = [(at, number(choice)) for at, choice in enumerate(self.texts)]
        found = [at for at, other in values if other and same_number(value, other)]
        return self.letters[found[0]] if len(found) == 1 else None

    def starting(self, text: str, at: int) -> Reading:
        """The option whose text stands at a place, the longest if several do; options of one letter are left out."""
        low, best = text.lower(), Reading(Kind.UNMATCHED)
        article = _ARTICLE.match(low, at)
        for start in {at, article.end() if article else at}:
            for letter, choice in zip(self.letters, self.texts, strict=True):
                if choice == "no" and _NO_ONE.match(low, start):
                    continue
                end = start + len(choice)
                if (
                    end > best.end
                    and choice
                    and not _single(choice)
                    and low.startswith(choice, start)
                    and _whole(low, start, end)
                ):
                    best = Reading(Kind.LETTER, letter, end)
        is_twice = best.letter and self.texts.count(self.texts[LETTERS.index(best.letter)]) > 1
        return Reading(Kind.NONE) if is_twice else best

    def mentioned(self, text: str) -> dict[str, list[tuple[int, int]]]:
        """The letters of the options whose text appears outside another option's, with the places of each."""
        low = text.lower()
        found: dict[str, list[tuple[int, int]]] = {}
        for letter, choice in zip(self.letters, self.texts, strict=True):
            start = -1 if _single(choice) or choice in YES_NO else low.find(choice)
            while start >= 0 and len(found.get(letter, ())) < MENTIONS:
                if _whole(low, start, start + len(choice)):
                    found.setdefault(letter, []).append((start, start + len(choice)))
                start = low.find(choice, start + 1)
        spans = [span for places in found.values() for span in places]
        outer = {
            letter: [
                (start, end)
                for start, end in places
                if not any(a <= start and end <= b and b - a > end - start for a, b in spans)
            ]
            for letter, places in found.items()
        }
        return {letter: places for letter, places in outer.items() if places}

    def quoted(self, low: str) -> list[tuple[int, int]]:
        """Where a text quotes options that speak of options or answers themselves, so that this states nothing."""
        spans: list[tuple[int, int]] = []
        for choice in self._speaking:
            start = low.find(choice)
            while start >= 0 and len(spans) < MENTIONS:
                spans.append((start, start + len(choice)))
                start = low.find(choice, start + len(choice))
        return spans

    def read(self, text: str, at: int, strict: bool = False) -> Reading:
        """What stands at a place: a letter, an option's text, doubt, another text, or words about the answer.

        With `strict` only a letter counts that ends its clause, and no option's text.
        """
        at = skip(_LEAD, text, at)
        stop = _SENTENCE_END.search(text, at)
        end = stop.start() if stop else len(text)
        if at >= len(text):
            return Reading(Kind.SILENT, end=-1)
        if _DENIED.match(text, at) and self.starting(text, at).letter is None:
            return self._after_denial(text, at, end)
        line = text[at : text.find("\n", at) if "\n" in text[at:] else len(text)]
        if not strict and len(line) <= 400:
            if letter := self.equal_to(line) or self.equal_to(text[at:end]):
                return self._unless_doubted(Reading(Kind.LETTER, letter, at + len(text[at:end])), text)
            if (found := self.starting(text, at)).kind is not Kind.UNMATCHED and not _LABEL_ONLY.match(text, at):
                return self._unless_doubted(found, text)
        if _LETTERS_JOINED.match(text, at):
            return Reading(Kind.NONE)
        if label := _LABEL.match(text, at):
            return self._labelled(label, text, strict)
        if strict:
            return Reading(Kind.SILENT)
        if _UNSURE.match(text, at):
            return Reading(Kind.NONE)
        if _SPEAKS_OF.match(text, at):
            return Reading(Kind.SILENT)
        sentence = text[at:end]
        named = self.mentioned(sentence)
        if len(named) == 1 and not NEGATION.search(sentence) and not _ends_in_question(text, end):
            ((letter, places),) = named.items()
            return Reading(Kind.LETTER, letter, at + places[-1][1])
        return Reading(Kind.NONE if named or REFUSAL.search(sentence) else Kind.UNMATCHED)

    def _after_denial(self, text: str, at: int, end: int) -> Reading:
        """ "not A, it is C": the option that a denial goes on to name; else it says nothing."""
        if but := _BUT.search(text, at, end):
            reading = self.read(text, but.end(), strict=True)
            if reading.kind is Kind.LETTER:
                return reading
        return Reading(Kind.SILENT)

    def _labelled(self, label: re.Match[str], text: str, strict: bool) -> Reading:
        form, end = label.lastgroup, label.end()
        assert form is not None  # each alternative has a named group
        letter = label[form].upper()
        if strict and form == "loose":
            return Reading(Kind.SILENT)
        if _ends_in_question(text, end):
            return Reading(Kind.SILENT)
        if letter not in self.letters:
            return Reading(Kind.NONE)
        if _another(text, end, self.letters) or _later_label(text, end, letter):
            return Reading(Kind.NONE)
        follows = skip(_AFTER_LABEL, text, end)
        named = self.starting(text, follows)
        if named.letter == letter:
            return self._unless_doubted(Reading(Kind.LETTER, letter, named.end), text)
        return Reading(Kind.SILENT) if strict and RULED_OUT.match(text, end) else Reading(Kind.LETTER, letter, end)

    def _unless_doubted(self, reading: Reading, text: str) -> Reading:
        """A reading of an option's text, unless another option or letter is named in the same breath."""
        if reading.letter is None:
            return reading
        if _ends_in_question(text, reading.end):
            return Reading(Kind.SILENT)
        if _another(text, reading.end, self.letters):
            return Reading(Kind.NONE)
        if joined := _OR_TEXT.match(text, reading.end):
            other = self.starting(text, joined.end())
            if other.letter not in (None, reading.letter):
                return Reading(Kind.NONE)
        return reading


_LABEL_ONLY = re.compile(r"[(\[]?[A-J][)\].:](?:\s|\Z)")


def _another(text: str, end: int, letters: str) -> bool:
    found = _ANOTHER.match(text, end)
    return found is not None and (found["letter"] in letters or found["letter"] not in "AI")


def _later_label(text: str, end: int, letter: str) -> bool:
    """Whether the same sentence goes on to another label: "(A) it is red, and (C) it is round"."""
    stop = _SENTENCE_STOP.search(text, end)
    found = _LATER_LABEL.search(text, end, stop.start() if stop else len(text))
    return found is not None and found[1] != letter


def _ends_in_question(text: str, end: int) -> bool:
    return text[end : end + 3].lstrip(" *_)\"'.").startswith("?")


def _single(text: str) -> bool:
    """Whether an option is but a letter, be it in brackets; then the letter is taken for a label."""
    text = text.strip(" .()[]")
    return len(text) <= 1 and not text.isdigit() and text.isascii()


def _whole(low: str, start: int, end: int) -> bool:
    """Whether a text stands there as words of its own and a number as a whole number."""
    before, after = low[start - 1 : start], low[end : end + 1]
    if (_is_word(before) and _is_word(low[start])) or (_is_word(low[end - 1]) and (_is_word(after) or after == "'")):
        return False
    if after in ("\\", "^", "{") or before == "{" or (low[start] == "\\" and before and before in "+-*/=^({}"):
        return False  # a part of a formula
    if after == "-" and low[end + 1 : end + 2].isalnum():
        return False
    if low[start].isdigit() and (
        before in ("-", "/", "^") or (before in (".", ",", ":") and low[start - 2 : start - 1].isdigit())
    ):
        return False
    return not (_COUNTED.match(low, end) or (low[end - 1].isdigit() and _AFTER_NUMBER.match(low, end)))


def _is_word(sign: str) -> bool:
    """Whether a sign belongs to the word beside it; scripts without blanks have words that touch."""
    return sign == "_" or (sign.isalnum() and sign < "\u3040")


def _key(text: str) -> str:
    return "".join(text.split()).strip(".;:,!*_\"'").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
