"""Signs of numbers: a minus in each form in which people write it."""

import re

from captionqa.grading.number_words import NUMBER_WORD

#: Hyphens and dashes that stand for a minus: the sign of minus itself, three hyphens and two of other widths.
MINUS_SIGNS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\ufe63\uff0d"), "-")
#: An en dash just before a number and after nothing that it could join to it.
_EN_DASH = re.compile(r"(?<![\w)\]}%°\u2013])\u2013(?=[$\\]?[\d.√])")
#: A minus apart from its number, at the beginning or after what introduces a value.
_APART = re.compile(
    r"(?:\A\W*|(?<=[=≈:(])\s?|\b(?:is|be|was|get|gets|find|equals?|to|of|gives?|value)\s\$?)-\s(?=[$\\]?[\d.√])"
)
#: "negative 5", and "minus 5" that is no subtraction.
_IN_WORDS = re.compile(
    rf"(?:\bnegative|(?<!\d\s)(?<!\b[a-z]\s)(?<![)\]}}\d°%]\s)\bminus)\s(?=\$?(?:[\d.\\√]|{NUMBER_WORD}\b))",
    re.IGNORECASE,
)


def with_minus_signs(text: str) -> str:
    """A text in which "negative 5", "minus 5", "- 5" and an en dash before a number are written -5."""
    if "\u2013" in text:
        text = _EN_DASH.sub("-", text)
    if "- " in text:
        text = _APART.sub(lambda match: match[0][:-1], text)
    if "inus " in text or "egative " in text:
        text = _IN_WORDS.sub("-", text)
    return text
