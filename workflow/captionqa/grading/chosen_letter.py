"""The letter that a model's final words commit to, by the first rule that applies; never a guess."""

import re
from typing import Literal

from captionqa.grading.announcements import GOES_THROUGH
from captionqa.grading.answer_phrase import read_phrase
from captionqa.grading.choices import LETTERS
from captionqa.grading.corrections import is_taken_back
from captionqa.grading.doubt import RULED_OUT
from captionqa.grading.explicit_cues import read_explicit_cues
from captionqa.grading.model_output import SEARCHED_CHARACTERS, Box, boxes
from captionqa.grading.option_text import by_option_text
from captionqa.grading.options import Commitment, Options, Reading
from captionqa.grading.refusal import REFUSAL

#: The rules in the order in which they are tried; "none" where no rule found a letter.
LetterRule = Literal["box", "cue", "letter", "option text", "none"]
#: What follows a box that ends its statement in a truncated text.
_AFTER_BOX = re.compile(r"[$*_)\]}\\\s]*(?:[.,;!。]|\n|\Z)")
#: What stands between two boxes that are both the answer: "or", "and", a comma.
_TWO_BOXES = re.compile(r"[\s$,;*.)\\\]]*(?:or|and|and/or|/|&|或|和)[\s$*(\\\[]*\Z")
#: Letters that are labels in every question; later ones are labels only where options have them.
_FIRST_LETTERS = LETTERS[:10]
#: How far before a box a cue on its line is looked for.
LINE_CHARACTERS = 200
#: A line that is a letter or begins with a label; its letter, and the rest of the line.
_LABEL_LINE = re.compile(
    r"^[ \-•#>*_]*(?:option\s|choice\s|选项)?[(\[]?([A-Za-z])"
    r"(?:[*_]*[)\].:,、]+(?=\s|$|[A-Z]?[a-z]{2}|[^\x00-\x7f])|\s[-–—](?=\s)|(?=[*_]*\s*$))[ *_]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
#: Another label within such a line, so that the line lists options.
_OTHER_LABEL = re.compile(r"\([A-J]\)|(?<![\w'])[A-J][.)]\s")
#: A first line that lists the options (A), (B) and (C).
_LISTED_ON_ONE_LINE = re.compile(r"[^\n]*\(A\)[^\n]*\(B\)[^\n]*\(C\)")
#: Options without texts, to see whether an introduction announces the letter after it.
_ANY_OPTIONS = Options([""] * len(LETTERS))
#: Characters of no width, and the special tokens at the ends of a sequence.
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]|</?s>")
#: A further question that the model makes up; only the text before it answers the real one.
_NEXT_QUESTION = re.compile(r"\n\s*(?:Question|Q|问题|题目)\s?\d*\s?:", re.IGNORECASE)
#: A text that is a single letter with brackets, marks and Markdown around it.
_ONLY_LETTER = re.compile(r"[\s(\[{*_\"'`.:]*([A-Za-z])[\s)\]}*_.,!\"'`:。]*")
#: A label at the beginning of a text that has no line of its own: "B because", "(B)", "B,".
_FIRST_LABEL = re.compile(r"\s*(?=[(\[]?[A-J](?:[)\]]|,?\s(?:because|since|as|due|based|given)\b|\s[-–—]|,|:))")


def chosen_letter(final_text: str | None, options: Options, truncated: bool = False) -> tuple[str | None, LetterRule]:
    """The letter that a model's final text commits to, and the rule that found it.

    None is the final text of an output whose reasoning was never closed. In a truncated text only a box and an
    announcement that is followed by a sentence's end count.
    """
    if final_text is None or not options.letters:
        return None, "none"
    if not final_text.isascii() or "s>" in final_text:
        final_text = _INVISIBLE.sub("", final_text)
    if found := boxes(final_text):
        if truncated and not _AFTER_BOX.match(final_text, found[-1].end):
            return None, "none"
        return _by_box(final_text, found, options)
    text = options.plain(final_text[-SEARCHED_CHARACTERS:])
    if truncated:
        letter = read_explicit_cues(text, options, truncated)[0]
        return (letter, "cue") if letter else (None, "none")
    if match := _ONLY_LETTER.fullmatch(text):
        letter = match[1].upper()
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter, is_stated = _by_cue(text, options)
    if letter or is_stated:
        return (letter, "cue") if letter else (None, "none")
    lines = [line for line in _LABEL_LINE.finditer(text) if line[1].upper() in _FIRST_LETTERS + options.letters]
    if lines and _begins_list(text, lines, options):
        return None, "none"
    if letter := _by_label(text, lines, options):
        return (letter, "letter") if letter in options.letters else (None, "none")
    letter = by_option_text(text, options)
    if lines and letter not in {line[1].upper() for line in lines}:
        return None, "none"  # the text of an option under the label of another
    return (letter, "option text") if letter else (None, "none")


def _by_box(final_text: str, found: list[Box], options: Options) -> tuple[str | None, LetterRule]:
    """The letter of the last box, unless the text takes it back; a box with another value leaves it to the cues."""
    last = found[-1]
    if len(found) > 1 and _TWO_BOXES.match(final_text[found[-2].end : last.start]):
        return None, "none"
    content = options.plain(final_text[slice(*last.content)]).strip()
    boxed = read_whole(content, options)
    after = final_text[last.end :]
    if boxed.commitment is Commitment.OPTION:
        if is_taken_back(after):
            letter = _by_cue(options.plain(after[-SEARCHED_CHARACTERS:]), options)[0]
            return (letter, "cue") if letter else (None, "none")
        if not _ONLY_LETTER.fullmatch(content):  # a cue on the same line may name another option
            line = final_text[max(0, last.start - LINE_CHARACTERS) : last.start].rpartition("\n")[2]
            letter = _by_cue(options.plain(line), options)[0]
            if letter not in (None, boxed.letter):
                return None, "none"
        return boxed.letter, "box"
    if boxed.commitment is not Commitment.OTHER_TEXT:
        return None, "none"
    # the box holds a value: a statement says which option that is, one after the box before one elsewhere
    for part in (after, final_text):
        if letter := _by_cue(options.plain(part[-SEARCHED_CHARACTERS:]), options)[0]:
            return letter, "cue"
    return None, "none"


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


def _by_label(text: str, lines: list[re.Match[str]], options: Options) -> str | None:
    """The letter of a line that is only a letter, or a label with its option, unless the lines list the options."""
    lines = [line for line in lines if not _OTHER_LABEL.search(line[2])]
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


def _begins_list(text: str, lines: list[re.Match[str]], options: Options) -> bool:
    """Whether the lines are the beginning of a list of the options, which the text introduces and does not end."""
    before = text[: lines[0].start()].strip(" \n*_#-•>")
    letters = "".join(line[1].upper() for line in lines)
    if not before or not options.letters.startswith(letters) or (letters == options.letters and len(letters) > 1):
        return False
    introduction = before.rpartition("\n")[2]
    if GOES_THROUGH.search(introduction):
        return True
    if not introduction.endswith(":") or introduction.endswith(("is:", "be:")):
        return False
    return not read_explicit_cues(f"{introduction} {lines[0][0]}", _ANY_OPTIONS)[0]
