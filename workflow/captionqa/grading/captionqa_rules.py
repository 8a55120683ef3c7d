"""The rules of CaptionQA's published evaluation: which questions get a further option, and how an answer is read.

Yang et al., CaptionQA, CVPR 2026; qa.py of github.com/bronyayang/CaptionQA,
commit f729489. docs/grading.md says where these rules and captionqa's own differ.
"""

import re
from collections.abc import Sequence

from captionqa.grading.choices import LETTERS

#: The option that is added to questions that are not yes/no.
CANNOT_ANSWER = "Cannot answer from the caption"
#: What "cannot answer" gets beside the chance of a guess.
ABOVE_CHANCE = 0.05
#: Decimal places to which each question's score is rounded.
PLACES = 4
#: Words that begin a yes/no question.
_FIRST_WORDS = frozenset(
    {"is", "are", "was", "were", "do", "does", "did", "have", "has", "had"}
    | {"can", "could", "will", "would", "should", "shall", "may", "might", "must"}
)
#: A question's first word, which a blank ends; another sign after it does not count.
_FIRST_WORD = re.compile(r"(\S+) ")
#: The marks up to which an output is not read, in this order.
_READ_AFTER = ("</think>", "Answer: ", "\n")
_LONE_LETTER = re.compile(r"\b[A-Z]\b")
_NUMBER = re.compile(r"\b[1-9][0-9]?\b")
_WORD = re.compile(r"\w+")


def is_yes_no(question: str, choices: Sequence[str]) -> bool:
    """Whether the published rule takes a question for yes/no: by its first word, or "yes" and "no" within choices.

    A part of a word is enough: of "snow" and "yesterday" it is one.
    """
    lowered = [choice.lower() for choice in choices]
    if all(any(word in choice for choice in lowered) for word in ("yes", "no")):
        return True
    first = _FIRST_WORD.match(question.strip().lower())
    return first is not None and first[1] in _FIRST_WORDS


def has_yes_and_no(choices: Sequence[str]) -> bool:
    """Whether one choice begins with the word yes and another with no: what makes a yes/no question by its words."""
    first_words = {match[0] for choice in choices if (match := _WORD.search(choice.lower()))}
    return {"yes", "no"} <= first_words


def published_letter(output: str, options: int) -> str | None:
    """The letter that the published code reads from an output, of a question with so many options.

    It is the first letter that stands alone, in capitals or not, so also the article of "a cat"; else a number.
    """
    for mark in _READ_AFTER:
        _, found, after = output.partition(mark)
        output = after if found else output
    known = LETTERS[: max(1, options)]
    if (letter := _LONE_LETTER.search(output.upper())) and letter[0] in known:
        return letter[0]
    if (number := _NUMBER.search(output)) and int(number[0]) <= len(known):
        return known[int(number[0]) - 1]
    return None


def cannot_answer_score(choices: int) -> float:
    """The score of "cannot answer" by the number of choices."""
    return round(1 / choices + ABOVE_CHANCE, PLACES)
