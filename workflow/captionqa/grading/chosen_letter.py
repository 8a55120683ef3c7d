"""Extraction: the letter that a model's words commit to, by the first rule that applies; never a guess."""

import re
from typing import Literal, NamedTuple

from captionqa.grading.announcements import read_cues
from captionqa.grading.options import NEGATION, RULED_OUT, YES_NO, Kind, Options, Reading
from captionqa.grading.quantity import plain
from captionqa.grading.refusal import REFUSAL

#: What a letter was found by, in the order in which the rules are tried.
LetterRule = Literal["box", "cue", "letter", "option text", "none"]
#: Only so much of an output's end is searched for cues, so that no output takes long.
SEARCHED_CHARACTERS = 20_000
#: A text as short as a number says little in a text longer than this, unless it stands at the end.
SHORT_OPTION = 3
LONG_TEXT = 200
_THINK = re.compile(r"[<◁](/?)(?:think|thinking|thought|reasoning)[>▷]")
_BOX = re.compile(r"(?P<box>(?:\\f?boxed|\\fbox|\x08oxed|(?<![\\\w])boxed)\s*\{)|[{}]")
_GLM_BOX = re.compile(r"<\|begin_of_box\|>((?:(?!<\|begin_of_box).)*?)<\|end_of_box\|>", re.DOTALL)
_TWO_BOXES = re.compile(r"[\s$,;*.)\\\]]*(?:or|and|and/or|/|&|或|和)[\s$*(\\\[]*\Z")
_LABEL_LINE = re.compile(
    r"^[ \-•#>*_]*(?:option\s|choice\s|选项)?[(\[]?([A-Ja-j])"
    r"(?:[*_]*[)\].:,、]+(?=\s|$|[A-Z]?[a-z]{2}|[^\x00-\x7f])|\s[-–—](?=\s)|(?=[*_]*\s*$))[ *_]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_LABEL = re.compile(r"\([A-J]\)|(?<![\w'])[A-J][.)]\s")
_IN_A_ROW = re.compile(r"[^\n]*\(A\)[^\n]*\(B\)[^\n]*\(C\)")
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？\n]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]|</?s>")
_EITHER = re.compile(r"\W+(?:or|and)\W+(?:yes|no|true|false)\b", re.IGNORECASE)
_WORD = re.compile(r"\w")
_DIGIT = re.compile(r"\d")
#: A model that goes on with questions of its own has answered the one it was asked before.
_NEXT_QUESTION = re.compile(r"\n\s*(?:Question|Q|问题|题目)\s?\d*\s?:", re.IGNORECASE)
_HEDGE = re.compile(r"\b(?:might|may|maybe|perhaps|could|possibly|either|or|whether|error)\b", re.IGNORECASE)
_ONLY_LETTER = re.compile(r"[\s(\[{*_\"'`.:]*([A-Za-z])[\s)\]}*_.,!\"'`:。]*")
_BEGINNING = re.compile(r"\s*(?=[(\[]?[A-J](?:[)\]]|,?\s(?:because|since|as|due|based|given)\b|\s[-–—]|,|:))")


class _Box(NamedTuple):
    """Where a box starts and ends, and the span of its content."""

    start: int
    end: int
    inside: tuple[int, int]


def final_part(model_output: str) -> str | None:
    """What follows the model's reasoning; None where the reasoning was never closed."""
    marks = list(_THINK.finditer(model_output))
    if not marks:
        return model_output
    closing = max((mark.end() for mark in marks if mark[1]), default=0)
    return None if any(not mark[1] and mark.start() >= closing for mark in marks) else model_output[closing:]


def last_box(text: str) -> str | None:
    """The content of the last balanced \\boxed{...} (or \\fbox, or a box of GLM), or None."""
    boxes = _boxes(text)
    return text[slice(*boxes[-1].inside)].strip() if boxes else None


def last_boxes(text: str, between: re.Pattern[str]) -> list[str]:
    """The contents of the last box and of those before it that only `between` parts from the next; [] for none."""
    contents: list[str] = []
    following = None
    for box in reversed(_boxes(text)):
        if following and not between.fullmatch(text, box.end, following.start):
            break
        contents.insert(0, text[slice(*box.inside)].strip())
        following = box
    return contents


def extract(said: str | None, options: Options) -> tuple[str | None, LetterRule]:
    """The letter that a model's final words commit to, and the rule that found it; None for unfinished reasoning."""
    if said is None or not options.letters:
        return None, "none"
    said = _INVISIBLE.sub("", said)
    if boxes := _boxes(said):
        if len(boxes) > 1 and _TWO_BOXES.match(said[boxes[-2].end : boxes[-1].start]):
            return None, "none"
        boxed = read_whole(plain(said[slice(*boxes[-1].inside)]).strip(), options)
        if boxed.kind is Kind.LETTER:
            return boxed.letter, "box"
        if boxed.kind is not Kind.UNMATCHED:
            return None, "none"
        # a value on the way to the answer: a statement says which option it is, first of all a later one
        for part in (said[boxes[-1].end :], said):
            if letter := _by_cue(plain(part[-SEARCHED_CHARACTERS:]), options)[0]:
                return letter, "cue"
        return None, "none"
    text = plain(said[-SEARCHED_CHARACTERS:])
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter, decided = _by_cue(text, options)
    if letter or decided:
        return (letter, "cue") if letter else (None, "none")
    if letter := _by_label(text, options):
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter = _by_option_text(text, options)
    labels = {line[1].upper() for line in _LABEL_LINE.finditer(text)}
    if labels and letter not in labels:
        return None, "none"  # an option under another's letter
    return (letter, "option text") if letter else (None, "none")


def read_whole(text: str, options: Options) -> Reading:
    """What a short plain text by itself stands for, such as the content of a box."""
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        return Reading(Kind.LETTER, letter) if letter in options.letters else Reading(Kind.NONE)
    if not text:
        return Reading(Kind.UNMATCHED)
    reading = options.read(text, 0)
    return Reading(Kind.UNMATCHED) if reading.kind is Kind.SILENT else reading


def _boxes(text: str) -> list[_Box]:
    """All balanced boxes in the order of their starts; one pass over the text."""
    boxes = []
    if "box" in text or "\x08oxed" in text:
        open_at: list[tuple[int, int] | None] = []
        for match in _BOX.finditer(text):
            if match["box"]:
                open_at.append(match.span())
            elif match[0] == "{":
                open_at.append(None)
            elif open_at and (box := open_at.pop()):
                boxes.append(_Box(box[0], match.end(), (box[1], match.start())))
        boxes += [_Box(*match.span(), match.span(1)) for match in _GLM_BOX.finditer(text)]
    return sorted(boxes)


def _by_cue(text: str, options: Options) -> tuple[str | None, bool]:
    """The letter that the text announces, and whether it announces any, be it none."""
    if asked := _NEXT_QUESTION.search(text):
        letter, decided = read_cues(text[: asked.start()], options)
        if letter:
            return letter, decided
    return read_cues(text, options)


def _by_label(text: str, options: Options) -> str | None:
    """The letter of a line that is only a letter or a label with its option, where the lines are no list of them."""
    lines = [line for line in _LABEL_LINE.finditer(text) if not _OTHER_LABEL.search(line[2])]
    if not lines:
        begin = None if _IN_A_ROW.match(text) else _BEGINNING.match(text)
        return options.read(text, begin.end(), strict=True).letter if begin else None
    letters = [line[1].upper() for line in lines]
    is_first, is_last = not text[: lines[0].start()].strip(), not text[lines[-1].end() :].strip()
    if len(set(letters)) == 1:
        line = lines[-1]
        counts = is_first or is_last or not line[2].strip() or options.equal_to(line[2]) == letters[-1]
    else:  # a list of the options, and after it one of them again
        line = lines[-1]
        follows_on = ord(letters[-1]) == ord(letters[-2]) + 1
        counts = is_last and not follows_on and (not line[2].strip() or letters[-1] in letters[:-1])
    if not counts or REFUSAL.search(text, 0, line.start()):
        return None
    if RULED_OUT.match(f" {line[2]}") and options.starting(line[2].lower(), 0).letter != letters[-1]:
        return None
    return options.read(line[0].lstrip("-•#>*_ "), 0).letter


def _by_option_text(text: str, options: Options) -> str | None:
    """The one option whose text appears, unless it is denied, asked about or refused."""
    named = options.mentioned(text)
    if not named:
        word = _WORD.search(text)
        begin = options.starting(text, word.start() if word else 0)
        is_word = begin.letter is not None and options.texts[options.letters.index(begin.letter)] in YES_NO
        return begin.letter if is_word and not REFUSAL.search(text) and not _EITHER.match(text, begin.end) else None
    if len(named) > 1:
        return None
    ((letter, places),) = named.items()
    refusal = REFUSAL.search(text)
    if refusal and not any(start <= refusal.start() and refusal.end() <= end for start, end in places):
        return None
    option = options.texts[options.letters.index(letter)]
    sentences = [text[slice(*_sentence(text, start))].lower().replace(option, "") for start, _ in places]
    if any(NEGATION.search(said) or said.rstrip(" *\"')").endswith("?") for said in sentences):
        return None
    if all(_HEDGE.search(said) for said in sentences):
        return None
    if option[0].isdigit() and _DIGIT.search(text, places[-1][1]):
        return None  # a number among others is a step on the way
    return None if len(option) <= SHORT_OPTION and len(text) > LONG_TEXT and places[-1][1] < len(text) - 3 else letter


def _sentence(text: str, at: int) -> tuple[int, int]:
    """Where the sentence around a place begins and ends."""
    begin = max(text.rfind(sign, 0, at) + 1 for sign in (". ", "! ", "? ", "\n"))
    end = _SENTENCE_END.search(text, at)
    return begin, end.end() if end else len(text)
