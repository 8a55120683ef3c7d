"""Names of values: the x of "x = 3", and whether two names can be of one thing."""

import re

_NAME = re.compile(
    r"\s*(?:(?:\\(?:angle|triangle|overline|vec|mathbf)(?![a-z])|∠|△)\s*)?(?!\\?not(?![a-z]))"
    r"(?P<name>(?:\{?[A-Z]{1,4}\d?\}?(?:_\{?\w+\}?)?'?|\\?[a-z](?:_\{?\w+\}?)?'?|"
    r"(?:\\[a-z]+|(?!not\b)[A-Za-z]{3,})(?:\s(?!not\b)[A-Za-z]+){0,5})(?:\([^()=]{1,12}\))?)"
    r"\s*(?:=|\\in(?![a-z])|\\approx(?![a-z])|≈)\s*"
)
_ARITHMETIC = re.compile(r"(?:[\d\s.,()+\-*/^{}%]|\\(?:times|cdot|frac)(?![a-z]))+(?:=|\\approx|≈)\s*")
_PARTS = re.compile(r"(?P<base>[^_(]*)(?:_(?P<index>[^(]*))?(?:\((?P<argument>.*)\))?")
_LONG_WORD = re.compile(r"[a-z]{3,}")
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|log|ln)")


def named(text: str) -> tuple[str | None, str]:
    """The name of a value, and the value: of "x = 3 + 4 = 7" 7. The name of "3 + 4 = 7" is empty."""
    name = None
    if match := _NAME.match(text):
        name, text = match["name"], text[match.end() :]
    while match := _ARITHMETIC.match(text):
        name, text = name or "", text[match.end() :]
    return name, text


def same_name(one: str, other: str) -> bool:
    """Whether two names can be of one thing: x and x_1, f and f(x), AB and BA, a symbol and words; not x and y."""
    one, other = (re.sub(r"[{}']", "", name).casefold() for name in (one, other))
    if _FUNCTION.match(one) or _FUNCTION.match(other):
        return "".join(one.split()) == "".join(other.split())
    words, words_2 = (set(_LONG_WORD.findall(name)) - {"the"} for name in (one, other))
    if words and words_2:
        return bool(words & words_2)
    if words or words_2:
        return True
    parts, parts_2 = (_PARTS.fullmatch("".join(name.split())) for name in (one, other))
    if not parts or not parts_2:
        return one == other
    if len(parts["base"]) == len(parts_2["base"]) and sorted(parts["base"]) != sorted(parts_2["base"]):
        return False
    return all(not parts[key] or not parts_2[key] or parts[key] == parts_2[key] for key in ("index", "argument"))
