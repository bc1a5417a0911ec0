"""Simulate searches with known true accuracies, sentence by sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from core.stats import Correct, Interval, wilson
from tuning.analysis.selection_bias import corrected_accuracy

EPOCHS_ALIKE = 0.7
"""The share of a trial's own noise that all its epochs have in common."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the searches of one kind are made."""

    accuracies: Callable[[np.random.Generator], NDArray[np.float64]]
    """(T,) the truth of a search's trials."""
    shared: float
    """The share of a sentence's difficulty in the variance, see `simulated`."""
    epochs: int = 1
    """Of each trial, all equally good; the one that does best on the validation sentences stands for it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The winner of one search, as each figure tells it."""

    raw: float
    """Its accuracy on the validation sentences that it was chosen on."""
    raw_interval: Interval
    corrected: float
    corrected_interval: Interval
    test: float
    """On as many sentences that nothing was chosen on."""
    test_interval: Interval
    true: float


def simulated(draw: np.random.Generator, accuracies: NDArray[np.float64], sentences: int, shared: float) -> Correct:
    """(T, n) which of n sentences each of T trials gets right.

    A trial gets a sentence right when a standard normal number lies below the quantile of its accuracy. That number is
    the sentence's difficulty, common to all trials, and the trial's own noise.

    Args:
        draw: the generator.
        accuracies: (T,) the truth.
        sentences: n.
        shared: the share of the difficulty in the variance: 0 for independent trials, 1 for trials that fail alike.
    """
    difficulty = draw.normal(size=sentences)
    noise = draw.normal(size=(len(accuracies), sentences))
    return np.asarray(np.sqrt(shared) * difficulty + np.sqrt(1 - shared) * noise < ndtri(accuracies)[:, None])


def at_best_epoch(
    draw: np.random.Generator, accuracies: NDArray[np.float64], validation: int, sentences: int, kind: Kind
) -> Correct:
    """(T, n) as `simulated`, each trial at the epoch that gets most of the first `validation` sentences right."""
    common = np.sqrt(kind.shared) * draw.normal(size=sentences)
    own = np.sqrt((1 - kind.shared) * EPOCHS_ALIKE) * draw.normal(size=(len(accuracies), sentences))
    noise = draw.normal(size=(kind.epochs, len(accuracies), sentences))
    hard = common + own + np.sqrt((1 - kind.shared) * (1 - EPOCHS_ALIKE)) * noise
    correct = np.asarray(hard < ndtri(accuracies)[:, None])  # (E, T, n)
    best = correct[:, :, :validation].sum(axis=2).argmax(axis=0)
    return np.asarray(correct[best, np.arange(len(accuracies))])


def outcome(validation: Correct, test: Correct, true: Sequence[float], repeats: int, seed: int) -> Outcome:
    """What each figure says about the winner of a search.

    Args:
        validation: (T, n).
        test: (T, m).
        true: (T,) each trial's accuracy on all sentences of the kind.
        repeats: resamplings of the corrected figure.
        seed: of the resampling.
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
    """The outcomes of so many simulated searches, with as many test as validation sentences."""
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
    """Whether the truth lies within."""
    return interval.low <= true <= interval.high
