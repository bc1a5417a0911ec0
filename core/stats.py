"""Statistics of paired comparisons: intervals, tests, and correction for multiple tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
"""Significance level of the tests."""
Correct = NDArray[np.bool_]
"""(n,) whether each of n sentences was classified correctly; or (T, n) for T classifiers on the same sentences."""
LEVEL = 0.95
"""Confidence level of the intervals."""
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
    """Mean of paired differences with the result of Student's t test."""

    mean: float
    interval: Interval
    """Infinitely wide for a single pair."""
    p: float
    """Two-sided, against a mean of 0; 1 for a single pair."""
    pairs: int


def mcnemar(one: Correct, others: Correct) -> NDArray[np.float64]:
    """Return p-values of the exact paired test of two classifiers (McNemar 1947, Psychometrika 12).

    Only sentences that exactly one of the two gets right count. If both are equally good, half of these are each
    one's. The p-value is the two-sided probability of a division at least as uneven, under Binomial(count, 1/2).

    Args:
        one: (n,).
        others: (n,) or (T, n).

    Returns:
        () or (T,) p-values; 1 if both are right on the same sentences.
    """
    one_only = np.asarray((one & ~others).sum(axis=-1))
    other_only = np.asarray((~one & others).sum(axis=-1))
    return np.minimum(1.0, 2 * _lower_tail(np.minimum(one_only, other_only), one_only + other_only))


def _lower_tail(most: NDArray[np.integer], tosses: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the probability of at most `most` heads in `tosses` tosses, by element; scipy is slow to import."""
    tail = np.empty(tosses.shape)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tosses.max(initial=0) + 1)))])
    for n in np.unique(tosses):
        logs = log_factorial[n] - log_factorial[: n + 1] - log_factorial[n::-1] - n * np.log(2)  # (n + 1,) by heads
        tail[tosses == n] = np.cumsum(np.exp(logs))[most[tosses == n]]
    return tail


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


def paired_t(differences: Sequence[float]) -> MeanDifference:
    """Return Student's t test of paired differences, such as those of two configurations over the same seeds.

    Args:
        differences: Differences, at least one.

    Raises:
        ValueError: There is no difference.
    """
    from scipy.special import stdtr, stdtrit

    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        raise ValueError("a mean needs at least one difference, got none")
    mean, pairs = float(values.mean()), len(values)
    if pairs == 1:
        return MeanDifference(mean=mean, interval=Interval(low=-np.inf, high=np.inf), p=1.0, pairs=1)
    constant = bool((values == values[0]).all())  # whose deviation is 0, but for rounding
    error = 0.0 if constant else float(values.std(ddof=1)) / pairs**0.5
    half = float(stdtrit(pairs - 1, (1 + LEVEL) / 2)) * error
    t = -abs(mean) / error if error else -np.inf if mean else 0.0
    return MeanDifference(
        mean=mean,
        interval=Interval(low=mean - half, high=mean + half),
        p=2 * float(stdtr(pairs - 1, t)),
        pairs=pairs,
    )
