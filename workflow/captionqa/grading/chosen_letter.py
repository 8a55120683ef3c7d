"""The letter that a model's final words commit to, by the first rule that applies; never a guess."""

import re
from typing import Literal

from captionqa.grading.answer_phrase import read_phrase
from captionqa.grading.doubt import NEGATION, RULED_OUT
from captionqa.grading.explicit_cues import read_explicit_cues
from captionqa.grading.model_output import SEARCHED_CHARACTERS, boxes
from captionqa.grading.options import YES_NO, Commitment, Options, Reading
from captionqa.grading.plain_text import plain_text
from captionqa.grading.refusal import REFUSAL

#: The rules in the order in which they are tried; "none" where no rule found a letter.
LetterRule = Literal["box", "cue", "letter", "option text", "none"]
#: An option's text that is no longer than this, such as a number, says little within a long text: there it counts only
#: at the end.
SHORT_OPTION_CHARACTERS = 3
#: A text is long from this length on.
LONG_TEXT_CHARACTERS = 200
#: What stands between two boxes that are both the answer: "or", "and", a comma.
_TWO_BOXES = re.compile(r"[\s$,;*.)\\\]]*(?:or|and|and/or|/|&|或|和)[\s$*(\\\[]*\Z")
#: A line that is a letter or begins with a label; its letter, and the rest of the line.
_LABEL_LINE = re.compile(
    r"^[ \-•#>*_]*(?:option\s|choice\s|选项)?[(\[]?([A-Ja-j])"
    r"(?:[*_]*[)\].:,、]+(?=\s|$|[A-Z]?[a-z]{2}|[^\x00-\x7f])|\s[-–—](?=\s)|(?=[*_]*\s*$))[ *_]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
#: Another label within such a line, so that the line lists options.
_OTHER_LABEL = re.compile(r"\([A-J]\)|(?<![\w'])[A-J][.)]\s")
#: A first line that lists the options (A), (B) and (C).
_LISTED_ON_ONE_LINE = re.compile(r"[^\n]*\(A\)[^\n]*\(B\)[^\n]*\(C\)")
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？\n]")
#: Characters of no width, and the special tokens at the ends of a sequence.
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]|</?s>")
#: How "yes" goes on where it is one of two: "or no".
_OR_NO = re.compile(r"\W+(?:or|and)\W+(?:yes|no|true|false)\b", re.IGNORECASE)
_WORD = re.compile(r"\w")
_DIGIT = re.compile(r"\d")
#: A further question that the model makes up; only the text before it answers the real one.
_NEXT_QUESTION = re.compile(r"\n\s*(?:Question|Q|问题|题目)\s?\d*\s?:", re.IGNORECASE)
#: Words that leave open what a sentence says.
_HEDGE = re.compile(r"\b(?:might|may|maybe|perhaps|could|possibly|either|or|whether|error)\b", re.IGNORECASE)
#: A text that is a single letter with brackets, marks and Markdown around it.
_ONLY_LETTER = re.compile(r"[\s(\[{*_\"'`.:]*([A-Za-z])[\s)\]}*_.,!\"'`:。]*")
#: A label at the beginning of a text that has no line of its own: "B because", "(B)", "B,".
_FIRST_LABEL = re.compile(r"\s*(?=[(\[]?[A-J](?:[)\]]|,?\s(?:because|since|as|due|based|given)\b|\s[-–—]|,|:))")


def chosen_letter(final_text: str | None, options: Options) -> tuple[str | None, LetterRule]:
    """The letter that a model's final text commits to, and the rule that found it.

    None is the final text of an output whose reasoning was never closed.
    """
    if final_text is None or not options.letters:
        return None, "none"
    final_text = _INVISIBLE.sub("", final_text)
    if found := boxes(final_text):
        if len(found) > 1 and _TWO_BOXES.match(final_text[found[-2].end : found[-1].start]):
            return None, "none"
        boxed = read_whole(plain_text(final_text[slice(*found[-1].content)]).strip(), options)
        if boxed.commitment is Commitment.OPTION:
            return boxed.letter, "box"
        if boxed.commitment is not Commitment.OTHER_TEXT:
            return None, "none"
        # the box holds a value: a statement says which option that is, one after the box before one elsewhere
        for part in (final_text[found[-1].end :], final_text):
            if letter := _by_cue(plain_text(part[-SEARCHED_CHARACTERS:]), options)[0]:
                return letter, "cue"
        return None, "none"
    text = plain_text(final_text[-SEARCHED_CHARACTERS:])
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter, is_stated = _by_cue(text, options)
    if letter or is_stated:
        return (letter, "cue") if letter else (None, "none")
    if letter := _by_label(text, options):
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter = _by_option_text(text, options)
    labels = {line[1].upper() for line in _LABEL_LINE.finditer(text)}
    if labels and letter not in labels:
        return None, "none"  # the text of an option under the label of another
    return (letter, "option text") if letter else (None, "none")


def read_whole(text: str, options: Options) -> Reading:
    """What a short plain text commits to as a whole, such as the content of a box."""
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        is_known = letter in options.letters
        return Reading(Commitment.OPTION, letter) if is_known else Reading(Commitment.NO_SINGLE_OPTION)
    if not text:
        return Reading(Commitment.OTHER_TEXT)
    reading = read_phrase(text, 0, options)
    return Reading(Commitment.OTHER_TEXT) if reading.commitment is Commitment.NOTHING else reading


def _by_cue(text: str, options: Options) -> tuple[str | None, bool]:
    """The letter that an explicit cue commits to, and whether there is any cue, with a letter or without."""
    if asked := _NEXT_QUESTION.search(text):
        letter, is_stated = read_explicit_cues(text[: asked.start()], options)
        if letter:
            return letter, is_stated
    return read_explicit_cues(text, options)


def _by_label(text: str, options: Options) -> str | None:
    """The letter of a line that is only a letter, or a label with its option, unless the lines list the options."""
    lines = [line for line in _LABEL_LINE.finditer(text) if not _OTHER_LABEL.search(line[2])]
    if not lines:
        first = None if _LISTED_ON_ONE_LINE.match(text) else _FIRST_LABEL.match(text)
        return read_phrase(text, first.end(), options, only_letter=True).letter if first else None
    letters = [line[1].upper() for line in lines]
    line, rest = lines[-1], lines[-1][2]
    is_first, is_last = not text[: lines[0].start()].strip(), not text[line.end() :].strip()
    if len(set(letters)) == 1:
        counts = is_first or is_last or not rest.strip() or options.equal_to(rest) == letters[-1]
    else:  # a list of the options, and after it one of them again
        continues_list = ord(letters[-1]) == ord(letters[-2]) + 1
        counts = is_last and not continues_list and (not rest.strip() or letters[-1] in letters[:-1])
    if not counts or REFUSAL.search(text, 0, line.start()):
        return None
    if RULED_OUT.match(f" {rest}") and options.option_at(rest.lower(), 0).letter != letters[-1]:
        return None
    return read_phrase(line[0].lstrip("-•#>*_ "), 0, options).letter


def _by_option_text(text: str, options: Options) -> str | None:
    """The one option whose text appears, unless it is denied, asked about, left open or part of a refusal."""
    mentions = options.mentions(text)
    if not mentions:
        return _by_yes_or_no(text, options)
    if len(mentions) > 1:
        return None
    ((letter, spans),) = mentions.items()
    refusal = REFUSAL.search(text)
    if refusal and not any(start <= refusal.start() and refusal.end() <= end for start, end in spans):
        return None
    option, last_end = options.text_of(letter), spans[-1][1]
    # the sentences that mention the option, without it
    sentences = [text[slice(*_sentence(text, start))].lower().replace(option, "") for start, _ in spans]
    if any(NEGATION.search(sentence) or sentence.rstrip(" *\"')").endswith("?") for sentence in sentences):
        return None
    if all(_HEDGE.search(sentence) for sentence in sentences):
        return None
    if option[0].isdigit() and _DIGIT.search(text, last_end):
        return None  # a number that others follow is a step of a calculation
    is_little = len(option) <= SHORT_OPTION_CHARACTERS and len(text) > LONG_TEXT_CHARACTERS
    return None if is_little and last_end < len(text) - 3 else letter  # three characters may close the text


def _by_yes_or_no(text: str, options: Options) -> str | None:
    """The option yes, no, true or false with which a text begins."""
    word = _WORD.search(text)
    reading = options.option_at(text, word.start() if word else 0)
    if reading.letter is None or options.text_of(reading.letter) not in YES_NO:
        return None
    return None if REFUSAL.search(text) or _OR_NO.match(text, reading.end) else reading.letter


def _sentence(text: str, at: int) -> tuple[int, int]:
    """Where the sentence around a place begins and ends."""
    begin = max(text.rfind(sign, 0, at) + 1 for sign in (". ", "! ", "? ", "\n"))
    end = _SENTENCE_END.search(text, at)
    return begin, end.end() if end else len(text)
