"""Statistics over questions of which several are about one image, and so are not independent of each other.

Miller 2024, Adding Error Bars to Evals (arXiv 2411.00640), section 2.2: the standard error of a mean adds up the
deviations within each cluster before they are squared. Here an image is a cluster. With G clusters the variance is
multiplied by G / (G - 1), as is usual for few clusters (Cameron and Miller 2015, J. Human Resources 50, 317-372).

Arrays have one entry for each question; `clusters` are numbers of its image.
"""

from collections import Counter
from typing import TYPE_CHECKING

from captionqa.results.score_statistics import permutation_p
from captionqa.results.statistics import Z_95, paired_interval, wilson_interval

if TYPE_CHECKING:  # numpy takes 0.1 s to import
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]

#: A standard error below this is 0 but for rounding.
NO_ERROR = 1e-9


def standard_error(values: "Floats", clusters: "Numbers") -> float | None:
    """The cluster-robust standard error of the mean; None where there are fewer than two clusters."""
    deviations = cluster_sums(values - values.mean(), clusters) if len(values) else values
    count = len(deviations)
    if count < 2:
        return None
    return float((count / (count - 1) * (deviations**2).sum()) ** 0.5 / len(values))


def mean_interval(values: "Floats", clusters: "Numbers") -> list[float] | None:
    """The 95 % interval of the mean of values from 0 to 1, as [low, high]; None without values.

    Of values that are all 0 or 1 it is Wilson's at the number of independent questions that would have the same
    standard error, at most the number of questions, and of clusters where all values are equal. Of other values it is
    the mean plus and minus 1.96 standard errors; where that has no width it is Wilson's at the number of clusters.
    """
    if not len(values):
        return None
    mean, error = float(values.mean()), standard_error(values, clusters)
    if ((values == 0) | (values == 1)).all():
        if error is None or mean in (0, 1):
            independent = float(cluster_count(clusters))
        else:
            independent = min(len(values), mean * (1 - mean) / error**2) if error > NO_ERROR else len(values)
        return wilson_interval(mean * independent, independent)
    if error is None:
        return [0.0, 1.0]
    if error < NO_ERROR:
        return wilson_interval(mean * (count := cluster_count(clusters)), count)
    return [max(0.0, mean - Z_95 * error), min(1.0, mean + Z_95 * error)]


def difference_interval(values_a: "Floats", values_b: "Floats", clusters: "Numbers") -> list[float] | None:
    """The 95 % interval of mean A minus mean B on the same questions, as [low, high]; None without questions.

    It is the mean difference plus and minus 1.96 standard errors. Where that has no width, as where no question differs
    or all differ alike, it is Newcombe's interval for as many independent questions as there are clusters.
    """
    if not len(values_a):
        return None
    differences = values_a - values_b
    mean, error = float(differences.mean()), standard_error(differences, clusters)
    if error is None and differences.any():
        return [-1.0, 1.0]
    if error is None or error < NO_ERROR:
        return _interval_without_error(values_a, values_b, cluster_count(clusters))
    return [max(-1.0, mean - Z_95 * error), min(1.0, mean + Z_95 * error)]


def _interval_without_error(values_a: "Floats", values_b: "Floats", count: int) -> list[float] | None:
    """Newcombe's interval of mean A minus mean B for `count` questions of which the same shares are right."""
    import numpy as np

    both, either = np.minimum(values_a, values_b), np.maximum(values_a, values_b)
    parts = (both, values_b - both, values_a - both, 1 - either)
    both_right, only_b, only_a, neither = (float(part.mean()) * count for part in parts)
    return paired_interval(both_right, only_b, only_a, neither)


def sign_flip_p(differences: "Floats", clusters: "Numbers | None" = None) -> float:
    """The two-sided p-value of the hypothesis that each difference is as likely to have the other sign.

    With clusters, all differences of a cluster turn together.
    """
    sums = differences if clusters is None else cluster_sums(differences, clusters)
    # rounded, so that sums that are equal but for the last bits count as one
    return permutation_p(Counter(sums.round(6).tolist()))


def cluster_sums(values: "Floats", clusters: "Numbers") -> "Floats":
    """The sum of the values of each cluster."""
    import numpy as np

    return np.bincount(np.unique(clusters, return_inverse=True)[1], weights=values).astype(np.float64)


def cluster_count(clusters: "Numbers") -> int:
    import numpy as np

    return len(np.unique(clusters))
