r"""The value of an expression in LaTeX or plain text at a point, exactly where it is rational.

A point gives each variable a value. A text outside the notation that is read here raises UnknownNotationError.
"""

import cmath
import math
import re
from collections.abc import Callable
from fractions import Fraction

#: A rational value is exact, any other one a complex floating-point number.
Number = Fraction | complex

#: A power with more bits than this is not computed.
MAX_BITS = 100_000
#: The factorial of a larger number is not computed.
MAX_FACTORIAL = 3000
#: The points, from 0 on, at which expressions are compared; at the last one all variables are negative.
POINTS = 3
#: A number, a LaTeX command, "sqrt", "pi", a letter, or a sign.
_TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|\\[a-zA-Z]+|sqrt|pi\b|[A-Za-z]|[-+*/^_(){}\[\]!|])")
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
    r"\alpha \beta \gamma \delta \theta \lambda \mu \omega \phi \varphi \rho \sigma".split()  # noqa: SIM905 - a list has a line for each word
)


class UnknownNotationError(ValueError):
    """The text is no formula in the notation that is read here."""


class UncomputableError(ValueError):
    """A number is too large to be computed."""


def value_at(text: str, point: int) -> Number:
    """The value of an expression at a point.

    Raises UnknownNotationError or UncomputableError, and ArithmeticError or RecursionError from computing it.
    """
    return _Reader(text, point).value()


def _variable(name: str, point: int) -> complex:
    """The value of a variable: irrational, so that nothing agrees by chance, and the same in every run."""
    seed = sum(ord(sign) * 31**place for place, sign in enumerate(name)) % 9973
    value = 0.5 + math.sqrt(2 + seed + 7919 * point) % 1.7
    return complex(-value if point == POINTS - 1 else value)


class _Reader:
    """A recursive-descent parser that computes the value of one expression at a point while it reads."""

    def __init__(self, text: str, point: int) -> None:
        self._tokens: list[str] = []
        self._at, self._point = 0, point
        place = 0
        text = text.rstrip()
        while place < len(text):
            if (match := _TOKEN.match(text, place)) is None:
                raise UnknownNotationError(text)
            self._tokens.append(_SYNONYMS.get(match[1], match[1]))
            place = match.end()

    def value(self) -> Number:
        """The value of the whole text."""
        value = self._sum()
        if self._next():
            raise UnknownNotationError(self._next())
        return value

    def _next(self) -> str:
        """The next token, "" at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        """Step over the next token, which must be the wanted one if one is named."""
        token = self._next()
        if not token or (wanted and token != wanted):
            raise UnknownNotationError(token)
        self._at += 1
        return token

    def _sum(self) -> Number:
        sign = self._take() if self._next() in ("+", "-") else "+"
        value = self._product() if sign == "+" else -self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Number:
        value, divided = self._power(), False
        while self._next() in ("*", "/") or self._begins_factor():
            if self._next() == "/":
                self._take()
                value, divided = value / self._signed_power(), True
            elif self._next() == "*":
                self._take()
                value = value * self._signed_power()
            elif divided:
                raise UnknownNotationError("1/2x is half of x or one over 2x")
            else:
                value = value * self._power()
        return value

    def _begins_factor(self) -> bool:
        """Whether a factor follows without a sign of multiplication."""
        return bool(self._next()) and (self._next()[0].isalpha() or self._next()[0] in "\\({")

    def _signed_power(self) -> Number:
        if self._next() == "-":
            self._take()
            return -self._power()
        return self._power()

    def _power(self) -> Number:
        """An atom with its factorial and its exponent."""
        base = self._atom()
        if self._next() == "!":
            self._take()
            if not isinstance(base, Fraction) or base.denominator != 1 or not base >= 0:
                raise UnknownNotationError("!")
            if base > MAX_FACTORIAL:
                raise UncomputableError("!")
            base = Fraction(math.factorial(int(base)))
        if self._next() != "^":
            return base
        self._take()
        return _power(base, self._group() if self._next() == "{" else self._signed_power())

    def _group(self) -> Number:
        self._take("{")
        value = self._sum()
        self._take("}")
        return value

    def _argument(self) -> Number:
        r"""What follows \frac or \sqrt: a group, or one digit or letter."""
        if self._next() == "{":
            return self._group()
        token = self._take()
        if token.isdigit():
            if len(token) > 1:  # \frac12: each digit is an argument
                self._tokens.insert(self._at, token[1:])
            return Fraction(token[0])
        if not token.isalpha():
            raise UnknownNotationError(token)
        self._at -= 1
        return self._atom()

    def _atom(self) -> Number:
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
            return _variable(token + self._subscript(), self._point)
        raise UnknownNotationError(token)

    def _numeral(self, value: Fraction) -> Fraction:
        """A number, or a mixed number if a fraction of numbers follows."""
        if self._next() == "_" or self._next()[:1].isdigit():
            raise UnknownNotationError("a number in another base, or two in a row")
        if self._next() == "\\frac" and value.denominator == 1:
            self._take()
            part = self._argument() / self._argument()
            if not isinstance(part, Fraction) or not 0 < part < 1:
                raise UnknownNotationError("a number times a fraction")
            return value + part
        return value

    def _root(self, token: str) -> Number:
        """The root of what follows; a degree in brackets belongs to LaTeX's command alone."""
        degree: Number = Fraction(2)
        if token == "\\sqrt" and self._next() == "[":
            self._take()
            degree = self._sum()
            self._take("]")
        value = self._atom() if self._next() == "(" else self._argument()
        if isinstance(value, Fraction) and value < 0 and degree != 2:
            raise UnknownNotationError("a root of a negative number has several values")
        return _power(value, 1 / degree)

    def _function(self, function: Callable[[complex], complex]) -> complex:
        """A function of what follows, if it is clear where that ends."""
        if self._next() in ("^", "_"):
            raise UnknownNotationError(self._next())
        value = function(complex(self._power()))
        if self._begins_factor():
            raise UnknownNotationError("it is unclear where the argument ends")
        return value

    def _subscript(self) -> str:
        """The index of a variable, x_1 or x_{max}, as a part of its name; "" for none."""
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


def _power(base: Number, exponent: Number) -> Number:
    """A power, exactly where base and exponent are rational and the result is a whole power or a square root."""
    if not isinstance(base, Fraction) or not isinstance(exponent, Fraction):
        return complex(base) ** complex(exponent)
    if exponent.denominator == 1:
        size = max(abs(base.numerator), base.denominator).bit_length()
        if size > 1 and abs(exponent) * size > MAX_BITS:
            raise UncomputableError("^")
        return base ** int(exponent)
    if base >= 0:
        for value in (base.numerator, base.denominator):  # the root of a square number is a whole number
            if exponent.denominator != 2 or math.isqrt(value) ** 2 != value:
                break
        else:
            root = Fraction(math.isqrt(base.numerator), math.isqrt(base.denominator))
            return _power(root, Fraction(exponent.numerator))
    return complex(base) ** complex(exponent)
