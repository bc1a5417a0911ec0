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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics import Metric, class_counts
from core.stats import Interval, Z, wilson

AT_ONCE = 2**22
"""Maximum number of values in one block of resampling counts, or of figures of the classes."""
DENSITY = 2
"""Number of sentences in a resample, as a multiple of the validation sentences. With 4, the figures scatter more."""
REPEATS = 2000
"""Number of resamples: the figure of 1,000 sentences then has a random error of 0.05 points."""
MIN_REPEATS = 200
MAX_RESAMPLED = 2**25
"""Maximum number of resamples times validation sentences. From 16,800 sentences on, there are therefore fewer
resamples, which give equally exact figures."""
FEW_SENTENCES = 20
"""Number of sentences below which no gain is shown. In 1,000 simulated searches without a gain, up to 9% of the
intervals were above 0 with 10 sentences, and up to 5% with 20."""
FIXED = -1
"""Number in place of a trial's for outputs that no search chose, such as those of the plain baseline."""

Choice = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""A rule that chooses a trial in each resample: from the best score of each trial (R, T) to places (R,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corrected:
    """A score in the metric's own direction, or the gain of one over another; a larger gain is better."""

    raw: float
    """Value on the sentences by which it was chosen."""
    value: float
    """Expected value on other sentences."""
    interval: Interval
    """Interval of the expected value."""


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
    least_error: float = 0.0
    """Lower limit of the standard error of the score: a class without mistakes has none in any resample."""

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
        )

    def interval(self, n: int) -> Interval:
        """Return the interval (normal) of a choice by n sentences.

        Its variance is that of the actual choice and half that of the repeated ones. The half is empirical: with it,
        the intervals cover the truth in 94 to 98% of the benchmark's searches.
        """
        spread = DENSITY**0.5 * float(self.own_change.std())
        error = max(spread, self.least_error, 1 / n)  # n sentences cannot resolve less
        half = Z * (error**2 + DENSITY * float((self.change - self.own_change).var()) / 2) ** 0.5
        return Interval(low=self.value - half, high=self.value + half)


def draw_counts(n: int, *, repeats: int, seed: int, at_once: int = 1) -> Iterator[NDArray[np.int64]]:
    """Yield blocks (R', n) that say how often each resample contains each sentence; the blocks have R rows in all.

    The first rows of more resamples are the same.

    Args:
        n: Number of sentences.
        repeats: Number of resamples R.
        seed: Seed of the resampling.
        at_once: Number of values that the caller computes from one resample; if large, the blocks are smaller.
    """
    draw, size = np.random.default_rng(seed), DENSITY * n
    rows = max(1, AT_ONCE // max(size, at_once))
    for start in range(0, repeats, rows):
        count = min(rows, repeats - start)
        places = draw.integers(0, n, (count, size)) + n * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * n).reshape(count, n)


def n_repeats(n: int, most: int = REPEATS) -> int:
    """Return the number of resamples of n sentences, at most `most`."""
    return min(most, max(MIN_REPEATS, MAX_RESAMPLED // n))


def least_errors(
    metric: Metric, labels: NDArray[np.int64], outputs: NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Return (M,) lower limits of the standard errors of M candidates; 0 if the metric is no mean over classes.

    The limit is the error of balanced accuracy with two right and two wrong sentences more in each class (Agresti and
    Coull 1998, The American Statistician 52). For balanced classes, macro F1 varies as much, and MCC C / (C - 1) times.

    Args:
        metric: The metric.
        labels: (n,).
        outputs: (M, n) predicted classes; anything else if the metric needs probabilities.
        n_classes: C.
    """
    if metric.needs_probabilities or metric.name == "accuracy":
        return np.zeros(len(outputs))
    [hits], _, [sizes] = class_counts(labels, outputs, np.ones((1, len(labels)), dtype=np.int64), n_classes)
    there = sizes[0] > 0
    shares = (hits[:, there] + 2) / (sizes[:, there] + 4)  # (M, classes that a label has)
    errors = (shares * (1 - shares) / (sizes[:, there] + 4)).sum(axis=1) ** 0.5 / there.sum()
    return np.asarray(errors * (n_classes / (n_classes - 1) if metric.name == "mcc" else 1))


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
        seed: int = 0,
    ) -> None:
        """Resample the outputs from which a search chose. Ties go to the first one.

        Args:
            metric: Metric that the study optimises.
            labels: (n,) of the validation sentences, at least 2.
            n_classes: Number of classes C.
            trials: T different numbers of trials, at least one; FIXED may be one of them.
            outputs: (n,) predicted classes or (n, C) probabilities of each epoch of each of the T trials.
            repeats: Number of resamples R.
            seed: Seed of the resampling; the same arguments give the same figures.
        """
        self.metric, self.n, self.seed = metric, len(labels), seed
        if not trials or self.n < 2:
            raise ValueError(f"needs at least 1 trial and 2 sentences, got {len(trials)} and {self.n}")
        self.places = {trial: place for place, trial in enumerate(trials)}
        stacked = np.stack([epoch for each in outputs for epoch in each])
        ends = np.cumsum([len(each) for each in outputs])
        slices = [slice(end - len(each), end) for end, each in zip(ends, outputs, strict=True)]

        def scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray(metric.oriented(metric.resampled(labels, stacked, counts, n_classes)))

        raw = scores(np.ones((1, self.n), dtype=np.int64))[0]  # (M,)
        chosen = [part.start + int(raw[part].argmax()) for part in slices]
        self.raw = raw[chosen]
        """(T,) score of each trial's best epoch."""
        self._least_errors = least_errors(metric, labels, stacked[chosen], n_classes)
        self.best = np.empty((repeats, len(slices)))
        """(R, T) score of the epoch of each trial that is the best one in the resample."""
        self.base = np.empty((repeats, len(slices)))
        """(R, T) score of that epoch on the sentences themselves."""
        self.own_change = np.empty((repeats, len(slices)))
        """(R, T) change of the score of the trial's actual best epoch by the resample."""
        # Macro F1, balanced accuracy and MCC count the sentences of each class.
        figures = 1 if metric.needs_probabilities or metric.name == "accuracy" else n_classes
        start = 0
        for counts in draw_counts(self.n, repeats=repeats, seed=seed, at_once=len(raw) * figures):
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
        """(R, T) change of this score by the resample."""
        self.own_change -= shift
        self._variances = (self.own_change**2).mean(axis=0)

    def errors(self, place: int) -> NDArray[np.float64]:
        """Return (T,) standard errors of the paired differences of all trials to one of them."""
        covariances = np.einsum("r,rt->t", self.own_change[:, place], self.own_change) / len(self.own_change)
        variances = self._variances + self._variances[place] - 2 * covariances
        return np.asarray((DENSITY * np.maximum(variances, 0)) ** 0.5)  # rounding gives equal trials less than 0

    def epoch_bias(self, trial: int) -> float:
        """Return the bias of a trial's score by the choice of its best epoch."""
        found = self.repeated(self.only(trial))
        return found.raw - found.value

    def only(self, trial: int) -> Choice:
        """Return the rule that always chooses one trial, at its best epoch, or the fixed outputs."""
        return lambda scores: np.full(len(scores), self.places[trial])

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
            least_error=float(self._least_errors[place]),
        )

    def corrected(self, choice: Choice | Repeated) -> Corrected:
        """Return the corrected score of the choice of a rule."""
        found = choice if isinstance(choice, Repeated) else self.repeated(choice)
        value, interval = found.value, found.interval(self.n)
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

    def difference(self, choice: Choice | Repeated, other: Choice | Repeated) -> Corrected:
        """Return the gain of the choice of one rule over that of another one, in pairs of sentences.

        With fewer than FEW_SENTENCES sentences, its interval contains 0.
        """
        one, two = (each if isinstance(each, Repeated) else self.repeated(each) for each in (choice, other))
        found, most = one.minus(two), self._limits[1] - self._limits[0]
        interval = found.interval(self.n)
        low, high = max(interval.low, -most), min(interval.high, most)
        if self.n < FEW_SENTENCES:
            low, high = min(low, 0.0), max(high, 0.0)
        return Corrected(raw=found.raw, value=min(max(found.value, -most), most), interval=Interval(low=low, high=high))

    @property
    def _limits(self) -> tuple[float, float]:
        low, high = sorted((self.metric.oriented(self.metric.low), self.metric.oriented(self.metric.high)))
        return low, high
