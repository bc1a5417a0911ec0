"""Calibrated probabilities, and when to give no answer. Loads no torch.

The probabilities of a network are usually too extreme. One temperature T, fitted on validation sentences, corrects
most of that (Guo et al. 2017, "On calibration of modern neural networks"). Each probability is raised to 1 / T, and the
probabilities of a sentence are scaled to the sum 1. The order of the classes stays the same, so no label changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from core.metrics import Labels
from core.stats import wilson

BINS = 15
"""Bins of equal width of a reliability diagram, as in Guo et al. 2017."""
MIN_SENTENCES, MIN_MISTAKES = 100, 5
"""With fewer validation sentences, or fewer mistakes on them, no temperature is fitted, see
benchmarks/quality/calibration.py. Without a mistake the lowest temperature would always be the best one."""
LIMITS = (0.05, 20.0)
"""Smallest and largest temperature."""
FLOOR = 1e-12
"""Lower bound of a probability before its logarithm is taken."""
DIGITS = 4
"""Decimals of the thresholds in a coverage table."""
ROWS = 40
"""Maximum number of rows of a coverage table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The sentences whose predicted class has a probability above `low`, up to `high`."""

    low: float
    high: float
    sentences: int
    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float


class CoverageRow(TypedDict):
    """What remains if sentences are only labelled with at least some probability."""

    min_probability: float
    sentences: int
    """Number of labelled sentences."""
    correct: int
    """Number of correctly labelled sentences."""


def fit_temperature(labels: Labels, probabilities: NDArray[np.floating]) -> float:
    """Return the temperature with the lowest log loss; 1 for too few sentences or mistakes.

    Args:
        labels: (n,).
        probabilities: (n, C).
    """
    from scipy.optimize import minimize_scalar

    mistakes = int((probabilities.argmax(axis=1) != labels).sum())
    if len(labels) < MIN_SENTENCES or mistakes < MIN_MISTAKES:
        return 1.0
    logs = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
    chosen = logs[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float((np.logaddexp.reduce(logs / temperature, axis=1) - chosen / temperature).mean())

    found = minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def apply_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return (n, C) the probabilities at a temperature; larger temperatures make them more equal.

    Args:
        probabilities: (n, C).
        temperature: Above 0.
    """
    wide = probabilities.astype(np.float64)
    if temperature == 1:
        return wide
    with np.errstate(divide="ignore"):  # a probability of 0 remains 0
        logs = np.log(wide / wide.max(axis=1, keepdims=True)) / temperature
    weights = np.exp(logs)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def reliability(correct: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> list[Bin]:
    """Return the bins of the reliability diagram that contain a sentence, by rising predicted probability.

    Args:
        correct: (n,) whether a sentence is labelled correctly.
        probabilities: (n, C).
    """
    confidence = _confidence(probabilities)
    places = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        Bin(
            low=place / BINS,
            high=(place + 1) / BINS,
            sentences=int((places == place).sum()),
            confidence=float(confidence[places == place].mean()),
            accuracy=float(correct[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean difference of confidence and accuracy over the sentences of `reliability`."""
    total = sum(each.sentences for each in bins)
    return sum(each.sentences * abs(each.confidence - each.accuracy) for each in bins) / total


def describe_errors(before: float, after: float) -> str:
    """Return an error or a loss before and after a temperature, and a remark if it has not fallen."""
    remark = "" if after <= before else "; calibration did not help here"
    return f"{before:.4f} before, {after:.4f} after{remark}"


def coverage_table(correct: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> list[CoverageRow]:
    """Return `coverage_at` of up to ROWS thresholds, fewer if probabilities are equal.

    Without equal ones, each leaves out about as many sentences more as the one before.

    Args:
        correct: (n,) whether a sentence is labelled correctly.
        probabilities: (n, C), calibrated.
    """
    quantiles = np.quantile(_confidence(probabilities), np.arange(ROWS) / ROWS)
    return coverage_at(correct, probabilities, np.unique(np.floor(quantiles * 10**DIGITS) / 10**DIGITS).tolist())


def coverage_at(
    correct: NDArray[np.bool_], probabilities: NDArray[np.floating], thresholds: Sequence[float]
) -> list[CoverageRow]:
    """Return how many sentences have a label of at least some probability, and how many of these are correct.

    Args:
        correct: (n,) whether a sentence is labelled correctly.
        probabilities: (n, C), calibrated.
        thresholds: The probabilities.
    """
    confidence = _confidence(probabilities)
    kept = [confidence >= threshold for threshold in thresholds]
    return [
        CoverageRow(min_probability=threshold, sentences=int(each.sum()), correct=int(correct[each].sum()))
        for threshold, each in zip(thresholds, kept, strict=True)
    ]


def find_min_probability(table: Sequence[CoverageRow], accuracy: float) -> float | None:
    """Return the lowest threshold whose accuracy is at least `accuracy` by the lower end of its 95% interval.

    Args:
        table: Result of `coverage_table`.
        accuracy: Accuracy to reach, in [0, 1].

    Returns:
        None if no threshold reaches it.
    """
    reached = [row["min_probability"] for row in table if wilson(row["correct"], row["sentences"]).low >= accuracy]
    return min(reached, default=None)


def _confidence(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n,) the probability of each predicted class."""
    return np.asarray(probabilities.max(axis=1), dtype=np.float64)
