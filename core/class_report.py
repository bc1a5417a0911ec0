"""Precision, recall, F1 and support of each class with intervals, and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.metrics import Labels
from core.stats import Interval, wilson

WIDEST_MATRIX = 15
"""Maximum number of classes of a confusion matrix that is a table for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """Scores of one class. A ratio without any sentence is 0, as in scikit-learn, and has no interval."""

    name: str
    support: int
    """Number of sentences with this label."""
    predicted: int
    """Number of sentences that were classified as this label."""
    precision: float
    precision_interval: Interval | None
    """Wilson interval of the precision, over the predicted sentences."""
    recall: float
    recall_interval: Interval | None
    """Wilson interval of the recall, over the sentences with this label."""
    f1: float
    f1_interval: Interval | None
    """Interval of F1, from the Wilson interval of the correct share of sentences that have or were given this label."""


def confusion_matrix(labels: Labels, predictions: Labels, n_classes: int) -> NDArray[np.int64]:
    """Return (C, C): the number of sentences by label (row) and predicted class (column)."""
    pairs = np.asarray(labels, dtype=np.int64) * n_classes + predictions
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def class_report(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[ClassScores]:
    """Return the scores of each class, in the order of the classes, from `confusion_matrix`."""
    hits, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return [_class_scores(name, int(hits[k]), int(support[k]), int(predicted[k])) for k, name in enumerate(classes)]


def _class_scores(name: str, hits: int, support: int, predicted: int) -> ClassScores:
    either = support + predicted - hits
    overlap = wilson(hits, either) if either else None
    return ClassScores(
        name=name,
        support=support,
        predicted=predicted,
        precision=hits / predicted if predicted else 0.0,
        precision_interval=wilson(hits, predicted) if predicted else None,
        recall=hits / support if support else 0.0,
        recall_interval=wilson(hits, support) if support else None,
        f1=2 * hits / (support + predicted) if either else 0.0,
        # F1 = 2 J / (1 + J) grows with the share J of correct ones among these sentences.
        f1_interval=Interval(low=_f1(overlap.low), high=_f1(overlap.high)) if overlap else None,
    )


def _f1(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)
