"""tuning.ensemble.measure: the probabilities of an ensemble."""

import numpy as np
import pytest

from tuning.ensemble.measure import average


def test_the_mean_of_members_is_weighted() -> None:
    parts = [np.array([[0.2, 0.8]], dtype=np.float32), np.array([[1.0, 0.0]], dtype=np.float32)]

    assert average(parts, [0.75, 0.25]) == pytest.approx(np.array([[0.4, 0.6]]))
