"""The option that a ground truth names: by its letter, its index, its text or its value."""

import re
from collections.abc import Sequence

from captionqa.config.qa_config import AnswerForm
from captionqa.grading.chosen_letter import read_whole
from captionqa.grading.options import Commitment, Options, Reading
from captionqa.grading.plain_text import plain_line
from captionqa.grading.same_answer import same_answer

#: A letter, or a sentence that says why the ground truth cannot be graded; both None where it names no option.
LetterOrFault = tuple[str | None, str | None]
#: Two or more letters: "A, C", "(A) and (B)", "AB".
_SEVERAL_LETTERS = re.compile(r"[(\[{]?[A-Z][)\]}]?(?:\s*(?:[,;/&+]|and|or)?\s*[(\[{]?[A-Z][)\]}]?)+")
#: One letter, whether of an option or not.
_ONE_LETTER = re.compile(r"[(\[{\s]*([A-Za-z])[)\]}.:\s]*")
#: A whole number, also as pandas writes it beside missing cells.
_INDEX = re.compile(r"(-?\d+)(?:\.0)?")
#: What a value has that can be computed with; a ground truth without it is words.
_VALUE = re.compile(r"[\d\\=^<>√π]")


def indexed_letter(answer: str | Sequence[str], texts: Sequence[str], options: Options, first: int) -> LetterOrFault:
    """The letter of an index that counts from `first`."""
    if not options.letters:
        return None, f"The ground truth {answer!r} should be the index of a choice, and the question has no choices."
    matches = [_INDEX.fullmatch(text) for text in texts]
    indexes = {int(match[1]) - first if match else -1 for match in matches}
    if len(indexes) == 1 and 0 <= (index := indexes.pop()) < len(options.letters):
        return options.letters[index], None
    last = len(options.letters) - 1 + first
    return None, f"The ground truth {answer!r} is no index from {first} to {last}, as qa.answer_is: index{first} says."


def named_letter(
    answer: str | Sequence[str], texts: Sequence[str], options: Options, answer_is: AnswerForm
) -> LetterOrFault:
    """The letter of the one option that a ground truth names; of a list each entry may name it."""
    found = [_letter_of(text, options, answer_is) for text in texts]
    letters = {letter for letter, _ in found if letter}
    if len(letters) == 1:
        return letters.pop(), None
    if letters:
        return None, f"The ground truth {answer!r} names several choices; one can be graded."
    fault = next((fault for _, fault in found if fault), None)
    return None, fault and f"The ground truth {answer!r} {fault}"


def _letter_of(text: str, options: Options, answer_is: AnswerForm) -> LetterOrFault:
    """The option of one entry, or the rest of a sentence that says why it can be none."""
    last = options.letters[-1]
    if answer_is == "letter":
        match = _ONE_LETTER.fullmatch(text)
        letter = match[1].upper() if match else ""
        return (letter, None) if letter and letter in options.letters else (None, f"is no letter of A to {last}.")
    if answer_is == "text":
        found = _option_of(text, options)
        return (found, None) if found else (None, "is the text of no choice, as qa.answer_is: text says.")
    reading = _read(text, options)
    if reading.letter:
        return reading.letter, None
    if _ONE_LETTER.fullmatch(text):
        if options.texts.count(text.lower()) == 1:
            return options.letters[options.texts.index(text.lower())], None
        return None, f"is no letter of the choices A to {last}."
    if _SEVERAL_LETTERS.fullmatch(text):
        return None, "names several choices; one can be graded."
    if (found := _option_of(text, options)) and reading.commitment is not Commitment.NO_SINGLE_OPTION:
        return found, None
    if (index := _INDEX.fullmatch(text)) and 0 <= int(index[1]) <= len(options.letters):
        return None, (
            "is neither a letter nor the text of a choice; if it is the index of one, set qa.answer_is to index0, or "
            "to index1 where the first choice is 1."
        )
    if reading.commitment is Commitment.NO_SINGLE_OPTION or not _VALUE.search(text):
        return None, f"is neither a letter of the choices A to {last} nor the text of one choice."
    return None, None


def _read(text: str, options: Options) -> Reading:
    """What a ground truth commits to; no single option where a letter stands before another option's text."""
    reading = read_whole(text, options)
    other = options.equal_to(text[reading.end :].lstrip(" .:)]-")) if reading.end else None
    return reading if other in (None, reading.letter) else Reading(Commitment.NO_SINGLE_OPTION)


def _option_of(text: str, options: Options) -> str | None:
    """The letter of the one option whose text or value a whole text is, in whatever notation."""
    whole = plain_line(text).strip(" .;,").lower()
    for same in (str.__eq__, same_answer):
        found = [letter for letter, choice in zip(options.letters, options.texts, strict=True) if same(choice, whole)]
        if found:
            return found[0] if len(found) == 1 else None
    return None
