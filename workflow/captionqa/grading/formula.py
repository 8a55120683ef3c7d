"""Formulas: whether two expressions or equations are the same, by their values at some points.

This decides cheaply what needs no algebra: expressions that differ at a point are not the same. What it cannot read or
cannot decide is left to math-verify.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

from captionqa.grading.formula_value import POINTS, Number, UncomputableError, UnknownNotationError, value_at

#: Two floating-point values are the same up to this share of the larger one.
RELATIVE_ERROR = 1e-9
#: A number with at least five decimals, which may have been rounded.
_ROUNDED = re.compile(r"\.\d{5}")
#: Signs of an equation that may have the same solutions as another without being a multiple of it.
_NO_POLYNOMIAL = re.compile(r"[\\/|_!]|\^[^2]|\)\^")

_Value = TypeVar("_Value")


def same_formula(one: str, other: str) -> bool | None:
    """Whether two expressions agree at all points; None where that cannot be decided here.

    Raises UncomputableError for a number that is too large.
    """
    agree = _at_all_points(lambda point: _agree(value_at(one, point), value_at(other, point)))
    if agree is None:
        return None
    if all(agree):
        return True
    if (agree[0] and agree[1]) or _ROUNDED.search(one) or _ROUNDED.search(other):
        return None  # what differs only for negative values, or in the last decimals, may still be meant
    return False


def same_equation(one: str, other: str) -> bool | None:
    """Whether one equation is a multiple of the other at all points; None where that cannot be decided here.

    Raises UncomputableError for a number that is too large.
    """
    ratios = _at_all_points(lambda point: complex(_difference(one, point)) / complex(_difference(other, point)))
    if ratios is None:
        return None
    if ratios[0] and all(_agree(ratio, ratios[0]) for ratio in ratios):
        return True
    return None if _NO_POLYNOMIAL.search(one) or _NO_POLYNOMIAL.search(other) else False


def _at_all_points(compare: Callable[[int], _Value]) -> list[_Value] | None:
    """What a comparison gives at each point; None where a text is no formula or has no value at some point."""
    try:
        return [compare(point) for point in range(POINTS)]
    except UncomputableError:
        raise
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _difference(equation: str, point: int) -> Number:
    """The left side of an equation less its right side; raises ValueError unless there is one equals sign."""
    left, right = equation.split("=")
    return value_at(left, point) - value_at(right, point)


def _agree(one: Number, other: Number) -> bool:
    """Whether two values are equal, exactly if both are rational.

    Raises UnknownNotationError where both are zero as floating-point numbers, which they may be by underflow alone.
    """
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    one, other = complex(one), complex(other)
    if one == other == 0:
        raise UnknownNotationError("zero, or too small for a floating-point number")
    return abs(one - other) <= RELATIVE_ERROR * max(abs(one), abs(other))
