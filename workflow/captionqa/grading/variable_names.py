"""Variable names: the x of "x = 3", and whether two names can be of the same thing."""

import re

#: A name with what connects it to its value: x, x_1, AB, f(x), \angle A, \theta, or up to six words.
_NAME = re.compile(
    r"\s*(?:(?:\\(?:angle|triangle|overline|vec|mathbf)(?![a-z])|∠|△)\s*)?(?!\\?not(?![a-z]))"
    r"(?P<name>(?:\{?[A-Z]{1,4}\d?\}?(?:_\{?\w+\}?)?'?|\\?[a-z](?:_\{?\w+\}?)?'?|"
    r"(?:\\[a-z]+|(?!not\b)[A-Za-z]{3,})(?:\s(?!not\b)[A-Za-z]+){0,5})(?:\([^()=]{1,12}\))?)"
    r"\s*(?:=|\\in(?![a-z])|\\approx(?![a-z])|≈)\s*"
)
#: A calculation before the value: the "3 + 4 =" of "3 + 4 = 7".
_CALCULATION = re.compile(r"(?:[\d\s.,()+\-*/^{}%]|\\(?:times|cdot|frac)(?![a-z]))+(?:=|\\approx|≈)\s*")
#: A name, its index and its argument: x_1(t).
_PARTS = re.compile(r"(?P<base>[^_(]*)(?:_(?P<index>[^(]*))?(?:\((?P<argument>.*)\))?")
_LONG_WORD = re.compile(r"[a-z]{3,}")
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|log|ln)")


def split_name(text: str) -> tuple[str | None, str]:
    """The name of a value, and the value: of "x = 3 + 4 = 7" x and 7.

    The name is "" where only a calculation comes before the value, and None where nothing does.
    """
    name = None
    if match := _NAME.match(text):
        name, text = match["name"], text[match.end() :]
    while match := _CALCULATION.match(text):
        name, text = name or "", text[match.end() :]
    return name, text


def names_agree(one: str, other: str) -> bool:
    """Whether two names can be of one thing: x and x_1, f and f(x), AB and BA, a symbol and words; not x and y."""
    one, other = (re.sub(r"[{}']", "", name).casefold() for name in (one, other))
    if _FUNCTION.match(one) or _FUNCTION.match(other):
        return "".join(one.split()) == "".join(other.split())
    one_words, other_words = (set(_LONG_WORD.findall(name)) - {"the"} for name in (one, other))
    if one_words and other_words:
        return bool(one_words & other_words)
    if one_words or other_words:
        return True
    one_parts, other_parts = (_PARTS.fullmatch("".join(name.split())) for name in (one, other))
    if not one_parts or not other_parts:
        return one == other
    one_base, other_base = one_parts["base"], other_parts["base"]
    if len(one_base) == len(other_base) and sorted(one_base) != sorted(other_base):
        return False
    return all(
        not one_parts[key] or not other_parts[key] or one_parts[key] == other_parts[key]
        for key in ("index", "argument")
    )
