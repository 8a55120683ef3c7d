"""Comparison: whether two free-form answers are the same value.

Text, numbers, dates, ratios, lists, tuples and intervals are compared here, formulas by their values; equations,
inequalities, matrices and whatever else needs algebra go to math-verify.
"""

import re
from fractions import Fraction
from functools import lru_cache

from captionqa.grading.dates import date
from captionqa.grading.formula import Uncomputable, same_equation, same_formula
from captionqa.grading.math_verify import VERIFIER
from captionqa.grading.notation import split_parts, text_key, tidy
from captionqa.grading.quantity import number, same_number
from captionqa.grading.units import measure
from captionqa.grading.variable_names import named, same_name

#: A longer answer is prose, and is compared as text alone.
MAX_VALUE_CHARACTERS = 300
#: Lists in lists and names of names are followed so far.
MAX_DEPTH = 6
#: So many parts of a list are tried against one another beyond those that are the same text.
MAX_UNMATCHED = 5
_MATH = re.compile(r"[\d\\^_=+*/<>|√π∞]")
_WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:[abcxyz]{2,3}|ah|(?![ckmp]m)[bchkmnpqrtvwxyz]{2,3})(?![A-Za-z]))[A-Za-z]{2,}|[\u3040-\u9fff\uac00-\ud7af]"
)
_NO_WORD = re.compile(r"\\(?:begin|end|operatorname)\s*\{[a-z]+\}|\\[A-Za-z]+")
_NO_ALGEBRA = re.compile(r"\\[lcd]?dots|\.\.\.|…|:")
_LETTER = re.compile(r"[A-Za-z]")
_RELATION = re.compile(r"[<>]|\\(?:leq?|geq?|neq?|lt|gt|not|notin)(?![a-z])")
_ARTICLE = re.compile(r"(?:the|an?)\s+")
_RATIO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*:\s*(\d+(?:\.\d+)?)(?:\s*:\s*(\d+(?:\.\d+)?))?\s*")
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d(?::[0-5]\d)?(?:\s?[ap]\.?\s?m\.?)?", re.IGNORECASE)
_IN_BASE = re.compile(r"\(?(?=[a-fA-F]*\d)([\da-fA-F]+)\)?_\{?\(?(\d+)\)?\}?")
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()  # noqa: SIM905
    )
} | {"twenty": "20", "half": "1/2"}
_CHINESE_COUNTERS = "个只条张本件块位名人次辆棵朵"
_CHINESE_DIGITS = {sign: str(value) for value, sign in enumerate("零一二三四五六七八九十")} | {"两": "2"}
_FORMULA_UNIT = re.compile(
    r"(.*?[\dA-Za-z})°])(?:\s+|(?<=[\d}]))((?:sq(?:uare)?\.?\s|cubic\s)?[A-Za-z]+(?:\^\{?[23]\}?)?(?:/[a-z]+)?)"
)


@lru_cache(maxsize=65536)
def same_value(wanted: str, given: str, relative_tolerance: float = 0) -> bool:
    """Whether two free-form answers are the same value: LaTeX, numbers, percent, sets, lists, expressions or words.

    Two plain numbers may differ by the tolerance, a share of the wanted one.
    """
    if max(len(wanted), len(given)) > MAX_VALUE_CHARACTERS:
        return bool(text_key(wanted)) and text_key(wanted) == text_key(given)
    if "=" not in wanted + given and (first := number(wanted)) and (second := number(given)):
        return same_number(first, second, relative_tolerance)
    try:
        return _same(tidy(wanted), tidy(given), relative_tolerance)
    except Uncomputable:
        return False


def _same(wanted: str, given: str, tolerance: float = 0, depth: int = 0) -> bool:
    """As same_value, for tidy texts; the tolerance is for two numbers and not for the parts of a list."""
    if not text_key(wanted) or not text_key(given) or depth > MAX_DEPTH:
        return False
    if text_key(wanted) == text_key(given):
        return True
    first, second = _number(wanted), _number(given)
    if first and second:
        return same_number(first, second, tolerance)
    if "\\pm" in wanted or "\\pm" in given:
        return _same(_both_signs(wanted), _both_signs(given), 0, depth + 1)
    if date(wanted) or date(given):
        return date(wanted) == date(given)
    if _RELATION.search(wanted) or _RELATION.search(given):
        return not (first or second) and _same_algebra(wanted, given)
    if "\\cup" in wanted and "\\cup" in given:
        return _same_in_any_order(wanted.split("\\cup"), given.split("\\cup"), depth)
    if ":" in wanted + given or _IN_BASE.fullmatch(wanted) or _IN_BASE.fullmatch(given):
        return _same_special(wanted, given)
    return _same_parts(wanted, given, tolerance, depth)


def _same_special(wanted: str, given: str) -> bool:
    """Ratios (2:3 is 4:6 and 2/3), and numbers in another base, which an answer may leave out.

    A time of the day is text.
    """
    based = _IN_BASE.fullmatch(wanted)
    if based or _IN_BASE.fullmatch(given):
        return based is not None and text_key(based[1]) == text_key(given)
    if _CLOCK.fullmatch(wanted):
        return False
    ratio, given_ratio = _RATIO.fullmatch(wanted), _RATIO.fullmatch(given)
    if ratio and given_ratio:
        one, other = ([Fraction(part) for part in match.groups() if part] for match in (ratio, given_ratio))
        return len(one) == len(other) and all(a * other[0] == b * one[0] for a, b in zip(one, other, strict=True))
    if not ratio and not given_ratio:
        return False
    values = [number(text.replace(":", "/")) if text.count(":") < 2 else None for text in (wanted, given)]
    return None not in values and values[0] == values[1]


def _same_parts(wanted: str, given: str, tolerance: float, depth: int) -> bool:
    """Lists and sets whatever their order, tuples and intervals in theirs; then names, words and formulas."""
    (brackets, parts), (brackets_2, parts_2) = split_parts(wanted), split_parts(given)
    if len(parts) == len(parts_2) == 1:
        return _same_named(wanted, given, tolerance, depth)
    if len(parts) != len(parts_2):
        # "x = 2, 3" names both of them
        names = [named(text) for text in (wanted, given)]
        if any(name for name, _ in names):
            return _same(names[0][1], names[1][1], 0, depth + 1)
        return False
    kinds = {brackets, brackets_2}
    if len(parts) == 2 and (kinds & {"[]", "[)", "(]"}) and len(kinds) > 1:
        return False
    if kinds & {"{}"} and kinds & {"()", "[]"}:
        return False
    if kinds <= {"", "{}"}:
        return _same_in_any_order(parts, parts_2, depth)
    return all(_same(part, other, 0, depth + 1) for part, other in zip(parts, parts_2, strict=True))


def _same_in_any_order(wanted: list[str], given: list[str], depth: int) -> bool:
    """Whether each part has its own counterpart; so that this stays quick, few may be written differently."""
    if len(wanted) != len(given):
        return False
    rest, unmatched = list(given), []
    for part in wanted:
        twin = next((other for other in rest if text_key(other) == text_key(part)), None)
        if twin is None:
            unmatched.append(part)
        else:
            rest.remove(twin)
    if len(unmatched) > MAX_UNMATCHED:
        return False
    for part in unmatched:
        twin = next((other for other in rest if _same(part, other, 0, depth + 1)), None)
        if twin is None:
            return False
        rest.remove(twin)
    return True


def _same_named(wanted: str, given: str, tolerance: float, depth: int) -> bool:
    """Values with their names, "x = 3"; an equation of a curve is only like another equation."""
    (name, value), (name_2, value_2) = named(wanted), named(given)
    if "=" in value or "=" in value_2:
        return "=" in wanted and "=" in given and _same_equation(wanted, given)
    if name and name_2 and not same_name(name, name_2):
        return bool(_LETTER.search(value) and _LETTER.search(value_2)) and _same_equation(wanted, given)
    if name is not None or name_2 is not None:
        return _same(tidy(value), tidy(value_2), tolerance, depth + 1)
    return _same_formula(wanted, given)


def _same_formula(wanted: str, given: str) -> bool:
    (wanted, unit), (given, unit_2) = _without_unit(wanted), _without_unit(given)
    if unit and unit_2 and unit != unit_2:
        return False
    if _prose(wanted) or _prose(given):
        return _words(wanted) == _words(given)
    if (first := _number(wanted)) and (second := _number(given)):
        return same_number(first, second)
    verdict = same_formula(wanted, given)
    return _same_algebra(wanted, given) if verdict is None else verdict


def _same_equation(wanted: str, given: str) -> bool:
    verdict = same_equation(wanted, given)
    return _same_algebra(wanted, given) if verdict is None else verdict


def _same_algebra(wanted: str, given: str) -> bool:
    """What math-verify says; it picks a number out of a sentence, and takes an ellipsis for nothing."""
    if any(_prose(text) or _NO_ALGEBRA.search(text) or not _MATH.search(text) for text in (wanted, given)):
        return False
    wanted, given = (text.replace("⦃", "\\{").replace("⦄", "\\}") for text in (wanted, given))
    return VERIFIER.same(wanted, given)


def _number(text: str) -> tuple[Fraction, str] | None:
    """As number, for number words too; a named value is compared with its name."""
    if "=" in text:
        return None
    word, _, rest = text.partition(" ")
    if digits := _NUMBER_WORDS.get(word.casefold().strip(",")):
        return number(f"{digits} {rest}")
    if text[:1] in _CHINESE_DIGITS and (not text[1:] or text[1] in _CHINESE_COUNTERS or measure(text[1:])):
        return number(_CHINESE_DIGITS[text[0]] + text[1:])
    return number(text)


def _both_signs(text: str) -> str:
    if text.count("\\pm") != 1:
        return text
    _, text = named(text)
    before, _, after = text.partition("\\pm")
    return f"{before}+{after}, {before}-{after}"


def _without_unit(text: str) -> tuple[str, str | None]:
    """A formula without the unit of measurement at its end, and that unit; a single letter is a variable."""
    if text.endswith("°"):
        return text[:-1].strip(), "°"
    if (match := _FORMULA_UNIT.fullmatch(text)) and len(match[2]) > 1 and (unit := measure(match[2])):
        return match[1].strip(), unit
    return text, None


def _prose(text: str) -> bool:
    """Whether words stand in a text, so that it is no formula."""
    return bool(_WORD.search(_NO_WORD.sub(" ", text)))


def _words(text: str) -> str:
    text = re.sub(r"[-\s]+", " ", text.casefold()).strip(" .,!\"'")
    return _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
