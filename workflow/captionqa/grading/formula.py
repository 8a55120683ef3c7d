r"""Formulas: the value of an expression in LaTeX or plain text at a point, exactly where it is rational.

It decides cheaply what needs no algebra: expressions that differ at a point differ. What it does not know is left to
math-verify.
"""

import cmath
import math
import re
from collections.abc import Callable
from fractions import Fraction

#: A power or factorial of more digits than this is not computed, here or elsewhere.
MAX_BITS = 100_000
#: Values that agree to so many digits are the same.
RELATIVE_ERROR = 1e-9
_TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|\\[a-zA-Z]+|sqrt|pi\b|[A-Za-z]|[-+*/^_(){}\[\]!|])")
_ROUNDED = re.compile(r"\.\d{5}")
#: Equations that hold these may have the same solutions without being multiples of one another.
_NO_POLYNOMIAL = re.compile(r"[\\/|_!]|\^[^2]|\)\^")
_SYNONYMS = {"\\cdot": "*", "\\times": "*", "\\div": "/", "\\dfrac": "\\frac", "\\tfrac": "\\frac", "pi": "\\pi"}
_FUNCTIONS = {
    "\\sin": cmath.sin,
    "\\cos": cmath.cos,
    "\\tan": cmath.tan,
    "\\ln": cmath.log,
    "\\exp": cmath.exp,
    "\\arcsin": cmath.asin,
    "\\arccos": cmath.acos,
    "\\arctan": cmath.atan,
}
_CONSTANTS = {"\\pi": math.pi, "e": math.e, "i": 1j}
_GREEK = frozenset(
    r"\alpha \beta \gamma \delta \theta \lambda \mu \omega \phi \varphi \rho \sigma".split()  # noqa: SIM905
)
#: Every variable is given these values; the last point has negative ones.
_POINTS = 3


class UnknownNotation(ValueError):
    """The text is no formula that is understood here."""


class Uncomputable(ValueError):
    """A number that is too large to be written down."""


def same_formula(one: str, other: str) -> bool | None:
    """Whether two expressions agree at all points; None where that cannot be told. Raises Uncomputable."""
    agreed = []
    for point in range(_POINTS):
        try:
            first, second = (_Reader(text, point).value() for text in (one, other))
            agreed.append(_agree(first, second))
        except Uncomputable:
            raise
        except (ValueError, ArithmeticError, RecursionError):
            return None
    if all(agreed):
        return True
    if (agreed[0] and agreed[1]) or _ROUNDED.search(one) or _ROUNDED.search(other):
        return None  # what differs for negative values alone, or in its last decimals, may yet be meant
    return False


def same_equation(one: str, other: str) -> bool | None:
    """Whether one equation is a multiple of the other at all points; None where that cannot be told.

    Raises Uncomputable.
    """
    ratios = []
    for point in range(_POINTS):
        try:
            first, second = (complex(_difference(text, point)) for text in (one, other))
            ratios.append(first / second)
        except Uncomputable:
            raise
        except (ValueError, ArithmeticError, RecursionError):
            return None
    if ratios[0] and all(_agree(ratio, ratios[0]) for ratio in ratios):
        return True
    return None if _NO_POLYNOMIAL.search(one) or _NO_POLYNOMIAL.search(other) else False


def _difference(equation: str, point: int) -> Fraction | complex:
    left, right = equation.split("=")
    return _Reader(left, point).value() - _Reader(right, point).value()


def _agree(first: Fraction | complex, second: Fraction | complex) -> bool:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    first, second = complex(first), complex(second)
    if first == second == 0:
        raise UnknownNotation("nothing, or too small for a float")
    return abs(first - second) <= RELATIVE_ERROR * max(abs(first), abs(second))


def _sample(name: str, point: int) -> complex:
    """A value for a variable: irrational, so that nothing agrees by chance, and the same in every run."""
    seed = sum(ord(sign) * 31**place for place, sign in enumerate(name)) % 9973
    value = 0.5 + math.sqrt(2 + seed + 7919 * point) % 1.7
    return complex(-value if point == _POINTS - 1 else value)


class _Reader:
    """Reads one expression by recursive descent and computes its value at a point."""

    def __init__(self, text: str, point: int) -> None:
        self._tokens: list[str] = []
        self._at, self._point = 0, point
        place = 0
        text = text.rstrip()
        while place < len(text):
            if (match := _TOKEN.match(text, place)) is None:
                raise UnknownNotation(text)
            self._tokens.append(_SYNONYMS.get(match[1], match[1]))
            place = match.end()

    def value(self) -> Fraction | complex:
        value = self._sum()
        if self._next():
            raise UnknownNotation(self._next())
        return value

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._next()
        if not token or (wanted and token != wanted):
            raise UnknownNotation(token)
        self._at += 1
        return token

    def _sum(self) -> Fraction | complex:
        sign = self._take() if self._next() in ("+", "-") else "+"
        value = self._product() if sign == "+" else -self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction | complex:
        value, divided = self._power(), False
        while self._next() in ("*", "/") or self._begins_factor():
            if self._next() == "/":
                self._take()
                value, divided = value / self._signed_power(), True
            elif self._next() == "*":
                self._take()
                value = value * self._signed_power()
            elif divided:
                raise UnknownNotation("1/2x may be half of x or one over 2x")
            else:
                value = value * self._power()
        return value

    def _begins_factor(self) -> bool:
        return bool(self._next()) and (self._next()[0].isalpha() or self._next()[0] in "\\({")

    def _signed_power(self) -> Fraction | complex:
        if self._next() == "-":
            self._take()
            return -self._power()
        return self._power()

    def _power(self) -> Fraction | complex:
        base = self._atom()
        if self._next() == "!":
            self._take()
            if not isinstance(base, Fraction) or base.denominator != 1 or not base >= 0:
                raise UnknownNotation("!")
            if base > 3000:
                raise Uncomputable("!")
            base = Fraction(math.factorial(int(base)))
        if self._next() != "^":
            return base
        self._take()
        return _power(base, self._group() if self._next() == "{" else self._signed_power())

    def _group(self) -> Fraction | complex:
        self._take("{")
        value = self._sum()
        self._take("}")
        return value

    def _argument(self) -> Fraction | complex:
        """What follows \\frac or \\sqrt: a group, or one digit or letter."""
        if self._next() == "{":
            return self._group()
        token = self._take()
        if token.isdigit():
            if len(token) > 1:  # \\frac12: each digit is an argument
                self._tokens.insert(self._at, token[1:])
            return Fraction(token[0])
        if not token.isalpha():
            raise UnknownNotation(token)
        self._at -= 1
        return self._atom()

    def _atom(self) -> Fraction | complex:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            return self._numeral(Fraction(token))
        if token == "(":
            value = self._sum()
            self._take(")")
            return value
        if token == "|":
            value = self._sum()
            self._take("|")
            return abs(value) if isinstance(value, Fraction) else complex(abs(value))
        if token == "\\log":
            self._take("_")
            base = self._argument()
            return self._function(lambda value: cmath.log(value) / cmath.log(complex(base)))
        if token == "{":
            self._at -= 1
            return self._group()
        if token == "\\frac":
            return self._argument() / self._argument()
        if token in ("\\sqrt", "sqrt"):
            return self._root(token)
        if token in _FUNCTIONS:
            return self._function(_FUNCTIONS[token])
        if token in _CONSTANTS and self._next() != "_":
            return complex(_CONSTANTS[token])
        if token.isalpha() or token in _GREEK:
            return _sample(token + self._subscript(), self._point)
        raise UnknownNotation(token)

    def _numeral(self, value: Fraction) -> Fraction:
        if self._next() == "_" or self._next()[:1].isdigit():
            raise UnknownNotation("a number in another base, or two in a row")
        if self._next() == "\\frac" and value.denominator == 1:  # a mixed number, if the fraction is one of numbers
            self._take()
            part = self._argument() / self._argument()
            if not isinstance(part, Fraction) or not 0 < part < 1:
                raise UnknownNotation("a number times a fraction")
            return value + part
        return value

    def _root(self, token: str) -> Fraction | complex:
        degree: Fraction | complex = Fraction(2)
        if token == "\\sqrt" and self._next() == "[":
            self._take()
            degree = self._sum()
            self._take("]")
        value = self._atom() if self._next() == "(" else self._argument()
        if isinstance(value, Fraction) and value < 0 and degree != 2:
            raise UnknownNotation("a root of a negative number has several values")
        return _power(value, 1 / degree)

    def _function(self, function: Callable[[complex], complex]) -> complex:
        if self._next() in ("^", "_"):
            raise UnknownNotation(self._next())
        value = function(complex(self._power()))
        if self._begins_factor():
            raise UnknownNotation("it is not clear where the argument ends")
        return value

    def _subscript(self) -> str:
        if self._next() != "_":
            return ""
        self._take()
        if self._next() != "{":
            return "_" + self._take()
        self._take("{")
        name = "_"
        while self._next() != "}":
            name += self._take()
        self._take("}")
        return name


def _power(base: Fraction | complex, exponent: Fraction | complex) -> Fraction | complex:
    if not isinstance(base, Fraction) or not isinstance(exponent, Fraction):
        return complex(base) ** complex(exponent)
    if exponent.denominator == 1:
        size = max(abs(base.numerator), base.denominator).bit_length()
        if size > 1 and abs(exponent) * size > MAX_BITS:
            raise Uncomputable("^")
        return base ** int(exponent)
    if base >= 0:
        for value in (base.numerator, base.denominator):  # the root of a square is a whole number
            if exponent.denominator != 2 or math.isqrt(value) ** 2 != value:
                break
        else:
            root = Fraction(math.isqrt(base.numerator), math.isqrt(base.denominator))
            return _power(root, Fraction(exponent.numerator))
    return complex(base) ** complex(exponent)
