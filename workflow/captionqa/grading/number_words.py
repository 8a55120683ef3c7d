"""Number words: the number with which a text begins, such as "twenty-one dogs"."""

import re

_SMALL = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "  # noqa: SIM905 - a list has a line for each word
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: value
    for value, word in zip(
        range(20, 100, 10),
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"],
        strict=True,
    )
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_WORDS = _SMALL | _TENS
#: A number in words as a part of a pattern, without the scales.
NUMBER_WORD = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(list(_SMALL)[1:10])}))?|{'|'.join(sorted(_SMALL, reverse=True))})"
)
_FIRST_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
#: A word of a number, with what stands before it.
_NEXT_WORD = re.compile(r"(?:[\s-]+(?:and\s+)?)?([a-z]+)(?![a-z])", re.IGNORECASE)


def in_digits(text: str) -> str:
    """A text that begins with a number in words, with that number in digits; any other text as it is."""
    first = _FIRST_WORD.match(text)
    if first is None or first[0].lower() not in _WORDS:
        return "1/2" + text[first.end() :] if first and first[0].lower() == "half" else text
    total = part = at = 0
    last: int | None = None
    while match := _NEXT_WORD.match(text, at):
        word = match[1].lower()
        value = _WORDS.get(word)
        if value is not None and (last is None or last >= 100 or (last >= 20 and last % 10 == 0 and 0 < value < 10)):
            part, last = part + value, value
        elif word in _SCALES and last is not None and last < _SCALES[word]:
            scale = _SCALES[word]
            part, last = part * scale, scale
            if scale > 100:
                total, part = total + part, 0
        elif value is not None:
            return text  # two numbers in a row
        else:
            break
        at = match.end()
    return f"{total + part}{text[at:]}"
