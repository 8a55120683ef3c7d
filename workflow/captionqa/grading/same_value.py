"""Whether two free-form answers are the same value.

Text, quantities, dates, ratios, lists, tuples and intervals are compared here, and formulas by their values at some
points. Inequalities, matrices and whatever else needs algebra go to math-verify.
"""

import re
from fractions import Fraction
from functools import lru_cache

from captionqa.grading.dates import parse_date, parse_time
from captionqa.grading.formula import same_equation, same_formula
from captionqa.grading.formula_value import UncomputableError
from captionqa.grading.intervals import Interval, parse_intervals
from captionqa.grading.math_verify import VERIFIER
from captionqa.grading.notation import comparison_key, normalize, split_parts
from captionqa.grading.quantity import Quantity, parse_quantity, same_quantity
from captionqa.grading.units import measurement_unit
from captionqa.grading.variable_names import names_agree, split_name

#: A longer answer is prose, and is compared as text alone.
MAX_VALUE_CHARACTERS = 300
#: Lists within lists and names within names are followed to this depth.
MAX_DEPTH = 6
#: Of two lists in any order, at most this many parts may differ as text; each is compared with all others.
MAX_UNMATCHED = 5
#: Pairs of answers whose comparisons are kept in memory.
CACHED_COMPARISONS = 65536
#: A sign of mathematics, without which math-verify is not asked.
_MATH = re.compile(r"[\d\\^_=+*/<>|√π∞\u00b2\u00b3\u00b9\u2070-\u2079≤≥½¼¾⅓⅔]")
#: A word, which makes a text prose: letters in a row that are no product of variables, or a CJK character.
_WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:[abcxyz]{2,3}|ah|(?![ckmp]m)[bchkmnpqrtvwxyz]{2,3})(?![A-Za-z]))[A-Za-z]{2,}|[\u3040-\u9fff\uac00-\ud7af]"
)
#: LaTeX commands, which are no words.
_COMMAND = re.compile(r"\\(?:begin|end|operatorname)\s*\{[a-z]+\}|\\[A-Za-z]+")
#: An ellipsis, a colon, or a power without its base, which math-verify would not understand.
_NO_ALGEBRA = re.compile(r"\\[lcd]?dots|\.\.\.|…|:|\A\^")
_LETTER = re.compile(r"[A-Za-z]")
_SINGLE_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
#: A sign of an inequality, or one that means "not equal" or "not an element of".
_RELATION = re.compile(r"[<>]|\\(?:leq?|geq?|neq?|lt|gt|not|notin)(?![a-z])")
#: A chemical formula: CO2, Na^+, SO_4^{2-}.
_FORMULA_OF_ATOMS = re.compile(r"(?=.*[\d+-])(?:\d*(?:[A-Z][a-z]?|[()])(?:_?\{?\d+\}?)?)+(?:\^?\{?\d?[+-]\}?)?")
#: What a sum, difference or product of names is, before a calculation or a value: "m + n =".
_SUM_OF_NAMES = re.compile(
    r"(?:[A-Za-z]|[A-Z]{2})(?:\s*[-+]\s*(?:[A-Za-z]|[A-Z]{2}))+\s*=(?=[^A-Za-z=]*(?:=[^A-Za-z=]*)?\Z)\s*"
)
_ARTICLE = re.compile(r"(?:the|an?)\s+")
#: 2:3 and 2:3:4.
_RATIO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*:\s*(\d+(?:\.\d+)?)(?:\s*:\s*(\d+(?:\.\d+)?))?\s*")
#: A number in another base: 1010_2, (1F)_{16}.
_IN_BASE = re.compile(r"\(?(?=[a-fA-F]*\d)([\da-fA-F]+)\)?_\{?\(?(\d+)\)?\}?")
_CHINESE_COUNTERS = "个只条张本件块位名人次辆棵朵"
_CHINESE_DIGITS = {sign: str(value) for value, sign in enumerate("零一二三四五六七八九十")} | {"两": "2"}
#: A formula, and the unit that ends it: "5\sqrt{2} cm".
_FORMULA_UNIT = re.compile(
    r"(.*?[\dA-Za-z})°])(?:\s+|(?<=[\d}]))((?:sq(?:uare)?\.?\s|cubic\s)?[A-Za-z]+(?:\^\{?[23]\}?)?(?:/[a-z]+)?)"
)


@lru_cache(maxsize=CACHED_COMPARISONS)
def same_value(wanted: str, given: str, relative_tolerance: float = 0) -> bool:
    """Whether two free-form answers are the same value: LaTeX, numbers, percent, sets, lists, expressions or words.

    Two plain numbers may differ by the tolerance, a share of the wanted one. Raises DependencyError where math-verify
    is needed and does not start.
    """
    if max(len(wanted), len(given)) > MAX_VALUE_CHARACTERS:
        return bool(comparison_key(wanted)) and comparison_key(wanted) == comparison_key(given)
    if (
        "=" not in wanted + given
        and (wanted_quantity := parse_quantity(wanted))
        and (given_quantity := parse_quantity(given))
    ):
        return same_quantity(wanted_quantity, given_quantity, relative_tolerance)
    try:
        return _same(normalize(wanted), normalize(given), relative_tolerance)
    except UncomputableError:
        return False


def formula_variables(text: str) -> frozenset[str] | None:
    """The single letters of a formula, which has a digit or a sign of mathematics, and no words but a unit.

    None for another text.
    """
    if not _MATH.search(text) or _is_prose(_split_unit(text)[0]):
        return None
    return frozenset(_SINGLE_LETTER.findall(_COMMAND.sub(" ", text)))


def _same(wanted: str, given: str, tolerance: float = 0, depth: int = 0) -> bool:
    """As same_value, for normalized texts; the tolerance is for two numbers and not for the parts of a list."""
    if not comparison_key(wanted) or not comparison_key(given) or depth > MAX_DEPTH:
        return False
    if comparison_key(wanted) == comparison_key(given):
        return True
    wanted_quantity, given_quantity = _parse_quantity(wanted), _parse_quantity(given)
    if wanted_quantity and given_quantity:
        return same_quantity(wanted_quantity, given_quantity, tolerance)
    if "\\pm" in wanted or "\\pm" in given:
        return _same(_both_signs(wanted), _both_signs(given), 0, depth + 1)
    if parse_date(wanted) or parse_date(given):
        return parse_date(wanted) == parse_date(given)
    if _RELATION.search(wanted) or _RELATION.search(given):
        if (verdict := _same_intervals(wanted, given, depth)) is not None:
            return verdict
        return not (wanted_quantity or given_quantity) and _same_by_algebra(wanted, given)
    if "\\cup" in wanted and "\\cup" in given:
        return _same_in_any_order(wanted.split("\\cup"), given.split("\\cup"), depth)
    if ":" in wanted + given or _IN_BASE.fullmatch(wanted) or _IN_BASE.fullmatch(given):
        return _same_ratio_or_base(wanted, given)
    return _same_parts(wanted, given, tolerance, depth)


def _same_intervals(wanted: str, given: str, depth: int) -> bool | None:
    """Inequalities of one variable and intervals (x < 3 is (-∞, 3)); None where a text is neither."""
    wanted_set, given_set = parse_intervals(wanted), parse_intervals(given)
    if wanted_set is None or given_set is None:
        return None
    if wanted_set[0] and given_set[0] and not names_agree(wanted_set[0], given_set[0]):
        return False
    rest = given_set[1]
    for interval in wanted_set[1]:
        same = next((other for other in rest if _same_interval(interval, other, depth)), None)
        if same is None:
            return False
        rest.remove(same)
    return not rest


def _same_interval(one: Interval, other: Interval, depth: int) -> bool:
    if (one.has_low, one.has_high) != (other.has_low, other.has_high):
        return False
    ends = ((one.low, other.low), (one.high, other.high))
    return all(a == b or (bool(a) and bool(b) and _same(a, b, 0, depth + 1)) for a, b in ends)


def _same_ratio_or_base(wanted: str, given: str) -> bool:
    """Ratios (2:3 is 4:6 and 2/3), and numbers in another base, which the given answer may leave out.

    A time of day is only the same as a time of day.
    """
    based = _IN_BASE.fullmatch(wanted)
    if based or _IN_BASE.fullmatch(given):
        return based is not None and comparison_key(based[1]) == comparison_key(given)
    if time := parse_time(wanted):
        return time == parse_time(given)
    wanted_ratio, given_ratio = _RATIO.fullmatch(wanted), _RATIO.fullmatch(given)
    if wanted_ratio and given_ratio:
        one, other = ([Fraction(part) for part in ratio.groups() if part] for ratio in (wanted_ratio, given_ratio))
        return len(one) == len(other) and all(a * other[0] == b * one[0] for a, b in zip(one, other, strict=True))
    if not wanted_ratio and not given_ratio:
        return False
    fractions = [parse_quantity(text.replace(":", "/")) if text.count(":") < 2 else None for text in (wanted, given)]
    return None not in fractions and fractions[0] == fractions[1]


def _same_parts(wanted: str, given: str, tolerance: float, depth: int) -> bool:
    """Lists and sets in any order, tuples and intervals in their own; then names, words and formulas."""
    wanted_brackets, wanted_parts = split_parts(wanted)
    given_brackets, given_parts = split_parts(given)
    if len(wanted_parts) == len(given_parts) == 1:
        if given_brackets == "{}" != wanted_brackets and given[0] == "⦃":
            return False  # a set of one value is not that value
        if wanted_brackets == "{}" and wanted[0] == "⦃":
            return _same(wanted_parts[0], given_parts[0], tolerance, depth + 1)
        return _same_named(wanted, given, tolerance, depth)
    if len(wanted_parts) != len(given_parts):
        # "x = 2, 3" names both of them
        (wanted_name, wanted_values), (given_name, given_values) = split_name(wanted), split_name(given)
        return bool(wanted_name or given_name) and _same(wanted_values, given_values, 0, depth + 1)
    brackets = {wanted_brackets, given_brackets}
    if brackets == {"", "[]"} and all(map(_is_prose, wanted_parts)):
        return all(map(_same_words, wanted_parts, given_parts))
    if len(wanted_parts) == 2 and (brackets & {"[]", "[)", "(]"}) and len(brackets) > 1:
        return False  # intervals that are open at other ends
    if brackets & {"{}"} and brackets & {"()", "[]"}:
        return False  # a set and a tuple or list
    if brackets <= {"", "{}"}:
        return _same_in_any_order(wanted_parts, given_parts, depth)
    return all(_same(part, other, 0, depth + 1) for part, other in zip(wanted_parts, given_parts, strict=True))


def _same_in_any_order(wanted: list[str], given: list[str], depth: int) -> bool:
    """Whether each part has a counterpart of its own.

    Comparing all parts with one another is slow, so few of them may differ as text.
    """
    if len(wanted) != len(given):
        return False
    rest, unmatched = list(given), []
    for part in wanted:
        counterpart = next((other for other in rest if comparison_key(other) == comparison_key(part)), None)
        if counterpart is None:
            unmatched.append(part)
        else:
            rest.remove(counterpart)
    if len(unmatched) > MAX_UNMATCHED:
        return False
    for part in unmatched:
        counterpart = next((other for other in rest if _same(part, other, 0, depth + 1)), None)
        if counterpart is None:
            return False
        rest.remove(counterpart)
    return True


def _same_named(wanted: str, given: str, tolerance: float, depth: int) -> bool:
    """Values with their names ("x = 3"); the equation of a curve is the same only as another equation."""
    (wanted_name, wanted_value), (given_name, given_value) = split_name(wanted), split_name(given)
    if "=" not in wanted and (total := _SUM_OF_NAMES.match(given)):
        return _same(wanted, normalize(given[total.end() :]), tolerance, depth + 1)
    if "=" in wanted_value or "=" in given_value:
        return "=" in wanted and "=" in given and _same_equation(wanted, given)
    if wanted_name and given_name and not names_agree(wanted_name, given_name):
        # y = 2x and x = y/2 are one equation
        return bool(_LETTER.search(wanted_value) and _LETTER.search(given_value)) and _same_equation(wanted, given)
    if wanted_name is not None or given_name is not None:
        return _same(normalize(wanted_value), normalize(given_value), tolerance, depth + 1)
    return _same_formula(wanted, given)


def _same_formula(wanted: str, given: str) -> bool:
    """Words as text, formulas by their values or by algebra, both without their units."""
    (wanted, wanted_unit), (given, given_unit) = _split_unit(wanted), _split_unit(given)
    if wanted_unit and given_unit and wanted_unit != given_unit:
        return False
    if _FORMULA_OF_ATOMS.fullmatch(wanted) and _FORMULA_OF_ATOMS.fullmatch(given) and _atoms(wanted) == _atoms(given):
        return True
    if _is_prose(wanted) or _is_prose(given):
        return _same_words(wanted, given)
    if (wanted_quantity := _parse_quantity(wanted)) and (given_quantity := _parse_quantity(given)):
        return same_quantity(wanted_quantity, given_quantity)
    verdict = same_formula(wanted, given)
    return _same_by_algebra(wanted, given) if verdict is None else verdict


def _same_equation(wanted: str, given: str) -> bool:
    verdict = same_equation(wanted, given)
    return _same_by_algebra(wanted, given) if verdict is None else verdict


def _same_by_algebra(wanted: str, given: str) -> bool:
    """What math-verify says of two formulas.

    It is not asked about prose, out of which it would pick a number, nor about an ellipsis, which it would ignore.
    """
    if any(_is_prose(text) or _NO_ALGEBRA.search(text) or not _MATH.search(text) for text in (wanted, given)):
        return False
    wanted, given = (text.replace("⦃", "\\{").replace("⦄", "\\}") for text in (wanted, given))
    return VERIFIER.same(wanted, given)


def _parse_quantity(text: str) -> Quantity | None:
    """As parse_quantity, for Chinese numerals too; None for a value with a name, which is compared with that."""
    if "=" in text:
        return None
    if text[:1] in _CHINESE_DIGITS and (not text[1:] or text[1] in _CHINESE_COUNTERS or measurement_unit(text[1:])):
        return parse_quantity(_CHINESE_DIGITS[text[0]] + text[1:])
    return parse_quantity(text)


def _both_signs(text: str) -> str:
    r"""The list of the two values that a \pm stands for, without their name."""
    if text.count("\\pm") != 1:
        return text
    _, text = split_name(text)
    before, _, after = text.partition("\\pm")
    return f"{before}+{after}, {before}-{after}"


def _split_unit(text: str) -> tuple[str, str | None]:
    """A formula without the unit of measurement at its end, and that unit; a single letter is a variable."""
    if text.endswith("°"):
        return text[:-1].strip(), "°"
    if (match := _FORMULA_UNIT.fullmatch(text)) and len(match[2]) > 1 and (unit := measurement_unit(match[2])):
        return match[1].strip(), unit
    return text, None


def _same_words(one: str, other: str) -> bool:
    return _prose_key(one) == _prose_key(other)


def _atoms(formula: str) -> str:
    """A chemical formula without the marks of indexes and charges."""
    return re.sub(r"[_^{}]", "", formula)


def _is_prose(text: str) -> bool:
    """Whether words stand in a text, so that it is no formula."""
    return bool(_WORD.search(_COMMAND.sub(" ", text)))


def _prose_key(text: str) -> str:
    """Prose without case, punctuation at its ends and an article at its beginning."""
    text = re.sub(r"[-\s]+", " ", text.casefold()).strip(" .,!\"'")
    return _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
