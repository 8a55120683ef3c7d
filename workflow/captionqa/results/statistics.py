"""Statistics of accuracies: 95 % intervals of one and of the difference between two paired ones, and McNemar's test.

Holm's correction and the interval of a mean of several estimates are here as well.
"""

import math
from collections.abc import Sequence

#: The 97.5 % point of the standard normal distribution.
Z_95 = 1.959963984540054


def wilson_interval(correct: float, total: float) -> list[float] | None:
    """Wilson's 95 % score interval of a proportion (Wilson 1927) as [low, high]; None where `total` is 0."""
    return list(_wilson(correct, total)) if total else None


def paired_interval(both: float, only_a: float, only_b: float, neither: float) -> list[float] | None:
    """The 95 % interval of accuracy B minus accuracy A on the same questions, as [low, high]; None without questions.

    The arguments count the questions that both runs, one run alone or neither got right. Method 10 of Newcombe 1998,
    Statistics in Medicine 17, 2635-2650: the Wilson intervals of both accuracies, combined by their correlation with
    a continuity correction.
    """
    total = both + only_a + only_b + neither
    if total == 0:
        return None
    accuracy_a, accuracy_b = (both + only_a) / total, (both + only_b) / total
    low_a, high_a = _wilson(both + only_a, total)
    low_b, high_b = _wilson(both + only_b, total)
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    covariance: float = both * neither - only_a * only_b
    if covariance > 0:
        covariance = max(covariance - total / 2, 0)
    correlation = covariance / math.sqrt(product) if product else 0.0

    def combined(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = accuracy_b - accuracy_a
    return [
        max(-1.0, difference - combined(accuracy_b - low_b, high_a - accuracy_a)),
        min(1.0, difference + combined(high_b - accuracy_b, accuracy_a - low_a)),
    ]


def mcnemar_p(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p-value for questions that only one of two runs got right.

    It is the probability of a split at least as uneven if both runs were equally likely to win each such question, and
    1 where there are none. Computed in integers, so exact for any number of questions.
    """
    discordant, fewer = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1.0
    tail = term = 1
    for taken in range(fewer):
        term = term * (discordant - taken) // (taken + 1)
        tail += term
    return 2 * tail / (1 << discordant)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family of tests, corrected for their number (Holm 1979, Scand. J. Statistics 6, 65-70).

    Where those below 0.05 are called significant, the chance of any false one among them is at most 5 %.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def interval_of_mean(
    estimates: Sequence[float], intervals: Sequence[Sequence[float]], low: float = 0.0, high: float = 1.0
) -> list[float]:
    """The 95 % interval of the mean of independent estimates as [low, high], from the interval of each.

    MOVER: the distance from the mean to a bound is the root of the sum of squares of the distances from each estimate
    to its own bound, over their number (Zou and Donner 2008, Statistics in Medicine 27, 1693-1702; for more than two of
    them Zou, Huang and Zhang 2009, Computational Statistics & Data Analysis 53, 1080-1085). `low` and `high` are the
    least and the greatest possible mean.
    """
    mean = sum(estimates) / len(estimates)
    below, above = (
        math.sqrt(sum((estimate - interval[end]) ** 2 for estimate, interval in zip(estimates, intervals, strict=True)))
        / len(estimates)
        for end in (0, 1)
    )
    return [max(low, mean - below), min(high, mean + above)]


def _wilson(correct: float, total: float) -> tuple[float, float]:
    proportion = correct / total
    scale = 1 + Z_95**2 / total
    center = proportion + Z_95**2 / (2 * total)
    margin = Z_95 * math.sqrt(proportion * (1 - proportion) / total + Z_95**2 / (4 * total**2))
    # exact at both ends, where rounding would leave a bound such as 2.1e-17
    low = max(0.0, (center - margin) / scale) if correct else 0.0
    high = min(1.0, (center + margin) / scale) if correct < total else 1.0
    return low, high
