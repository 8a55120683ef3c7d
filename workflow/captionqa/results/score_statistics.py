"""Statistics of scores between 0 and 1: a bootstrap interval of their mean, and a paired test of two runs.

Both draw random numbers from a fixed seed, so that the same scores give the same figures.
"""

from collections.abc import Mapping

from captionqa.results.statistics import mcnemar_p

RESAMPLES = 2000
#: Random choices of signs in the paired test; the least p-value is one of this many.
PERMUTATIONS = 20_000
SEED = 20_160_117
#: Up to this many differences all choices of signs are counted, so that the p-value is exact.
EXACT_DIFFERENCES = 16
#: Numbers drawn at once, which bounds memory.
BATCH = 1_000_000


def bootstrap_interval(counts: Mapping[float, int]) -> list[float] | None:
    """The 95 % percentile interval of a mean (Efron 1979) as [low, high]; None without values.

    `counts` are {value: how often}.
    """
    total = sum(counts.values())
    if not total:
        return None
    import numpy as np  # takes 0.1 s, and most runs have no partial scores

    values = np.array(sorted(counts))
    shares = np.array([counts[value] for value in sorted(counts)]) / total
    random = np.random.default_rng(SEED)
    rows = max(1, min(RESAMPLES, BATCH // len(values)))
    means = [
        random.multinomial(total, shares, size=min(rows, RESAMPLES - done)) @ values / total
        for done in range(0, RESAMPLES, rows)
    ]
    return [float(bound) for bound in np.percentile(np.concatenate(means), (2.5, 97.5))]


def permutation_p(differences: Mapping[float, int]) -> float:
    """The two-sided p-value of a paired permutation test; 1 where all differences are 0.

    It is the share of signs before all differences that bring their sum at least as far from 0: exact where there are
    at most EXACT_DIFFERENCES or all are of one size (then it is McNemar's), else of random signs. `differences` are
    {difference of two scores: how often}.
    """
    sizes: dict[float, int] = {}
    for difference, count in differences.items():
        if difference:
            sizes[abs(difference)] = sizes.get(abs(difference), 0) + count
    if not sizes:
        return 1.0
    if len(sizes) == 1:
        (size,) = sizes
        return mcnemar_p(differences.get(size, 0), differences.get(-size, 0))
    import numpy as np

    observed = abs(sum(difference * count for difference, count in differences.items())) - 1e-9
    if sum(sizes.values()) <= EXACT_DIFFERENCES:
        sums = np.zeros(1)
        for size, count in sorted(sizes.items()):
            for _ in range(count):
                sums = np.concatenate((sums - size, sums + size))
        return float((np.abs(sums) >= observed).mean())
    random = np.random.default_rng(SEED)
    sums = np.zeros(PERMUTATIONS)
    for size, count in sorted(sizes.items()):
        sums += size * (2.0 * random.binomial(count, 0.5, PERMUTATIONS) - count)
    return (int((np.abs(sums) >= observed).sum()) + 1) / (PERMUTATIONS + 1)
