"""core.stats: the same figures as scipy.stats, and what they promise."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from core.stats import holm, mcnemar, paired_t, wilson


def test_mcnemar_is_the_binomial_test_on_the_sentences_that_differ() -> None:
    draw = np.random.default_rng(0)
    one = draw.random(200) < 0.8
    others = draw.random((6, 200)) < np.array([0.6, 0.7, 0.75, 0.8, 0.85, 0.95])[:, None]
    found = mcnemar(one, others)
    for other, p in zip(others, found, strict=True):
        ahead, behind = int((one & ~other).sum()), int((~one & other).sum())
        assert p == pytest.approx(stats.binomtest(ahead, ahead + behind).pvalue)
    assert mcnemar(one, others[0]) == found[0]
    assert found[0] < 0.01


@given(st.integers(0, 3000), st.integers(0, 3000))
@example(0, 3000)
def test_mcnemar_is_exact_however_many_sentences_differ(ahead: int, behind: int) -> None:
    """Counted in whole numbers: scipy's own p-value is 0 where it is below some 1e-300."""
    one = np.repeat([True, False], [ahead, behind])
    both, fewer = ahead + behind, min(ahead, behind)
    ways = sum(itertools.accumulate(range(fewer), lambda c, k: c * (both - k) // (k + 1), initial=1))
    expected = min(Fraction(2 * ways, 2**both), Fraction(1))
    assert mcnemar(one, ~one) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


def test_what_does_not_differ_is_not_told_apart() -> None:
    one = np.array([True, False, True])
    assert mcnemar(one, one) == 1
    assert mcnemar(one, np.array([False, True, True])) == 1


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    """Holm rejects one hypothesis when Bonferroni rejects each set of hypotheses that it is in."""
    found = holm(p_values)
    for at in range(len(p_values)):
        sets = [s for n in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), n)]
        slowest = max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if at in s)
        assert found[at] == pytest.approx(slowest)


def test_holm_keeps_the_order_of_what_it_is_given() -> None:
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])


def test_paired_t_is_that_of_scipy() -> None:
    differences = [0.012, -0.003, 0.021, 0.008, 0.015]
    ours, theirs = paired_t(differences), stats.ttest_1samp(differences, 0)
    bounds = theirs.confidence_interval(0.95)
    assert (ours.mean, ours.p, ours.pairs) == pytest.approx((np.mean(differences), theirs.pvalue, 5))
    assert (ours.interval.low, ours.interval.high) == pytest.approx((bounds.low, bounds.high))


def test_one_pair_says_nothing_of_the_spread() -> None:
    one = paired_t([0.2])
    assert (one.mean, one.p, one.interval.low, one.interval.high) == (0.2, 1.0, -math.inf, math.inf)


def test_equal_differences_leave_no_doubt_and_none_is_refused() -> None:
    assert (paired_t([0.1, 0.1, 0.1]).p, paired_t([0.0, 0.0]).p) == (0.0, 1.0)
    assert paired_t([0.1, 0.1, 0.1]).interval.low == paired_t([0.1, 0.1, 0.1]).interval.high
    with pytest.raises(ValueError, match="at least one difference"):
        paired_t([])


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (7, 10), (0, 30), (833, 1057)])
def test_wilsons_interval_is_that_of_scipy(correct: int, total: int) -> None:
    theirs = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    ours = wilson(correct, total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(-1, 3), (4, 3), (0, 0), (math.nan, 3)])
def test_a_share_of_nothing_is_refused(correct: float, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {correct} of {total}"):
        wilson(correct, total)
