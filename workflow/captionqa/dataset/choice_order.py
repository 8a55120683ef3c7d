"""Orders of a question's options: drawn, and put into the question's text."""

import random
import re
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from captionqa.config.prompts import IMAGE_MARK
from captionqa.dataset.choices_column import shows
from captionqa.dataset.question_repeats import in_order
from captionqa.grading.choices import lettered_choices

#: What stands between a letter and its option: "A.", "(A)", "**A)**", "A -".
_AFTER_LETTER = r"[\])）】>.:：、．*_]*[ \t]*(?:[-–—][ \t]+)?(?:\*\*|__)?"
#: An option that names others by their letters, such as "Both A and B": elsewhere it would mean others.
_NAMES_LETTERS = re.compile(
    r"(?:(?:both|either|neither|only|options?|choices?|answers?|all\sof)\s+)*"
    r"\(?[A-Z]\)?(?:\s*(?:,|and|or|nor|&|/)\s*(?:and\s+|or\s+)?\(?[A-Z]\)?)+(?:\s.*)?",
    re.IGNORECASE | re.DOTALL,
)
#: The same for one letter, such as "A only".
_NAMES_ONE = re.compile(r"(?:[Oo]nly\s+\(?([A-Z])\)?|\(?([A-Z])\)?\s+[Oo]nly)\.?")


def random_order(options: int, generator: random.Random) -> list[int]:
    """A shuffle of the numbers of so many options."""
    order = list(range(options))
    generator.shuffle(order)
    return order


def text_in_order(text: str, choices: Sequence[str], order: Sequence[int]) -> str | None:
    """A question's text with its choices in another order, and all else as it is.

    None where they cannot be moved: the text does not list them as they are, or lists them in a way that would not be
    read in the other order; a choice names others by their letters, or holds an image.
    """
    if any(IMAGE_MARK in choice or _names_letters(choice.strip(), len(choices)) for choice in choices):
        return None
    read = lettered_choices(text)
    for spans in _listings(text, choices):
        moved = _replaced(text, spans, [text[slice(*spans[number])] for number in order])
        wanted = in_order(choices, order)
        # of choices in a column the text may hold more than it lists in a form that is read
        if lettered_choices(moved) == wanted or (read != list(choices) and shows(moved, wanted)):
            return moved
    return None


def _names_letters(choice: str, choices: int) -> bool:
    """Whether one of so many choices names others by their letters."""
    one = _NAMES_ONE.fullmatch(choice)
    is_of_one = one is not None and (one[1] or one[2]) in ascii_uppercase[:choices]
    return is_of_one or _NAMES_LETTERS.fullmatch(choice) is not None


def _listings(text: str, choices: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
    """Where the choices may be listed: the (start, end) of each, after its letter; the last listing first."""
    patterns = [
        re.compile(rf"(?<![A-Za-z0-9])(?:{letter}|{letter.lower()}){_AFTER_LETTER}({re.escape(choice)})(?!\w)")
        for letter, choice in zip(ascii_uppercase, choices, strict=False)
    ]
    for first in reversed(list(patterns[0].finditer(text))):
        spans = [first.span(1)]
        for pattern in patterns[1:]:
            if (match := pattern.search(text, spans[-1][1])) is None:
                break
            spans.append(match.span(1))
        else:
            yield spans


def _replaced(text: str, spans: Sequence[tuple[int, int]], pieces: Sequence[str]) -> str:
    """The text with a piece in place of each span."""
    parts, at = list[str](), 0
    for (start, end), piece in zip(spans, pieces, strict=True):
        parts += [text[at:start], piece]
        at = end
    return "".join([*parts, text[at:]])
