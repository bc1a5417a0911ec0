"""The fit of the weights of the virtual cost."""

import numpy as np
import pytest

from benchmarks.simulation.fit_cost import fit, spread


def test_the_fit_finds_the_weights_of_machines_of_different_speed() -> None:
    draw = np.random.default_rng(0)
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    terms = draw.uniform(0.1, 1, size=(2, 50, 4))
    found = fit([(terms[0], terms[0] @ weights), (terms[1], 4 * terms[1] @ weights)])
    assert found == pytest.approx(weights, abs=1e-6)


def test_the_spread_ignores_the_speed_of_a_machine() -> None:
    terms = np.array([[1.0], [2.0], [4.0]])
    assert spread((terms, 7 * terms[:, 0]), np.array([1.0])) == pytest.approx(0)
    assert spread((terms, np.array([1.0, 1.0, 1.0])), np.array([1.0])) == pytest.approx(np.log([1, 2, 4]).std())
