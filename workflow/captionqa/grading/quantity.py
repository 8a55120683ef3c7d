"""Values: texts without what only sets their type, and the numbers in them with their units."""

import re
from fractions import Fraction

from captionqa.grading.units import unit

#: math-verify compares decimals to as many places.
DECIMALS = 6
_FULL_WIDTH = str.maketrans(
    {chr(0xFF21 + step): chr(ord("A") + step) for step in range(26)}
    | {chr(0xFF41 + step): chr(ord("a") + step) for step in range(26)}
    | dict(zip("（）：，．；！？【】［］‘’“”\u00a0\u202f\u3000İ", "():,.;!?[][]''\"\"   I", strict=True))
)
_TAG = re.compile(r"</?(?:b|i|u|em|strong|p|br|span|center|eo[ae]|\|\w+\|)\s*/?>", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"</answer>", re.IGNORECASE)
_EMPTY_LINES = re.compile(r"\n(?: ?\n){2,}+")
_BLANKS = re.compile(r"[ \t\r\f\v]+")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|sf|it|bb|tt)|operatorname|emph|boldsymbol|mbox)\s*\{([^{}]*)\}"
)
_BARE_WRAPPER = re.compile(r"\\(?:left|right|big|Big|bigg|displaystyle|bf|rm)(?![a-zA-Z])")
_SPACE = re.compile(r"(?<!\\)\\(?:[,;:! ]|quad\b|qquad\b)|~")
_DEGREE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")
_SINGLE_FRACTIONS = str.maketrans({"½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4"})
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)\s*(?P<money>(?:USD|US)?[$€£¥]?)\s*"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,3}(?:\s\d{3})+(?![\d/.])|\d{1,40})?(?P<part>\.\d{1,40})?"
    r"(?:(?P<mixed>\s+\d{1,9})?\s*/\s*(?P<below>\d{1,40}(?:\.\d{1,9})?)(?!\s*/))?"
    r"(?:\s*(?:\*|\u00d7|\u00b7|\\times|\\cdot|x)\s*10\s*\^\s*\{?\s*(?P<power>[-+\u2212]?\s?\d{1,3})\s*\}?|"
    r"[eE](?P<e>[-+]?\d{1,3})(?![\d.]))?"
    r"(?:\s*(?P<scale>hundred|thousand|million|billion|trillion)\b)?\s*(?P<rest>[^\d,;=<>+*\\]*(?:[\^²³][^,;=<>+*\\]*)?)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"[A-Za-z]\w{0,3}\s*=\s*(?=[^=]*$)")
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PART_OF = re.compile(r"(%|percent)?\s*of\s(?!\w*\d)[^,;\d]+", re.IGNORECASE)
_MONEY = re.compile(r"\\\$|\$(?=\s?\d[^$]*\Z)")


def skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern that may match nothing ends."""
    match = pattern.match(text, at)
    return match.end() if match else at


def unwrap(text: str) -> str:
    r"""A text without what only sets its type: \text{}, \textbf{}, \left, spaces and dollar signs of LaTeX."""
    if "\\" in text or "~" in text:
        text = text.replace("\\$", "").replace("\\%", "%").replace("\\(", "").replace("\\)", "")
        text = text.replace("\\[", "").replace("\\]", "").replace("\\_", "_").replace("\\&", "&")
        text = _DEGREE.sub("°", _SPACE.sub(" ", _BARE_WRAPPER.sub("", text)))
        for _ in range(3):  # wrappers stand in one another, seldom deeper
            text, found = _WRAPPER.subn(r"\1", text)
            if not found:
                break
    return text.replace("$", "")


def plain(text: str) -> str:
    """A text without Markdown, tags and LaTeX that only set its type; blanks are single, lines stay."""
    if not text.isascii():
        text = text.translate(_FULL_WIDTH)
    if "<" in text:
        text = _TAG.sub("", _ANSWER_CLOSES.sub("\n", text))
    return _EMPTY_LINES.sub("\n\n", _BLANKS.sub(" ", unwrap(text).replace("**", "").replace("__", "").replace("`", "")))


def number(text: str) -> tuple[Fraction, str] | None:
    """The value of a number with its unit ("" for none): 12, 1,200, 3.5 cm, 1 1/2, 1.2\times10^3, 50%, 2 million."""
    if not any(sign.isdigit() for sign in text):
        return None
    money = "$" if len(_MONEY.findall(text)) == 1 else ""
    text = unwrap(text.translate(_SINGLE_FRACTIONS)).replace("{,}", ",")
    text = _ASSIGNED.sub("", _FRACTION.sub(_slash, text).strip(" *_").rstrip(" .*_"), count=1)
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
        value *= Fraction(10) ** int(power.replace("\u2212", "-").replace(" ", ""))
    value *= _SCALES[match["scale"].lower()] if match["scale"] else 1
    rest = match["rest"]
    if (below or "%" in rest or "percent" in rest.lower()) and (part := _PART_OF.fullmatch(rest.strip())):
        rest = part[1] or ""
    name = unit(rest)
    if name is None:
        return None
    money = match["money"].upper().replace("USD", "$").replace("US$", "$") or money
    return (-value if match["sign"] in ("-", "\u2212") else value), money or name


def same_number(one: tuple[Fraction, str], other: tuple[Fraction, str], relative_tolerance: float = 0) -> bool:
    """Whether two numbers are equal; a unit that only one of them has does not count, and 50% is 0.5 or 50.

    The tolerance is a share of the first number.
    """
    (value, unit_1), (value_2, unit_2) = one, other
    if unit_1 and unit_2 and unit_1 != unit_2:
        return False
    tolerance = Fraction(str(relative_tolerance))
    if _close(value, value_2, tolerance):
        return True
    if (unit_1 == "%") != (unit_2 == "%"):
        return _close(value / 100, value_2, tolerance) if unit_1 == "%" else _close(value, value_2 / 100, tolerance)
    return False


def _slash(match: re.Match[str]) -> str:
    """A fraction in a line; the blank keeps the whole of a mixed number apart."""
    return f" {match[1] or match[2]}/{match[3] or match[4]}"


def _close(wanted: Fraction, given: Fraction, tolerance: Fraction) -> bool:
    """Equal, or the same decimals where one was rounded: 0.333333 is 1/3, and 1/3 alone is no 0.33."""
    difference = abs(wanted - given)
    if difference <= tolerance * abs(wanted):
        return True
    return difference < min(Fraction(1, 10**DECIMALS), Fraction(2, 10**DECIMALS) * max(abs(wanted), abs(given)))
