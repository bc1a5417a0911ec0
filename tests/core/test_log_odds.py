"""core.log_odds: probabilities in two bytes per sentence and class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_odds import STEPS, check_log_odds, round_log_odds, to_probabilities


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.sampled_from([0.1, 3.0, 10.0]))
def test_rounding_changes_a_probability_by_a_thousandth_of_its_value(seed: int, n_classes: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(0, scale, (20, n_classes)).astype(np.float32)
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    exact = wide / wide.sum(axis=1, keepdims=True)
    found = to_probabilities(round_log_odds(logits))
    assert (found.dtype, found.shape) == (np.float32, (20, n_classes))
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
    # Below the floor, a probability is raised to 1.1e-7 of the largest one.
    assert np.all(np.abs(found - exact) <= np.maximum(1 / STEPS * exact, 1.2e-7 * n_classes))


def test_rounding_again_changes_nothing() -> None:
    log_odds = round_log_odds(np.random.default_rng(0).normal(0, 2, (100, 3)))
    assert np.array_equal(round_log_odds(np.log(to_probabilities(log_odds).astype(np.float64))), log_odds)


def test_extreme_and_broken_logits_fit() -> None:
    logits = np.array([[1e30, -1e30], [-1e30, 1e30], [np.nan, 0.0], [np.inf, 0.0]])
    found = to_probabilities(round_log_odds(logits))
    assert found[:, 0].tolist() == pytest.approx([1, 1.137e-7, 0.5, 1], rel=1e-3)


def test_other_arrays_are_refused() -> None:
    check_log_odds(np.zeros((4, 2), dtype=np.int16), 4, 3)
    with pytest.raises(ValueError, match=r"must be int16 of shape \(4, 2\), got int16 of shape \(4, 1\)"):
        check_log_odds(np.zeros((4, 1), dtype=np.int16), 4, 3)
    with pytest.raises(ValueError, match=r"must be int16 of shape \(4, 2\), got float32 of shape \(4, 2\)"):
        check_log_odds(np.zeros((4, 2), dtype=np.float32), 4, 3)
