"""Calibration of a trained model: temperature, effect on the test split, and coverage by minimum probability."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.calibration import (
    MIN_MISTAKES,
    MIN_SENTENCES,
    apply_temperature,
    coverage_at,
    coverage_table,
    describe_errors,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from core.metrics import METRICS
from core.stats import wilson

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Values of --min-probability for which `retrain` prints coverage and accuracy."""


class Outputs(NamedTuple):
    """Outputs of a model for the n sentences of a split."""

    labels: NDArray[np.int64]
    """(n,)."""
    predictions: NDArray[np.int64]
    """(n,) the predicted classes. Rounding can make another class the most probable one in `probabilities`."""
    probabilities: NDArray[np.floating]
    """(n, C) rounded probabilities (core.log_odds), before calibration."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) whether a sentence is labelled correctly."""
        return np.asarray(self.predictions == self.labels)

    def calibrated(self, temperature: float) -> "Outputs":
        """Return the outputs at a temperature."""
        return self._replace(probabilities=apply_temperature(self.probabilities, temperature))


def calibration_figures(val: Outputs, test: Outputs | None) -> dict[str, Any]:
    """Fit a temperature on validation sentences, and measure its effect on test sentences.

    Returns:
        `temperature`; `coverage` of the validation sentences (core.calibration.coverage_table); `abstention`: the
        `split` (test, or val without a test split), its number of `sentences`, and the `rows` of coverage_at for
        THRESHOLDS; and with a test split and a temperature other than 1 (no calibration) `calibration`, the
        reliability diagrams and the log loss `before` and `after`.
    """
    temperature = fit_temperature(val.labels, val.probabilities)
    calibrated = val.calibrated(temperature)
    coverage = coverage_table(calibrated.correct, calibrated.probabilities)
    found: dict[str, Any] = {"temperature": temperature, "coverage": coverage}
    name = "val"
    if test is not None:
        name, calibrated = "test", test.calibrated(temperature)
        if temperature != 1:
            found["calibration"] = {"before": _diagram(test), "after": _diagram(calibrated)}
    rows = coverage_at(calibrated.correct, calibrated.probabilities, THRESHOLDS)
    found["abstention"] = {"split": name, "sentences": len(calibrated.labels), "rows": rows}
    return found


def _diagram(outputs: Outputs) -> dict[str, Any]:
    bins = reliability(outputs.correct, outputs.probabilities)
    return {
        "error": expected_calibration_error(bins),
        "log_loss": METRICS["log_loss"].value(*outputs, outputs.probabilities.shape[1]),
        "bins": [dataclasses.asdict(each) for each in bins],
    }


def calibration_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the lines of `retrain` about the result of `calibration_figures`."""
    all_sentences = figures["coverage"][0]
    n = all_sentences["sentences"]
    if figures["temperature"] == 1:
        mistakes = n - all_sentences["correct"]
        lines = [
            f"not calibrated: {n:,} validation sentences with {mistakes} mistake{'s' * (mistakes != 1)}, at least "
            f"{MIN_SENTENCES} with {MIN_MISTAKES} are needed"
        ]
    else:
        lines = [f"temperature {figures['temperature']:.3f}, fitted on {n:,} validation sentences"]
        if found := figures.get("calibration"):
            for title, key in (("expected calibration error", "error"), ("log loss", "log_loss")):
                lines.append(f"{title} on test: {describe_errors(found['before'][key], found['after'][key])}")
    abstention = figures["abstention"]
    title = f"with predict --min-probability P, on the {abstention['split']} split:"
    header = f"{'P':>5} {'answered':>9} {'accuracy of the answers':>24}"
    return [*lines, title, header, *(_abstention_line(row, abstention["sentences"]) for row in abstention["rows"])]


def _abstention_line(row: Mapping[str, Any], total: int) -> str:
    answered, correct = row["sentences"], row["correct"]
    start = f"{row['min_probability']:>5.2f} {answered / total:>9.1%}"
    if not answered:
        return f"{start} {'-':>24}"
    between = wilson(correct, answered)
    return f"{start} {correct / answered:>8.4f} ({between.low:.4f} to {between.high:.4f})"
