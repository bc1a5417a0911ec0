"""core.intervals: Wilson's interval."""

import math

import pytest
from scipy import stats

from core.intervals import wilson


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (7, 10), (0, 30), (833, 1057)])
def test_wilsons_interval_is_that_of_scipy(correct: int, total: int) -> None:
    theirs = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    ours = wilson(correct, total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(-1, 3), (4, 3), (0, 0), (math.nan, 3)])
def test_a_share_of_nothing_is_refused(correct: float, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {correct} of {total}"):
        wilson(correct, total)
