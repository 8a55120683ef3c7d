"""Intervals: what an inequality or an interval says of one variable, as the ends of intervals."""

import re
from typing import NamedTuple

from captionqa.grading.notation import split_parts

#: The signs of an inequality, each with whether it is "greater" and whether the end belongs to the interval.
_SIGNS = {"<": (False, False), ">": (True, False), "\\le": (False, True), "\\ge": (True, True)}
_LONG_SIGNS = (("\\leq", "\\le "), ("\\geq", "\\ge "), ("\\lt", "<"), ("\\gt", ">"), ("<=", "\\le "), (">=", "\\ge "))
_RELATION = re.compile(r"(<|>|\\[lg]e(?![a-zA-Z]))")
_VARIABLE = re.compile(r"\\?[A-Za-z](?:_\{?\w\}?)?|\\[a-z]+")
#: What joins the intervals of a union.
_OR = re.compile(r"\s*(?:\\cup(?![a-z])|\bor\b|\\lor(?![a-z])|\\vee(?![a-z]))\s*,?\s*|,\s*or\s+")
#: The variable that an interval is of: "x \in".
_MEMBER = re.compile(r"\s*(\\?[A-Za-z]+)\s*\\in(?![a-z])\s*")
_INFINITE = re.compile(r"\s*([-+]?)\s*\\infty\s*")


class Interval(NamedTuple):
    """The ends of an interval as texts, "" for infinity, and whether they belong to it."""

    low: str
    has_low: bool
    high: str
    has_high: bool


def parse_intervals(text: str) -> tuple[str, list[Interval]] | None:
    """The variable, "" where it is not named, and the intervals of a normalized text; None for another text."""
    for long_sign, sign in _LONG_SIGNS:
        text = text.replace(long_sign, sign)
    names, intervals = set(), []
    for part in _OR.split(text):
        found = _inequality(part) if _RELATION.search(part) else _bracketed(part)
        if found is None:
            return None
        names.add(found[0])
        intervals.append(found[1])
    names.discard("")
    return (names.pop() if names else "", intervals) if len(names) < 2 else None


def _inequality(text: str) -> tuple[str, Interval] | None:
    """The interval of x < 3, 3 > x or 1 < x < 2."""
    parts = [part.strip() for part in _RELATION.split(text)]
    sides, signs = parts[::2], [_SIGNS[sign] for sign in parts[1::2]]
    names = [at for at, side in enumerate(sides) if _VARIABLE.fullmatch(side) and side not in ("\\pi", "\\infty", "e")]
    if len(names) != 1 or not all(sides) or len({greater for greater, _ in signs}) > 1:
        return None
    at = names[0]
    if len(sides) == 3 and at == 1:
        (greater, first), (_, second) = signs
        low, high = (sides[0], first), (sides[2], second)
        if greater:
            low, high = high, low
        return sides[1], _interval(low, high)
    if len(sides) != 2:
        return None
    greater, has_end = signs[0]
    end = (sides[1 - at], has_end)
    if greater == (at == 0):
        return sides[at], _interval(end, ("\\infty", False))
    return sides[at], _interval(("-\\infty", False), end)


def _bracketed(text: str) -> tuple[str, Interval] | None:
    """The interval of (1, 2] or x \\in (1, 2]."""
    name = ""
    if member := _MEMBER.match(text):
        name, text = member[1], text[member.end() :]
    brackets, parts = split_parts(text)
    if len(parts) != 2 or brackets not in ("()", "(]", "[)", "[]"):
        return None
    return name, _interval((parts[0], brackets[0] == "["), (parts[1], brackets[1] == "]"))


def _interval(low: tuple[str, bool], high: tuple[str, bool]) -> Interval:
    ends = [("", False) if _INFINITE.fullmatch(end) else (end.strip(), has_end) for end, has_end in (low, high)]
    return Interval(*ends[0], *ends[1])
