"""Figures of a search's choices without the bias from choosing by the same validation sentences that give the figures.

The best of all epochs of many trials is partly the best by chance, on the sentences by which it was chosen. The choice
is therefore repeated on resamples of the sentences. Let e be the error of a score, and d its change in a resample. A
choice by the sum of both is biased by e and by d, in proportion to their variances. The change d is known, so the bias
by e can be subtracted: the score minus DENSITY times d is an unbiased estimate (coupled bootstrap: Oliveira, Lei and
Tibshirani 2021, "Unbiased risk estimation in the normal means problem via coupled bootstrap techniques"). With
resamples of n sentences, the figure is that of a choice by n / 2 sentences: too low by 0.6 points for the epochs of a
single trial on 200 sentences. With DENSITY n sentences, the choice is more like the actual one.

The candidates are all recorded epochs of all trials, including trials that were not promoted. Their later epochs are
unknown: a resample in which they would have been promoted has one candidate less, and it does not repeat the promotion
of the others. benchmarks/quality/selection_bias.py measures the remaining bias. Suggestions of the sampler also depend
on earlier scores; only the test split is free of that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics import Metric
from core.stats import Interval, Z, wilson

AT_ONCE = 2**22
"""Maximum number of values in one block of resampling counts, or of figures of the classes."""
CANDIDATES_AT_ONCE = 2**24
"""Maximum number of outputs that are scored at once: as floats, those of all candidates could take 500 MB."""
DENSITY = 2
"""Number of sentences in a resample, as a multiple of the validation sentences. With 4, the figures scatter more."""
REPEATS = 2000
"""Number of resamples: the figure of 1,000 sentences then has a random error of 0.05 points."""
MIN_REPEATS = 200
MAX_RESAMPLED = 2**25
"""Maximum number of resamples times validation sentences. From 16,800 sentences on, there are therefore fewer
resamples, which give equally exact figures."""
FEW_SENTENCES = 30
"""Number of sentences below which no gain is shown. In 300 simulated searches of 12 equal trials, 4.3% of the intervals
of a gain in accuracy were above 0 with 30 sentences."""
ADDED = 2.0
"""Number of right sentences, and of wrong ones, that the classes get in all for a score, and for a gain of macro F1 or
MCC."""
ADDED_RANKS = 0.5
"""The same for scores of roc_auc, whose terms vary less than right and wrong ones. It is empirical: with 2, the
intervals of 50 sentences of each class are 1.4 times as wide, and all 200 simulated ones cover the truth."""
FIXED = -1
"""Number in place of a trial's for outputs that no search chose, such as those of the plain baseline."""

Choice = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""A rule that chooses a trial in each resample: from the best score of each trial (R, T) to places (R,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corrected:
    """A value of the metric in its own direction, or the gain of one over another; a larger gain is better."""

    raw: float
    """Value on the sentences by which it was chosen."""
    value: float
    """Expected value on other sentences."""
    interval: Interval
    """Interval of the expected value."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Terms:
    """Terms of n sentences: a score varies as the sum over the C groups of the mean term of their sentences.

    The groups are the classes, or one group of all sentences.
    """

    values: NDArray[np.float64]
    """(n,)."""
    low: NDArray[np.float64]
    """(C,) smallest possible term of each group."""
    high: NDArray[np.float64]
    """(C,) largest possible term of each group."""

    def minus(self, other: "Terms") -> "Terms":
        """Return the terms of the difference of two scores."""
        return Terms(values=self.values - other.values, low=self.low - other.high, high=self.high - other.low)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Repeated:
    """A choice and what it chooses in each of R resamples, or the difference of two such scores."""

    raw: float
    """Score of the actual choice on the sentences."""
    base: NDArray[np.float64]
    """(R,) score on the sentences of what is chosen in each resample."""
    change: NDArray[np.float64]
    """(R,) change of this score by the resample."""
    own_change: NDArray[np.float64]
    """(R,) change of the score of the actual choice by the resample. It has mean 0 and makes the figure less random."""
    terms: Terms
    """Terms of the actual choice."""

    @property
    def value(self) -> float:
        """The corrected score."""
        # The difference first: where each resample chooses the same, the corrected score is the score to the last bit.
        return self.raw + float((self.base - self.raw - DENSITY * (self.change - self.own_change)).mean())

    def minus(self, other: "Repeated") -> "Repeated":
        """Return the difference to another choice, over the resamples of both."""
        rows = slice(min(len(self.base), len(other.base)))
        return Repeated(
            raw=self.raw - other.raw,
            base=self.base[rows] - other.base[rows],
            change=self.change[rows] - other.change[rows],
            own_change=self.own_change[rows] - other.own_change[rows],
            terms=self.terms.minus(other.terms),
        )

    def interval(self, shift: float, least_error: float) -> Interval:
        """Return the interval (normal) of a choice, extended to that of the score that is moved by `shift`.

        Its variance is that of the actual choice and half that of the repeated ones. The half is empirical: with it,
        the intervals cover the truth in 94 to 98% of the benchmark's searches. The standard error of the actual choice
        is at least `least_error`.
        """
        error = max(DENSITY**0.5 * float(self.own_change.std()), least_error)
        half = Z * (error**2 + DENSITY * float((self.change - self.own_change).var()) / 2) ** 0.5
        return Interval(low=self.value + min(shift, 0.0) - half, high=self.value + max(shift, 0.0) + half)


def draw_counts(n: int, *, repeats: int, at_once: int = 1) -> Iterator[NDArray[np.int64]]:
    """Yield blocks (R', n) that say how often each resample contains each sentence; the blocks have R rows in all.

    The first rows of more resamples are the same.

    Args:
        n: Number of sentences.
        repeats: Number of resamples R.
        at_once: Number of values that the caller computes from one resample; if large, the blocks are smaller.
    """
    draw, size = np.random.default_rng(0), DENSITY * n
    rows = max(1, AT_ONCE // max(size, at_once))
    for start in range(0, repeats, rows):
        count = min(rows, repeats - start)
        places = draw.integers(0, n, (count, size)) + n * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * n).reshape(count, n)


def n_repeats(n: int, most: int = REPEATS) -> int:
    """Return the number of resamples of n sentences, at most `most`."""
    return min(most, max(MIN_REPEATS, MAX_RESAMPLED // n))


def class_terms(metric: Metric, labels: NDArray[np.int64], outputs: NDArray[Any], n_classes: int) -> Terms:
    """Return the terms of a score. They are 0 for log_loss; for accuracy all classes are one.

    For roc_auc, they are the shares of correctly ordered pairs of each class and the rest (placements: DeLong et al.
    1988, Biometrics 44). For the other metrics, they are the derivatives by the numbers of sentences with each label
    and prediction, times the number with the label.

    Args:
        metric: The metric.
        labels: (n,).
        outputs: (n,) predicted classes, or (n, C) probabilities if the metric needs them.
        n_classes: C.
    """
    terms, sizes = np.zeros(len(labels)), np.bincount(labels, minlength=n_classes)
    if metric.name == "log_loss":
        return Terms(values=terms, low=np.zeros(n_classes), high=np.zeros(n_classes))
    if metric.name == "accuracy":
        return Terms(values=(outputs == labels).astype(np.float64), low=np.zeros(1), high=np.ones(1))
    if metric.name != "roc_auc":
        cells = labels * n_classes + outputs  # (n,) places in a matrix (C, C) of labels and predictions
        confusion = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
        derivatives = sizes[:, None] * _derivatives(metric.name, confusion)
        return Terms(values=derivatives.ravel()[cells], low=derivatives.min(axis=1), high=derivatives.max(axis=1))
    rest = len(labels) - sizes
    for k in range(n_classes):
        is_label, scores = labels == k, outputs[:, k]
        terms[is_label] += _ranks(scores[~is_label], scores[is_label])
        terms[~is_label] += sizes[labels[~is_label]] / rest[k] * (1 - _ranks(scores[is_label], scores[~is_label]))
    high = (1 + sizes * ((1 / rest).sum() - 1 / rest)) / n_classes
    return Terms(values=terms / n_classes, low=np.zeros(n_classes), high=high)


def _derivatives(name: str, confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (C, C) derivatives of a metric by the numbers of sentences with each label and prediction.

    They are those up to a constant for each label, on which `adjusted` does not depend.
    """
    hits, labelled, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    total, right = confusion.sum(), np.eye(len(confusion))
    if name == "balanced_accuracy":
        return np.asarray(right / np.maximum(labelled, 1) / np.count_nonzero(labelled))
    if name == "macro_f1":
        both = np.maximum(predicted + labelled, 1)
        return np.asarray((2 * right - 2 * hits / both) / both / np.count_nonzero(predicted + labelled))
    assert name == "mcc", f"add the derivatives of {name}"
    # MCC has no derivative where all predictions are equal: there, as if one were not.
    spread = [max(2.0 * total - 2, float(total**2 - (each**2).sum())) for each in (predicted, labelled)]
    scale = (spread[0] * spread[1]) ** 0.5
    mcc = (hits.sum() * total - (predicted * labelled).sum()) / scale
    return np.asarray((total * right - labelled) / scale + mcc * predicted / spread[0])


def _ranks(sample: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return for each value the share of the sample that is less; equal ones count half."""
    ordered = np.sort(sample)
    places = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(places / (2 * len(sample)))


def adjusted(terms: Terms, labels: NDArray[np.int64], added: float | None) -> tuple[float, float]:
    """Return by how much a few more sentences move a score or a gain, and the standard error with them.

    A class of few sentences may be all right by chance, and then hardly varies in the resamples. Each group therefore
    gets some sentences with its smallest term and as many with its largest one (Price and Bonett 2004, Computational
    Statistics & Data Analysis 45; of a gain: Bonett and Price 2012, Journal of Educational and Behavioral Statistics
    37).

    Args:
        terms: Terms of a score or a gain.
        labels: (n,).
        added: Number of sentences with the smallest terms that the groups get in all; None for one in each group.
    """
    groups = labels if len(terms.low) > 1 else np.zeros(len(labels), dtype=np.int64)
    weights = (np.ones(len(labels)), terms.values, terms.values**2)
    sizes, sums, squares = (np.bincount(groups, each, len(terms.low)) for each in weights)
    there = sizes > 0
    more = 1.0 if added is None else added / there.sum()
    total = sizes[there] + 2 * more
    means = (sums + more * (terms.low + terms.high))[there] / total
    variances = ((squares + more * (terms.low**2 + terms.high**2))[there] / total - means**2) / total
    shift = float((means - sums[there] / sizes[there]).sum())
    return shift, float(np.maximum(variances, 0).sum() ** 0.5)


class Resamples:
    """Scores of the trials of one study on resamples of its validation sentences. Larger scores are better."""

    def __init__(
        self,
        *,
        metric: Metric,
        labels: NDArray[np.int64],
        n_classes: int,
        trials: Sequence[int],
        outputs: Sequence[Sequence[NDArray[Any]]],
        repeats: int = REPEATS,
    ) -> None:
        """Resample the outputs from which a search chose. Ties go to the first one.

        Args:
            metric: Metric that the study optimises.
            labels: (n,) of the validation sentences, at least 2.
            n_classes: Number of classes C.
            trials: T different numbers of trials, at least one; FIXED may be one of them.
            outputs: (n,) predicted classes or (n, C) probabilities of each epoch of each of the T trials.
            repeats: Number of resamples R.
        """
        self.metric, self.n = metric, len(labels)
        self.places = {trial: place for place, trial in enumerate(trials)}
        stacked = np.stack([epoch for each in outputs for epoch in each])
        ends = np.cumsum([len(each) for each in outputs])
        slices = [slice(end - len(each), end) for end, each in zip(ends, outputs, strict=True)]

        step = max(1, CANDIDATES_AT_ONCE // self.n)

        def scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
            parts = (stacked[at : at + step] for at in range(0, len(stacked), step))
            found = [metric.resampled(labels, part, counts, n_classes) for part in parts]
            return np.asarray(metric.oriented(np.concatenate(found, axis=1)))

        raw = scores(np.ones((1, self.n), dtype=np.int64))[0]  # (M,)
        chosen = [part.start + int(raw[part].argmax()) for part in slices]
        self.raw = raw[chosen]
        """(T,) score of each trial's best epoch."""
        self._chosen = [each[place - part.start] for each, place, part in zip(outputs, chosen, slices, strict=True)]
        self._labels, self._n_classes = labels.astype(np.int64), n_classes
        self.best = np.empty((repeats, len(slices)))
        """(R, T) score, on the resample, of the epoch of each trial that is the best one there."""
        self.base = np.empty((repeats, len(slices)))
        """(R, T) score of that epoch on the sentences themselves."""
        self.own_change = np.empty((repeats, len(slices)))
        """(R, T) change of the score of the trial's actual best epoch by the resample."""
        # Macro F1, balanced accuracy and MCC count the sentences of each class.
        figures = 1 if metric.needs_probabilities or metric.name == "accuracy" else n_classes
        start = 0
        for counts in draw_counts(self.n, repeats=repeats, at_once=len(raw) * figures):
            rows, start = slice(start, start + len(counts)), start + len(counts)
            found = scores(counts)  # (R', M)
            for trial, part in enumerate(slices):
                epochs = part.start + found[:, part].argmax(axis=1)
                self.best[rows, trial] = found[np.arange(len(counts)), epochs]
                self.base[rows, trial] = raw[epochs]
            self.own_change[rows] = found[:, chosen] - self.raw
        # A metric that is no mean over sentences has another expectation on resamples than on the sentences.
        shift = self.own_change.mean(axis=0)
        self.change = self.best - self.base - shift
        """(R, T) change of the score in `base` by the resample."""
        self.own_change -= shift
        self._variances = (self.own_change**2).mean(axis=0)

    def errors(self, place: int) -> NDArray[np.float64]:
        """Return (T,) standard errors of the paired differences of all trials to one of them."""
        covariances = np.einsum("r,rt->t", self.own_change[:, place], self.own_change) / len(self.own_change)
        variances = self._variances + self._variances[place] - 2 * covariances
        return np.asarray((DENSITY * np.maximum(variances, 0)) ** 0.5)  # rounding gives equal trials less than 0

    def leads(self, place: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (T,) leads of one trial over all trials, moved towards 0 by `adjusted`, and their standard errors."""
        leads, errors = self.raw[place] - self.raw, self.errors(place)
        own = self.terms(self._chosen[place])
        for other, outputs in enumerate(self._chosen):
            shift, error = self._adjusted(own.minus(self.terms(outputs)), gain=True)
            leads[other] += min(shift, 0.0)
            errors[other] = max(errors[other], error)
        return leads, errors

    def terms(self, outputs: NDArray[Any]) -> Terms:
        """Return the terms of outputs: (n,) predicted classes or (n, C) probabilities."""
        return class_terms(self.metric, self._labels, outputs, self._n_classes)

    def _adjusted(self, terms: Terms, *, gain: bool) -> tuple[float, float]:
        """Return `adjusted` of a score or a gain, with an error of at least 1 / n: n sentences cannot resolve less."""
        if self.metric.name == "accuracy" and not gain:
            return 0.0, 1 / self.n  # Wilson's interval is used
        added: float | None = ADDED_RANKS if self.metric.needs_probabilities else ADDED
        if gain and self.metric.name in ("accuracy", "balanced_accuracy", "roc_auc"):
            added = None  # macro_f1 and mcc have larger smallest terms than other sentences of the class can have
        if gain and self.metric.needs_probabilities:  # two rankings differ by much less than they could
            most = np.zeros(self._n_classes)
            np.maximum.at(most, self._labels, np.abs(terms.values))
            terms = replace(terms, low=-most, high=most)
        shift, error = adjusted(terms, self._labels, added)
        return shift, max(error, 1 / self.n)

    def epoch_bias(self, trial: int) -> float:
        """Return the bias of a trial's score by the choice of its best epoch."""
        found = self.only(trial)
        return found.raw - found.value

    def only(self, trial: int) -> Repeated:
        """Return one trial, at its best epoch, or the fixed outputs, as the choice in all resamples."""
        return self.repeated(lambda scores: np.full(len(scores), self.places[trial]))

    def first(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose the trial with the best score."""
        chosen = scores.copy()
        if FIXED in self.places:
            chosen[:, self.places[FIXED]] = -np.inf
        return np.asarray(chosen.argmax(axis=1))

    def repeated(self, choice: Choice) -> Repeated:
        """Return the choice of a rule, repeated in the resamples."""
        place = int(choice(self.raw[None])[0])
        rows, chosen = np.arange(len(self.best)), choice(self.best)
        return Repeated(
            raw=float(self.raw[place]),
            base=self.base[rows, chosen],
            change=self.change[rows, chosen],
            own_change=self.own_change[:, place],
            terms=self.terms(self._chosen[place]),
        )

    def corrected(self, found: Repeated) -> Corrected:
        """Return the corrected score of a choice."""
        value, interval = found.value, found.interval(*self._adjusted(found.terms, gain=False))
        low, high = max(interval.low, self._limits[0]), min(interval.high, self._limits[1])
        value = min(max(value, self._limits[0]), self._limits[1])
        if self.metric.name == "accuracy":  # the normal interval is too narrow near 0 and 1
            binomial = wilson(value * self.n, self.n)
            low, high = min(low, binomial.low), max(high, binomial.high)
        ends = sorted((self.metric.oriented(low), self.metric.oriented(high)))
        return Corrected(
            raw=self.metric.oriented(found.raw),
            value=self.metric.oriented(value),
            interval=Interval(low=ends[0], high=ends[1]),
        )

    def difference(self, choice: Repeated, other: Repeated) -> Corrected:
        """Return the gain of a choice over another one, in pairs of sentences.

        With fewer than FEW_SENTENCES sentences, its interval contains 0.
        """
        found, most = choice.minus(other), self._limits[1] - self._limits[0]
        interval = found.interval(*self._adjusted(found.terms, gain=True))
        low, high = max(interval.low, -most), min(interval.high, most)
        if self.n < FEW_SENTENCES:
            low, high = min(low, 0.0), max(high, 0.0)
        return Corrected(raw=found.raw, value=min(max(found.value, -most), most), interval=Interval(low=low, high=high))

    @property
    def _limits(self) -> tuple[float, float]:
        low, high = sorted((self.metric.oriented(self.metric.low), self.metric.oriented(self.metric.high)))
        return low, high
