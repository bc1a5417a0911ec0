"""Simulate searches with known true accuracies, sentence by sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from core.stats import Correct, Interval, wilson
from tuning.analysis.selection_bias import corrected_accuracy

EPOCHS_ALIKE = 0.7
"""Fraction of a trial's own noise that all its epochs share."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of simulated search."""

    accuracies: Callable[[np.random.Generator], NDArray[np.float64]]
    """Draws the true accuracies (T,) of a search's trials."""
    shared: float
    """Fraction of the variance that comes from a sentence's difficulty, see `simulated`."""
    epochs: int = 1
    """Number of equally good epochs per trial; the best one on the validation sentences represents the trial."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The accuracies of one search's best trial."""

    raw: float
    """Accuracy on the validation sentences on which the trial was chosen."""
    raw_interval: Interval
    corrected: float
    corrected_interval: Interval
    test: float
    """Accuracy on the same number of sentences that were not used for a choice."""
    test_interval: Interval
    true: float


def simulated(draw: np.random.Generator, accuracies: NDArray[np.float64], sentences: int, shared: float) -> Correct:
    """Return which of n sentences each of T trials classifies correctly, (T, n).

    A trial gets a sentence right when a standard normal number lies below the quantile of its accuracy. That number is
    the sentence's difficulty, common to all trials, and the trial's own noise.

    Args:
        draw: random generator.
        accuracies: true accuracies (T,).
        sentences: number n.
        shared: fraction of the variance from the difficulty: 0 for independent trials, 1 for identical failures.
    """
    difficulty = draw.normal(size=sentences)
    noise = draw.normal(size=(len(accuracies), sentences))
    return np.asarray(np.sqrt(shared) * difficulty + np.sqrt(1 - shared) * noise < ndtri(accuracies)[:, None])


def at_best_epoch(
    draw: np.random.Generator, accuracies: NDArray[np.float64], validation: int, sentences: int, kind: Kind
) -> Correct:
    """As `simulated` (T, n), each trial at its best epoch on the first `validation` sentences."""
    common = np.sqrt(kind.shared) * draw.normal(size=sentences)
    own = np.sqrt((1 - kind.shared) * EPOCHS_ALIKE) * draw.normal(size=(len(accuracies), sentences))
    noise = draw.normal(size=(kind.epochs, len(accuracies), sentences))
    hard = common + own + np.sqrt((1 - kind.shared) * (1 - EPOCHS_ALIKE)) * noise
    correct = np.asarray(hard < ndtri(accuracies)[:, None])  # (E, T, n)
    best = correct[:, :, :validation].sum(axis=2).argmax(axis=0)
    return np.asarray(correct[best, np.arange(len(accuracies))])


def outcome(validation: Correct, test: Correct, true: Sequence[float], repeats: int, seed: int) -> Outcome:
    """Return the raw, corrected, test and true accuracy of a search's best trial.

    Args:
        validation: correct validation sentences (T, n).
        test: correct test sentences (T, m).
        true: each trial's true accuracy (T,).
        repeats: number of resamplings for the corrected accuracy.
        seed: seed of the resampling.
    """
    honest = corrected_accuracy(validation, repeats=repeats, seed=seed)
    winner = int(validation.sum(axis=1).argmax())
    hits, m = int(test[winner].sum()), test.shape[1]
    return Outcome(
        raw=honest.raw,
        raw_interval=honest.raw_interval,
        corrected=honest.corrected,
        corrected_interval=honest.corrected_interval,
        test=hits / m,
        test_interval=wilson(hits, m),
        true=float(true[winner]),
    )


def simulated_outcomes(
    searches: int, kind: Kind, *, sentences: int = 400, repeats: int = 2000, seed: int = 0
) -> list[Outcome]:
    """Simulate searches with `sentences` validation sentences and the same number of test sentences."""
    found = []
    for search in range(searches):
        draw = np.random.default_rng([seed, search])
        true = kind.accuracies(draw)
        if kind.epochs > 1:
            both = at_best_epoch(draw, true, sentences, 2 * sentences, kind)
        else:
            both = simulated(draw, true, 2 * sentences, kind.shared)
        found.append(outcome(both[:, :sentences], both[:, sentences:], true.tolist(), repeats, search))
    return found


def covers(interval: Interval, true: float) -> bool:
    """Return whether the interval contains the true accuracy."""
    return interval.low <= true <= interval.high
