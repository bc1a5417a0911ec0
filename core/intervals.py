"""Where a true value lies: 95% intervals of shares, and of means with a known standard error."""

from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95
"""How often an interval is to hold the true value."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Standard errors from the middle to either end, where errors are normal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where a true value lies, with confidence LEVEL."""

    low: float
    high: float


def wilson(correct: float, total: int) -> Interval:
    """The score interval of a share (Wilson 1927, JASA 22), which stays within [0, 1] and holds at small counts too.

    Args:
        correct: how many of `total`; a fraction where it is a mean of counts.
        total: at least 1.

    Raises:
        ValueError: there are no `total` to have a share of.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"a share needs 0 <= correct <= total and total >= 1, got {correct} of {total}")
    share = correct / total
    middle = (share + Z * Z / (2 * total)) / (1 + Z * Z / total)
    half = Z / (1 + Z * Z / total) * (share * (1 - share) / total + Z * Z / (4 * total * total)) ** 0.5
    return Interval(low=max(0.0, middle - half), high=min(1.0, middle + half))
