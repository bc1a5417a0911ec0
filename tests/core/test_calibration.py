"""core.calibration: the temperature, reliability diagrams and thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import (
    BINS,
    MIN_MISTAKES,
    MIN_SENTENCES,
    ROWS,
    apply_temperature,
    coverage_table,
    expected_calibration_error,
    find_min_probability,
    fit_temperature,
    reliability,
)
from core.stats import wilson
from tests.support.probabilities import drawn


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_temperature_that_made_the_probabilities_wrong_is_found(temperature: float, n_classes: int) -> None:
    labels, probabilities = drawn(20_000, n_classes, temperature)

    found = fit_temperature(labels, probabilities)

    assert found == pytest.approx(temperature, rel=0.03)
    correct = probabilities.argmax(axis=1) == labels
    before, after = (reliability(correct, each) for each in (probabilities, apply_temperature(probabilities, found)))
    assert expected_calibration_error(after) < 0.02
    if temperature != 1:
        assert expected_calibration_error(before) > 0.05


def test_few_sentences_get_no_temperature() -> None:
    labels, probabilities = drawn(MIN_SENTENCES - 1, 2, 3.0)

    assert fit_temperature(labels, probabilities) == 1


@pytest.mark.parametrize(("mistakes", "fitted"), [(0, False), (MIN_MISTAKES - 1, False), (MIN_MISTAKES, True)])
def test_too_few_mistakes_give_no_temperature(mistakes: int, fitted: bool) -> None:
    labels = np.arange(4 * MIN_SENTENCES) % 2
    probabilities = np.where(labels[:, None] == np.arange(2), 0.8, 0.2)
    labels[:mistakes] = 1 - labels[:mistakes]

    assert (fit_temperature(labels, probabilities) < 0.5) == fitted
    assert (fit_temperature(labels, probabilities) == 1) == (not fitted)


def test_a_classifier_that_is_always_certain_has_a_finite_temperature() -> None:
    labels = np.arange(MIN_SENTENCES) % 2
    probabilities = np.where(labels[:, None] == np.arange(2), 1.0, 0.0)
    labels[:MIN_MISTAKES] = 1 - labels[:MIN_MISTAKES]

    assert 1 < fit_temperature(labels, probabilities) <= 20
    assert apply_temperature(probabilities, 0.05).tolist() == probabilities.tolist()


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_no_temperature_changes_the_order_of_the_classes(seed: int, temperature: float) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], 20)

    scaled = apply_temperature(probabilities, temperature)

    assert scaled.sum(axis=1) == pytest.approx(1)
    order = np.argsort(probabilities, axis=1)
    assert (np.diff(np.take_along_axis(scaled, order, axis=1), axis=1) >= 0).all()


def test_a_reliability_diagram_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.3, 0.7], [0.5, 0.5]])

    bins = reliability(np.array([True, False, True, True]), probabilities)

    assert [(each.sentences, each.accuracy) for each in bins] == [(1, 1.0), (1, 1.0), (2, 0.5)]
    assert bins[-1].confidence == pytest.approx(0.91)
    assert bins[-1].low < 0.9 <= 0.92 <= bins[-1].high == 14 / BINS
    assert expected_calibration_error(bins) == pytest.approx((0.5 + 0.3 + 2 * 0.41) / 4)


def test_a_certain_probability_is_in_the_last_bin() -> None:
    assert reliability(np.array([True]), np.array([[1.0, 0.0]]))[0].high == 1


def test_the_coverage_table_counts_what_a_threshold_keeps() -> None:
    labels, probabilities = drawn(1000, 3, 1.0)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels

    table = coverage_table(correct, probabilities)

    assert len(table) == ROWS
    assert table[0]["sentences"] == 1000
    for row in table:
        kept = confidence >= row["min_probability"]
        assert row == {**row, "sentences": kept.sum(), "correct": correct[kept].sum()}


def test_the_threshold_for_an_accuracy_is_the_lowest_whose_interval_is_above_it() -> None:
    labels, probabilities = drawn(5000, 2, 1.0)
    table = coverage_table(probabilities.argmax(axis=1) == labels, probabilities)

    found = find_min_probability(table, 0.95)

    assert found is not None
    for row in table:
        reached = wilson(row["correct"], row["sentences"]).low >= 0.95
        assert not reached or row["min_probability"] >= found
    assert find_min_probability(table, 0.9999) is None
    assert find_min_probability(table, 0.0) == table[0]["min_probability"]
