"""Notation: answers in one way of writing, and the parts of lists, sets, tuples and intervals."""

import re

from captionqa.grading.plain_text import skip, without_latex_style
from captionqa.grading.quantity import RAISED, exponent
from captionqa.grading.signs import MINUS_SIGNS, with_minus_signs

#: What introduces a value and is no part of it: "is approximately", "the number of", "约", "=".
_LEAD = re.compile(
    r"(?:(?:is|are|approximately|approx\.?|about|around|roughly|nearly|exactly|simply|just|only|equals?(?:\sto)?|"
    r"a\stotal\sof|the\s(?:value|number|length)\sof)\s+|(?:约为|约|大约|等于|为)\s*|(?:≈|\\approx(?![a-z])|~|=|:)\s*)*",
    re.IGNORECASE,
)
#: A remark in brackets at the end, with a word and without numbers, "or" and "not": "12 (rounded)".
_REMARK = re.compile(r"(?<=[\w%°})])\s+\((?![^)]*(?:\d|\bor\b|\bnot\b))[^()]*[A-Za-z]{2}[^()]*\)\Z")
#: The name of a point before its coordinates: A(1, 2).
_POINT_NAME = re.compile(r"[A-Z]'?\s*(?=\([^()]*,)")
#: What separates the parts of a list: a comma that does not group thousands, a semicolon, "and", "or".
_SEPARATOR = re.compile(
    r"\s*(?:[;；、，]|,(?!\d{3}(?!\d)))\s*(?:(?:and|or)\s)?|,?\s(?:and|or)\s|\s?[和或]\s?", re.IGNORECASE
)
#: Signs and LaTeX commands, and the notation that stands for them. Set braces become ⦃⦄, apart from LaTeX's own {}.
_SIGNS = {
    "\u2013": "-", "\u2044": "/", "\u00d7": "\\times ", "\u00b7": "\\cdot ", "÷": "/", "π": "\\pi ", "∞": "\\infty ",
    "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "\u222a": "\\cup ", "∩": "\\cap ", "∈": "\\in ",
    "\u03b1": "\\alpha ", "β": "\\beta ", "θ": "\\theta ", "λ": "\\lambda ", "±": "\\pm ", "∘": "°", "½": " 1/2",
    "¼": " 1/4", "¾": " 3/4", "：": ":", "\u2236": ":", "leqslant": "le", "geqslant": "ge", "\\dfrac": "\\frac",
    "\\tfrac": "\\frac", "{,}": ",", "\\{": "⦃", "\\}": "⦄", "\\lbrace": "⦃", "\\rbrace": "⦄", "\\langle": "(",
    "\\rangle": ")", "\\colon": ":", "∅": "\\emptyset ",
    "\\varnothing": "\\emptyset ", "△": "\\triangle ", "∠": "\\angle ", "∥": "\\parallel ", "//": "\\parallel ",
    "⊥": "\\perp ", "\u2018": "'", "\u2019": "'", "\u201c": "\"", "\u201d": "\"",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, sorted(_SIGNS, key=len, reverse=True))))
#: Square roots that are not \sqrt{...}: √(x), √2, sqrt(x), \sqrt2.
_ROOT = re.compile(
    r"√\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))|(?<![\\A-Za-z])sqrt\s*[({]([^(){}]*)[)}]|\\sqrt\s*(\d)"
)
#: Lowered digits: CO₂.
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_FROM_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
#: Python's sign of a power; Markdown's marks of bold text have a blank or a mark on one side.
_POWER = re.compile(r"(?<=[\w)\]}])\*\*(?=[\w({\\-])")
#: The name of a function or constant without its backslash.
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|ln|log|pi)(?![a-z])")
#: A blank between digits.
_DIGIT_GAP = re.compile(r"(?<=\d)\s+(?=[\d.])")
#: The place between two circled numbers: ①②.
_CIRCLED_GAP = re.compile(r"(?<=[\u2460-\u2473])\s*(?=[\u2460-\u2473])")
#: An exponent or index of one character in braces: x^{2}.
_LONE_GROUP = re.compile(r"([\^_])\{(\w)\}")
#: Each opening bracket with those that may close it; an interval may be open at one end alone.
_BRACKETS = {"(": ")]", "[": ")]", "{": "}", "⦃": "⦄"}
_OPEN, _CLOSE = "([{⦃", ")]}⦄"


def normalize(text: str) -> str:
    """A text in one notation: LaTeX for signs and roots, no style, no "approximately", no remark in brackets."""
    text = _POWER.sub("^", with_minus_signs(text)).replace("**", "").replace("`", "")
    if not text.isascii():
        text = _LOWERED.sub(_index, RAISED.sub(exponent, text.translate(MINUS_SIGNS)))
    text = without_latex_style(_SIGN.sub(lambda match: _SIGNS[match[0]], text))
    text = _ROOT.sub(lambda match: f"\\sqrt{{{match[1] or match[2] or match[3] or match[4]}}}", text)
    text = _CIRCLED_GAP.sub(", ", _FUNCTION.sub(r"\\\1 ", text))
    text = text.strip(" *_\"'\n")
    text = _REMARK.sub("", text[skip(_LEAD, text, 0) :].rstrip(" .*_,;:\"'\n。"))
    text = _POINT_NAME.sub("", text)
    brackets, parts = split_parts(text)
    return parts[0] if brackets in ("()", "{}") and len(parts) == 1 and text[0] != "⦃" else text


def _index(lowered: re.Match[str]) -> str:
    """Lowered digits in the notation of LaTeX."""
    return f"_{{{lowered[0].translate(_FROM_LOWERED)}}}"


def comparison_key(text: str) -> str:
    """A text without case, blanks and marks that make no difference; a blank between digits does."""
    text = _DIGIT_GAP.sub("_", without_latex_style(text).strip())
    return _LONE_GROUP.sub(r"\1\2", "".join(text.split()).strip("*_\"'").rstrip(".*_")).casefold()


def split_parts(text: str) -> tuple[str, list[str]]:
    """The brackets around a text ("" for none), and the parts that commas, "and" and "or" separate within them."""
    text, brackets = text.strip(), ""
    if "\\begin" in text:
        return "", [text]
    if text[:1] in _BRACKETS and text[-1] in _BRACKETS[text[0]] and _closing(text) == len(text) - 1:
        brackets, text = text[0] + text[-1], text[1:-1]
        brackets = brackets.replace("⦃", "{").replace("⦄", "}")
    parts, begin, depth, at = [], 0, 0, 0
    while at < len(text):
        depth += (text[at] in _OPEN) - (text[at] in _CLOSE)
        if depth == 0 and (match := _SEPARATOR.match(text, at)) and match.end() > at:
            parts.append(text[begin:at])
            begin = at = match.end()
        else:
            at += 1
    parts.append(text[begin:])
    return brackets, [part.strip() for part in parts]


def _closing(text: str) -> int:
    """Where the bracket at the beginning of a text closes; -1 if it does not."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth == 0:
            return at
    return -1
