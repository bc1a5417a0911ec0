"""Metrics that a study can optimise, defined as scikit-learn defines them. Loads neither torch nor scikit-learn.

One function per metric computes it for M candidates on R resamples of the n sentences: `counts` (R, n) says how often
each resample contains each sentence. The value of one candidate on the sentences themselves is the case R = M = 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError

Values = NDArray[np.float64]
"""(R, M) values of a metric by resample and candidate, in its own direction: `Metric.oriented` makes them scores."""
Labels = NDArray[np.integer]
Counts = NDArray[np.integer]
Compute = Callable[[Labels, NDArray[Any], Counts, int], Values]
"""Function of the labels (n,), the outputs of M candidates, the counts (R, n) and the number of classes."""

MAX_GROUPS = 500
"""Maximum number of groups of sentences of a jackknife."""
AT_ONCE = 2**22
"""Maximum number of values in one block of a jackknife's counts."""
PRODUCTS = 16
"""Maximum number of classes that are counted by a matrix product for each."""
MAX_EXACT_FLOAT32 = 2**24
"""Bound below which whole numbers are exact in float32, so that sums do not depend on their order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric that a study can optimise. Labels and predicted classes are indices below `n_classes`."""

    name: str
    title: str
    """Name in sentences and column titles."""
    compute: Compute
    low: float = 0.0
    high: float = 1.0
    """Smallest and largest possible value."""
    higher_is_better: bool = True
    needs_probabilities: bool = False
    """Whether the metric is computed from the probabilities of the classes; otherwise from the predicted classes."""
    absent_class: str | None = ""
    """Effect of a class that no label has, as in scikit-learn; empty: there is none; None: the metric is undefined."""

    def value(
        self, labels: Labels, predictions: Labels, probabilities: NDArray[np.floating] | None, n_classes: int
    ) -> float:
        """Return the metric of one classifier on n sentences, NaN if it is undefined.

        Args:
            labels: (n,), at least one.
            predictions: (n,) predicted classes.
            probabilities: (n, C) float32 or float64; None if the metric does not need them.
            n_classes: C.
        """
        outputs: Any = probabilities if self.needs_probabilities else predictions
        return float(self.compute(labels, outputs[None], np.ones((1, len(labels)), dtype=np.int64), n_classes)[0, 0])

    def resampled(self, labels: Labels, outputs: NDArray[Any], counts: Counts, n_classes: int) -> Values:
        """Return (R, M): the metric of M candidates on R resamples of the n sentences.

        It equals `value` on the repeated sentences. A class that a resample lacks is left out of the mean of roc_auc.
        If the metric is undefined on a resample, the result is that of the sentences themselves.

        Args:
            labels: (n,).
            outputs: (M, n) predicted classes, or (M, n, C) probabilities if the metric needs them.
            counts: (R, n) how often each resample contains each sentence; each resample contains at least one.
            n_classes: C.
        """
        found = self.compute(labels, outputs, counts, n_classes)
        if not np.isnan(found).any():
            return found
        return np.where(np.isnan(found), self.compute(labels, outputs, np.ones_like(counts[:1]), n_classes), found)

    def pseudo_values(self, labels: Labels, outputs: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
        """Return (G,) jackknife pseudo-values of one classifier; their mean has the standard error of the metric.

        Source: Tukey 1958. More than MAX_GROUPS sentences are divided into groups at random with a fixed seed, so the
        values of two classifiers on the same sentences are pairs. With at most MAX_GROUPS sentences, those of accuracy
        are 1 for a correct sentence, else 0. For a single sentence the value is NaN.

        Args:
            labels: (n,).
            outputs: (n,) predicted classes, or (n, C) probabilities if the metric needs them.
            n_classes: C.
        """
        if len(labels) == 1:
            return np.full(1, np.nan)
        groups = min(len(labels), MAX_GROUPS)
        places, step = np.arange(len(labels)), max(1, AT_ONCE // len(labels))
        if len(labels) > groups:  # in the order of the file, each group could have a single class
            places = np.random.RandomState(0).permutation(len(labels)) % groups
        parts = [np.arange(start, min(start + step, groups + 1)) for start in range(0, groups + 1, step)]
        counts = ((places != part[:, None]).astype(np.int64) for part in parts)
        found = [self.compute(labels, outputs[None], each, n_classes) for each in counts]
        values = np.concatenate(found)[:, 0]  # the last one is of all sentences
        return np.asarray(groups * values[-1] - (groups - 1) * values[:-1])

    def work(self, n: int, n_classes: int) -> int:
        """Return the work of `resampled` for one output of n sentences: its number of values, or more if it is slow.

        A metric of classes takes 8 times as long as accuracy, and as long for 32 sentences as for one class; roc_auc
        takes 16 times as long as log_loss.
        """
        if self.needs_probabilities:
            return n * n_classes * (16 if self.name == "roc_auc" else 1)
        return n if self.name == "accuracy" else 8 * max(n, 32 * n_classes)

    def oriented(self, value: Any) -> Any:
        """Return the value or array such that larger is better; applied twice, it returns the value itself."""
        return value if self.higher_is_better else -value

    def remark(self, labels: Labels, classes: Sequence[str]) -> str | None:
        """Return a remark on classes that no validation sentence has; None if there is none.

        Raises:
            DataError: The metric is undefined on these labels.
        """
        absent = [repr(name[:40]) for k, name in enumerate(classes) if not (labels == k).any()]
        if self.name == "mcc" and len(absent) == len(classes) - 1:
            raise DataError(
                "all validation sentences have one label, so mcc is 0 for every trial; choose another --metric, or "
                "another split"
            )
        if not absent or self.absent_class == "":
            return None
        who = f"no validation sentence has the label {' or '.join(absent[:3])}{' or others' * (len(absent) > 3)}"
        if self.absent_class is None:
            raise DataError(f"{who}, so {self.name} is undefined; choose another --metric, or another split")
        return f"{who}: {self.absent_class}"


def class_counts(
    labels: Labels, predictions: Labels, counts: Counts, n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return true positives (R, M, C), predicted sentences (R, M, C) and labelled sentences (R, 1, C) of each class.

    They are exact: sums of whole numbers. The arguments are those of `Metric.resampled`.
    """
    if n_classes > min(PRODUCTS, len(counts)):  # a product for each class would take longer
        return _counts_in_one_pass(labels, predictions, counts, n_classes)
    weights = _exact_floats(counts)
    hits = np.empty((len(counts), len(predictions), n_classes))
    predicted, labelled = np.empty_like(hits), np.empty((len(counts), 1, n_classes))
    for k in range(n_classes):
        is_predicted = (predictions == k).astype(weights.dtype)  # (M, n)
        is_label = labels == k
        predicted[..., k] = weights @ is_predicted.T
        hits[..., k] = weights[:, is_label] @ is_predicted[:, is_label].T
        labelled[..., 0, k] = weights[:, is_label].sum(axis=1)
    return hits, predicted, labelled


def _counts_in_one_pass(
    labels: Labels, predictions: Labels, counts: Counts, n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return `class_counts` by one pass over resamples and sentences per candidate, for any number of classes."""
    weights = np.ascontiguousarray(counts.T, dtype=np.float64)  # (n, R)
    found = np.stack([_sums(each + n_classes * (each == labels), weights, 2 * n_classes) for each in predictions])
    # (R, M, 2, C): wrong and right predictions of each class
    found = np.moveaxis(found.reshape(len(predictions), 2, n_classes, len(counts)), -1, 0)
    return found[:, :, 1], found.sum(axis=2), _sums(labels, weights, n_classes).T[:, None]


def _sums(places: NDArray[np.integer], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return (size, R) the sums of the rows of whole numbers (n, R) with each of the places (n,)."""
    if weights.shape[1] == 1:  # as in training, whose workers do not load scipy
        return np.asarray(np.bincount(places, weights[:, 0], size), dtype=np.float64)[:, None]
    from scipy.sparse import csc_array

    ones, starts = np.ones(len(places)), np.arange(len(places) + 1)
    return np.asarray(csc_array((ones, places, starts), shape=(size, len(places))) @ weights)


def _exact_floats(counts: Counts) -> NDArray[np.floating]:
    """Return the counts in the smallest float type in which each sum of them is exact; float32 is twice as fast."""
    largest = counts.sum(axis=1).max(initial=0)
    return counts.astype(np.float32 if largest < MAX_EXACT_FLOAT32 else np.float64)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return above / below, and 0 where `below` is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)


def _accuracy(labels: Labels, predictions: Labels, counts: Counts, n_classes: int) -> Values:
    weights = _exact_floats(counts)
    hits = (weights @ (predictions == labels).astype(weights.dtype).T).astype(np.float64)  # (R, M)
    return np.asarray(hits / counts.sum(axis=1, keepdims=True))


def _macro_f1(labels: Labels, predictions: Labels, counts: Counts, n_classes: int) -> Values:
    hits, predicted, labelled = class_counts(labels, predictions, counts, n_classes)
    present = (predicted + labelled > 0).sum(axis=-1)
    return np.asarray(_ratio(2 * hits, predicted + labelled).sum(axis=-1) / present)


def _balanced_accuracy(labels: Labels, predictions: Labels, counts: Counts, n_classes: int) -> Values:
    hits, _, labelled = class_counts(labels, predictions, counts, n_classes)
    return np.asarray(_ratio(hits, labelled).sum(axis=-1) / (labelled > 0).sum(axis=-1))


def _mcc(labels: Labels, predictions: Labels, counts: Counts, n_classes: int) -> Values:
    """Return Matthews' correlation of several classes (Gorodkin 2004); 0 if labels or predictions are constant."""
    hits, predicted, labelled = class_counts(labels, predictions, counts, n_classes)
    total = labelled.sum(axis=-1)  # (R, 1)
    together = hits.sum(axis=-1) * total - (predicted * labelled).sum(axis=-1)
    apart = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (labelled**2).sum(axis=-1))
    return _ratio(together, np.sqrt(apart))


def sentence_losses(labels: Labels, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (..., n) the negative log probability of each label.

    Probabilities are limited to the machine precision of their type, as scikit-learn does.

    Args:
        labels: (n,).
        probabilities: (..., n, C).
    """
    limit = np.finfo(probabilities.dtype).eps
    chosen = probabilities[..., np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(chosen, limit, 1 - limit).astype(np.float64)))


def _log_loss(labels: Labels, probabilities: NDArray[np.floating], counts: Counts, n_classes: int) -> Values:
    losses = sentence_losses(labels, probabilities)  # (M, n)
    # Without BLAS, whose sums depend on the number of threads: retraining must be bit-identical.
    totals: Values = np.einsum("rn,mn->rm", counts.astype(np.float64), losses)
    return np.asarray(totals / counts.sum(axis=1, keepdims=True))


def _roc_auc(labels: Labels, probabilities: NDArray[np.floating], counts: Counts, n_classes: int) -> Values:
    """Return the area under the ROC curve: of class 1 if there are two, else the mean of each class against the rest.

    It is NaN if the labels lack a class.
    """
    classes = [1] if n_classes == 2 else range(n_classes)
    weights = np.ascontiguousarray(counts.T, dtype=np.float64)  # (n, R)
    found = np.empty((len(counts), len(probabilities)))
    for m, each in enumerate(probabilities):
        areas = np.stack([_area(labels == k, each[:, k], weights) for k in classes])  # (K, R)
        defined = ~np.isnan(areas)
        found[:, m] = _ratio(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
        found[~defined.any(axis=0), m] = np.nan
    if any((labels == k).all() or not (labels == k).any() for k in classes):
        found[:] = np.nan
    return found


def _area(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (R,) the share of pairs of a positive and a negative sentence in the right order; equal scores count half.

    Args:
        positive: (n,) whether each sentence has the class.
        scores: (n,) its probability.
        weights: (n, R) counts of the resamples.
    """
    order = np.argsort(scores)  # in any order of equal ones
    own, rest = order[positive[order]], order[~positive[order]]
    ends = np.stack([np.searchsorted(scores[rest], scores[own], side) for side in ("left", "right")])  # (2, P)
    if 4 * len(own) < len(rest):  # one sum for all negative sentences between two positive ones
        edges = np.unique(np.append(ends, 0))
        places = np.full(len(scores), len(edges))  # of the positive ones, whose sum is not used
        places[rest] = np.repeat(np.arange(len(edges)), np.diff(edges, append=len(rest)))
        sums = _sums(places, weights, len(edges) + 1)[:-1]
    else:
        edges, sums = np.arange(len(rest) + 1), weights[rest]
    below = np.zeros((len(sums) + 1, weights.shape[1]))  # the negative sentences before each edge
    np.cumsum(sums, axis=0, out=below[1:])
    ordered = (weights[own] * below[np.searchsorted(edges, ends)].sum(axis=0)).sum(axis=0) / 2
    pairs = weights[own].sum(axis=0) * below[-1]
    return np.asarray(np.divide(ordered, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", title="accuracy", compute=_accuracy),
        Metric(
            name="macro_f1",
            title="macro F1",
            compute=_macro_f1,
            absent_class="its F1 is 0 where a trial predicts it, otherwise macro_f1 is the mean of the other classes",
        ),
        Metric(
            name="balanced_accuracy",
            title="balanced accuracy",
            compute=_balanced_accuracy,
            absent_class="balanced_accuracy is the mean recall of the other classes",
        ),
        Metric(name="mcc", title="MCC", compute=_mcc, low=-1.0),
        Metric(
            name="log_loss",
            title="log loss",
            compute=_log_loss,
            high=float("inf"),
            higher_is_better=False,
            needs_probabilities=True,
        ),
        Metric(
            name="roc_auc",
            title="ROC AUC",
            compute=_roc_auc,
            needs_probabilities=True,
            absent_class=None,
        ),
    )
}
"""Every metric by its name."""


def constant_value(metric: Metric, labels: Labels, shares: NDArray[np.floating]) -> float:
    """Return the value of a classifier that ignores the n sentences with these labels; NaN if it is undefined on them.

    It always predicts the class with the largest share, with the shares as probabilities.

    Args:
        metric: The metric.
        labels: (n,).
        shares: (C,) shares of the classes in the train split.
    """
    constant = np.full(len(labels), shares.argmax())
    return metric.value(labels, constant, np.broadcast_to(shares, (len(labels), len(shares))), len(shares))
