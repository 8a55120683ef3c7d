r"""Quantities: numbers with their units, as people write them: 1,200, 3.5 cm, 1 1/2, 1.2\times10^3, 50%, 2 million."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from captionqa.grading.number_words import in_digits
from captionqa.grading.plain_text import without_latex_style
from captionqa.grading.signs import MINUS_SIGNS, with_minus_signs
from captionqa.grading.units import canonical_unit

#: Decimal places that count when two numbers are compared, as in math-verify.
DECIMALS = 6
#: Texts whose quantities are kept in memory.
CACHED_TEXTS = 16384
_HAS_DIGIT = re.compile(r"\d")
#: \frac{1}{2}, \frac12 and the like, with a number or any text as either part.
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")
_SIGNS = MINUS_SIGNS | str.maketrans({"½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "\u2044": "/"})
#: An exponent in raised digits: 10⁻³, cm².
RAISED = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+[⁻⁺]?|[⁻⁺]")
_FROM_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
#: A text that is a number: sign, currency, digits with thousands separators, decimals, a fraction or the fraction of a
#: mixed number, a power of ten, a scale such as "million", and the rest, which must be a unit.
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<money>(?:USD|US)?[$€£¥]?)\s*"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,3}(?:\s\d{3})+(?![\d/.])|\d{1,40})?(?P<part>\.\d{1,40})?"
    r"(?:(?P<mixed>\s+\d{1,9})?\s*/\s*(?P<below>\d{1,40}(?:\.\d{1,9})?)(?!\s*/))?"
    r"(?:\s*(?:\*|\u00d7|\u00b7|\\times|\\cdot|x)\s*10\s*\^\s*\{?\s*(?P<power>[-+]?\s?\d{1,3})\s*\}?|"
    r"[eE](?P<e>[-+]?\d{1,3})(?![\d.]))?"
    r"(?:\s*(?P<scale>hundred|thousand|million|billion|trillion)\b)?\s*(?P<rest>[^\d,;=<>+*\\]*(?:[\^²³][^,;=<>+*\\]*)?)",
    re.IGNORECASE,
)
#: "x =" before a value; of "x = y = 3" the last one.
_ASSIGNED = re.compile(r"[A-Za-z]\w{0,3}\s*=\s*(?=[^=]*$)")
#: A sign of multiplication between two units: kg \\cdot m.
_UNIT_PRODUCT = re.compile(r"(?<=[A-Za-z}])\s*\\cdot\s*(?=[A-Za-z])")
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
#: "of the apples" after a fraction, "% of the apples" after a percentage.
_PART_OF = re.compile(r"(%|percent)?\s*of\s(?!\w*\d)[^,;\d]+", re.IGNORECASE)
#: A dollar sign that means money and does not delimit LaTeX.
_DOLLARS = re.compile(r"\\\$|\$(?=\s?\d[^$]*\Z)")


class Quantity(NamedTuple):
    """A number with its unit."""

    value: Fraction
    #: The canonical name of the unit, "" for none.
    unit: str


@lru_cache(maxsize=CACHED_TEXTS)
def parse_quantity(text: str) -> Quantity | None:
    """The quantity that a whole text states, or None."""
    text = with_minus_signs(text).lstrip()
    text = "-" + in_digits(text[1:]) if text[:1] == "-" else in_digits(text)
    if not _HAS_DIGIT.search(text):
        return None
    money = "$" if len(_DOLLARS.findall(text)) == 1 else ""
    if not text.isascii():
        text = RAISED.sub(exponent, text.translate(_SIGNS))
    text = _UNIT_PRODUCT.sub("·", without_latex_style(text).replace("{,}", ","))
    text = _ASSIGNED.sub("", _FRACTION.sub(_on_one_line, text).strip(" *_").rstrip(" .*_"), count=1)
    match = _NUMBER.fullmatch(text)
    if match is None or not (match["whole"] or match["part"]) or (match["mixed"] and match["part"]):
        return None
    value = Fraction(re.sub(r"[,\s]", "", match["whole"] or "0") + (match["part"] or ""))
    if below := match["below"]:
        if not (divisor := Fraction(below)):
            return None
        value = value + Fraction(match["mixed"].strip()) / divisor if match["mixed"] else value / divisor
        if match["mixed"] and Fraction(match["mixed"].strip()) >= divisor:
            return None
    if power := match["power"] or match["e"]:
        value *= Fraction(10) ** int(power.replace(" ", ""))
    value *= _SCALES[match["scale"].lower()] if match["scale"] else 1
    rest = match["rest"]
    if (below or "%" in rest or "percent" in rest.lower()) and (part := _PART_OF.fullmatch(rest.strip())):
        rest = part[1] or ""
    unit = canonical_unit(rest)
    if unit is None:
        return None
    money = match["money"].upper().replace("USD", "$").replace("US$", "$") or money
    return Quantity(-value if match["sign"] == "-" else value, money or unit)


def exponent(raised: re.Match[str]) -> str:
    """Raised digits in the notation of LaTeX."""
    return f"^{{{raised[0].translate(_FROM_RAISED)}}}"


def same_quantity(wanted: Quantity, given: Quantity, relative_tolerance: float = 0) -> bool:
    """Whether two quantities are equal; a unit that only one of them has does not count, and 50% is 0.5 or 50.

    The tolerance is a share of the wanted number.
    """
    if wanted.unit and given.unit and wanted.unit != given.unit:
        return False
    tolerance = Fraction(str(relative_tolerance))
    if _close(wanted.value, given.value, tolerance):
        return True
    if (wanted.unit == "%") == (given.unit == "%"):
        return False
    if wanted.unit == "%":
        return _close(wanted.value / 100, given.value, tolerance)
    return _close(wanted.value, given.value / 100, tolerance)


def _on_one_line(fraction: re.Match[str]) -> str:
    r"""\frac{1}{2} as 1/2; the blank before it keeps the whole part of a mixed number apart."""
    return f" {fraction[1] or fraction[2]}/{fraction[3] or fraction[4]}"


def _close(wanted: Fraction, given: Fraction, tolerance: Fraction) -> bool:
    """Whether two numbers are equal within the tolerance, or in all decimals that count: 1/3 is 0.333333, not 0.33."""
    difference = abs(wanted - given)
    if difference <= tolerance * abs(wanted):
        return True
    return difference < min(Fraction(1, 10**DECIMALS), Fraction(2, 10**DECIMALS) * max(abs(wanted), abs(given)))
