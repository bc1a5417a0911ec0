"""Statistics of paired comparisons: intervals, tests, and correction for multiple tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
"""Significance level of the tests."""
LEVEL = 0.95
"""Confidence level of the intervals."""
MIN_P = 1e-16
"""Smallest p-value that is reported: no finite sample proves a difference."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Half width of a normal interval, in standard errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Interval of a true value, with confidence LEVEL."""

    low: float
    high: float


def wilson(correct: float, total: int) -> Interval:
    """Return the score interval of a share (Wilson 1927, JASA 22), which is within [0, 1] and valid at small counts.

    Args:
        correct: Number out of `total`; it may be a fraction, as a mean of counts.
        total: Number of trials, at least 1.

    Raises:
        ValueError: `correct` or `total` is out of range.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"a share needs 0 <= correct <= total and total >= 1, got {correct} of {total}")
    share = correct / total
    middle = (share + Z * Z / (2 * total)) / (1 + Z * Z / total)
    half = Z / (1 + Z * Z / total) * (share * (1 - share) / total + Z * Z / (4 * total * total)) ** 0.5
    return Interval(low=max(0.0, middle - half), high=min(1.0, middle + half))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanDifference:
    """Mean of paired differences with the result of a t test."""

    mean: float
    interval: Interval
    p: float
    """Two-sided, against a mean of 0."""
    pairs: int


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return (T,) adjusted p-values: comparing each with alpha has a family-wise error rate of at most alpha.

    Holm 1979, Scandinavian Journal of Statistics 6: the smallest is multiplied by T, the next by T - 1, and none is
    below the one before it. The tests need not be independent.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, raised)
    return adjusted


def paired_t(differences: Sequence[float], *, sentence_error: float = 0.0, sentences: int = 0) -> MeanDifference:
    """Return a t test of paired differences, such as those of two configurations over the same seeds.

    The errors of the seeds and of the sentences add up; their degrees of freedom are combined by Welch and
    Satterthwaite. The result is never surer than that of the seeds alone. Without `sentences` it is Student's test.

    Args:
        differences: Differences, at least two.
        sentence_error: Standard error over sentences of the difference averaged over the pairs.
        sentences: Number of sentences that every difference is computed from. Neither error is taken to be smaller
            than what one sentence changes: equal differences are no proof.
    """
    from scipy.special import stdtr, stdtrit

    values = np.asarray(differences, dtype=np.float64)
    mean, pairs = float(values.mean()), len(values)
    resolution = 1 / sentences if sentences else 0.0
    # Equal values have a deviation of 0, except for rounding.
    deviation = 0.0 if (values == values[0]).all() else float(values.std(ddof=1))
    of_seeds = max(deviation, resolution) ** 2 / pairs
    of_sentences = max(sentence_error, resolution) ** 2
    error = (of_seeds + of_sentences) ** 0.5
    if error == 0:
        return MeanDifference(mean=mean, interval=Interval(low=mean, high=mean), p=MIN_P if mean else 1.0, pairs=pairs)
    freedom = error**4 / (of_seeds**2 / (pairs - 1) + of_sentences**2 / max(1, sentences - 1))
    errors = ((freedom, error), (pairs - 1, of_seeds**0.5))
    half = max(float(stdtrit(df, (1 + LEVEL) / 2)) * each for df, each in errors)
    return MeanDifference(
        mean=mean,
        interval=Interval(low=mean - half, high=mean + half),
        p=max(MIN_P, *(2 * float(stdtr(df, -abs(mean) / each)) for df, each in errors if each)),
        pairs=pairs,
    )
