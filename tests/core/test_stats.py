"""core.stats: the same figures as scipy.stats, and the guaranteed error rates."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.stats import MIN_P, holm, paired_t, wilson


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    """Holm rejects one hypothesis when Bonferroni rejects each set of hypotheses that it is in."""
    found = holm(p_values)
    for at in range(len(p_values)):
        sets = [s for n in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), n)]
        slowest = max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if at in s)
        assert found[at] == pytest.approx(slowest)


def test_paired_t_is_that_of_scipy() -> None:
    differences = [0.012, -0.003, 0.021, 0.008, 0.015]
    ours, theirs = paired_t(differences), stats.ttest_1samp(differences, 0)
    bounds = theirs.confidence_interval(0.95)
    assert (ours.mean, ours.p, ours.pairs) == pytest.approx((np.mean(differences), theirs.pvalue, 5))
    assert (ours.interval.low, ours.interval.high) == pytest.approx((bounds.low, bounds.high))


def test_equal_differences_are_no_proof() -> None:
    assert (paired_t([0.1, 0.1, 0.1]).p, paired_t([0.0, 0.0]).p) == (MIN_P, 1.0)
    assert 0.5 < paired_t([0.001, 0.001, 0.001], sentences=500).p < 1


def test_the_errors_of_seeds_and_sentences_add_up() -> None:
    differences = [0.012, -0.003, 0.021, 0.008, 0.015]
    seeds, both = paired_t(differences), paired_t(differences, sentence_error=0.01, sentences=400)
    error = (np.var(differences, ddof=1) / 5 + 0.01**2) ** 0.5
    assert both.mean == seeds.mean
    freedom = error**4 / ((np.var(differences, ddof=1) / 5) ** 2 / 4 + 0.01**4 / 399)
    assert both.interval.high - both.mean == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert both.p > seeds.p
    few = [0.01, 0.05, 0.03]
    assert paired_t(few, sentence_error=0.008, sentences=400).p == pytest.approx(paired_t(few).p)  # never surer
    many = paired_t([0.3, 0.3001] * 10, sentence_error=0.0001, sentences=10**6)
    assert many.p == MIN_P


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (0, 2), (9, 9), (7, 10), (0, 30), (833, 1057)])
def test_wilsons_interval_is_that_of_scipy(correct: int, total: int) -> None:
    theirs = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    ours = wilson(correct, total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(-1, 3), (4, 3), (0, 0), (math.nan, 3)])
def test_a_share_of_nothing_is_refused(correct: float, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {correct} of {total}"):
        wilson(correct, total)
