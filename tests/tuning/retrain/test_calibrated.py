"""tuning.retrain.calibrated: figures and lines about the calibration of a model."""

import json

import numpy as np
import pytest
from sklearn.metrics import log_loss

from core.calibration import MIN_SENTENCES, apply_temperature, coverage_at, coverage_table
from tests.support.probabilities import drawn
from tuning.console import called_from_python
from tuning.retrain.calibrated import THRESHOLDS, Outputs, calibration_figures, calibration_lines
from tuning.retrain.output import print_quality


def drawn_outputs(n: int, n_classes: int, temperature: float, seed: int = 0) -> Outputs:
    labels, probabilities = drawn(n, n_classes, temperature, seed=seed)
    return Outputs(labels, probabilities.argmax(axis=1), probabilities)


@pytest.mark.parametrize(("right", "fitted"), [(0.4, "0.397"), (3.0, "2.980")])
def test_a_model_that_is_not_sure_enough_or_too_sure_is_calibrated_on_test(right: float, fitted: str) -> None:
    figures = calibration_figures(drawn_outputs(2000, 3, right), drawn_outputs(3000, 3, right, seed=1))

    lines = calibration_lines(figures)

    assert figures["calibration"]["after"]["error"] < figures["calibration"]["before"]["error"] / 2
    assert lines[0] == f"temperature {fitted}, fitted on 2,000 validation sentences"
    assert lines[1].startswith("expected calibration error on test: ")
    assert "did not help" not in lines[1]
    assert json.loads(json.dumps(figures)) == figures


def test_the_log_loss_on_test_is_given_without_and_with_the_temperature() -> None:
    val, test = drawn_outputs(2000, 3, 3.0), drawn_outputs(3000, 3, 3.0, seed=1)
    figures = calibration_figures(val, test)

    before, after = (figures["calibration"][state]["log_loss"] for state in ("before", "after"))

    calibrated = apply_temperature(test.probabilities, figures["temperature"])
    assert (before, after) == pytest.approx([log_loss(test.labels, p) for p in (test.probabilities, calibrated)])
    assert after < before
    assert calibration_lines(figures)[2] == f"log loss on test: {before:.4f} before, {after:.4f} after"
    assert figures["abstention"]["rows"] == coverage_at(test.correct, calibrated, THRESHOLDS)
    calibrated = apply_temperature(val.probabilities, figures["temperature"])
    assert figures["coverage"] == coverage_table(val.correct, calibrated)


def test_a_temperature_that_does_not_help_on_test_is_named() -> None:
    val, test = drawn_outputs(2000, 2, 3.0), drawn_outputs(3000, 2, 1.0, seed=1)

    lines = calibration_lines(calibration_figures(val, test))

    assert lines[1].endswith("calibration did not help here")


def test_few_validation_sentences_are_named() -> None:
    n = MIN_SENTENCES - 1

    figures = calibration_figures(drawn_outputs(n, 2, 3.0), drawn_outputs(3000, 2, 3.0))

    assert figures["temperature"] == 1
    assert "calibration" not in figures  # there is no difference to show
    assert calibration_lines(figures)[0] == (
        f"not calibrated: {n} validation sentences with 20 mistakes, at least 100 with 5 are needed"
    )


def test_the_table_of_thresholds_counts_test_sentences() -> None:
    labels, probabilities = np.array([0, 0, 1, 1]), np.array([[0.97, 0.03], [0.4, 0.6], [0.3, 0.7], [0.15, 0.85]])

    test = Outputs(labels, probabilities.argmax(axis=1), probabilities)
    figures = calibration_figures(drawn_outputs(50, 2, 1.0), test)

    assert figures["abstention"]["split"] == "test"
    table = calibration_lines(figures)[2:]
    assert table[0].split() == ["P", "answered", "accuracy", "of", "the", "answers"]
    assert table[1].split()[:3] == ["0.00", "100.0%", "0.7500"]
    assert table[4].split()[:3] == ["0.70", "75.0%", "1.0000"]
    assert table[-1].split() == ["0.99", "0.0%", "-"]


def test_in_python_the_table_of_thresholds_names_the_keyword(capsys: pytest.CaptureFixture[str]) -> None:
    with called_from_python("study.retrain()"):
        print_quality(calibration_figures(drawn_outputs(50, 2, 1.0), None), ("a", "b"))
    assert "with predict min_probability=P, on the val split:\n" in capsys.readouterr().out


def test_the_predictions_decide_what_is_correct_where_rounding_makes_a_tie() -> None:
    labels, probabilities = np.array([1, 0]), np.array([[0.5, 0.5], [0.9, 0.1]])

    found = calibration_figures(drawn_outputs(50, 2, 1.0), Outputs(labels, np.array([1, 0]), probabilities))

    assert found["abstention"]["rows"][0]["correct"] == 2


def test_one_mistake_is_not_several() -> None:
    labels, probabilities = (np.arange(200) == 7).astype(np.int64), np.tile([0.9, 0.1], (200, 1))
    figures = calibration_figures(Outputs(labels, probabilities.argmax(axis=1), probabilities), None)
    assert " 200 validation sentences with 1 mistake, at least " in calibration_lines(figures)[0]
