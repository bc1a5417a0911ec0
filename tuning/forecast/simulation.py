"""Forecast the duration of a search with many simulations, based on a probe. Pure.

Each simulation draws what a probe cannot measure: the quality of each trial, which decides who is stopped at a rung;
the configurations that the sampler will prefer, which decide the cost of later trials; and the speed of the machine.
It then assigns the trials to the workers in the study's order, with the pauses of rungs and window. A range holds 90%
of the simulations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, SuccessiveHalving
from tuning.scheduling.timeline import TRIAL_SECONDS, completion_times

SIMULATED_TRIALS = 100_000
"""Number of trials in all simulations of one forecast together."""
FAVOURITES = 3
"""Number of configurations that a sampler prefers: half of the later trials cost as much as one of these."""
SPEED = 0.08
"""Standard deviation of the logarithm of the machine's speed during the search, relative to the probe."""
PERSISTENCE = 0.8
"""Correlation between the final quality of a trial and its score at a rung."""
STARTS = (1.6, 3.5)
"""Time of a command without its trials, as a multiple of the start of a probe's process: the driver, Ray and a worker
start one after the other."""
WAITS = (3.5, 5.0)
"""Additional seconds that depend on no processor: Ray waits for its node, and at its end for its processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochCosts:
    """Seconds per epoch, measured by a probe with as many parallel trials as in the study."""

    own: tuple[float, ...]
    """Costs of the study's first trials, in order: those that depend on no result."""
    others: tuple[float, ...]
    """Costs of random configurations; at least one if the study has more trials than `own`."""
    start: float
    """Seconds that a process of the probe took to start, including torch and the corpus."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Median of a simulated quantity, and the range of 90% of the simulations."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Range":
        """Return the range of simulated values, (n,)."""
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return cls(low=float(low), middle=float(middle), high=float(high))


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Epochs and duration of a search."""

    rungs: tuple[int, ...]
    """Epochs after which a trial may be stopped."""
    whole_epochs: int
    """Number of epochs without stopping."""
    epochs: Range
    seconds: Range
    """Duration of the whole command."""
    seconds_of_first: tuple[float, ...]
    """At index n: seconds until trials 0..n have ended, in 95% of the simulations."""

    def trials_within(self, seconds: float) -> int:
        """Return how many trials end within `seconds` in 95% of the simulations."""
        return sum(end <= seconds for end in self.seconds_of_first)


def forecast(plan: StudyConfig, costs: EpochCosts, workers: int, done: int = 0) -> Forecast:
    """Simulate a search.

    Args:
        plan: configuration of the study.
        costs: result of a probe.
        workers: number of parallel trials.
        done: number of trials that the study has already finished.
    """
    rng = default_rng(0)
    count = max(40, min(400, SIMULATED_TRIALS // plan.n_trials))
    epochs, ends = zip(*(_simulate(plan, costs, workers, done, rng) for _ in range(count)), strict=True)
    trained, over = np.array(epochs), np.array(ends)  # (simulations,), (simulations, trials)
    return Forecast(
        rungs=tuple(plan.stopping.rungs(plan.epochs) if plan.stopping else ()),
        whole_epochs=(plan.n_trials - done) * plan.epochs,
        epochs=Range.of(trained),
        seconds=Range.of(over[:, -1]),
        seconds_of_first=tuple(np.quantile(over, 0.95, axis=0).tolist()),
    )


def _simulate(
    plan: StudyConfig, costs: EpochCosts, workers: int, done: int, rng: Generator
) -> tuple[int, NDArray[np.float64]]:
    """Return the number of epochs, and for each n the seconds until trials 0..n have ended."""
    epochs = epochs_of_trials(plan, rng)
    epochs[:done] = 0
    speed = float(np.exp(rng.normal(0, SPEED)))
    start = rng.uniform(*STARTS) * costs.start + rng.uniform(*WAITS)
    seconds = epochs * costs_of_trials(plan.n_trials, costs, rng) * speed + TRIAL_SECONDS
    seconds[:done] = 0
    rule = plan.stopping
    over = completion_times(
        seconds.tolist(),
        workers,
        plan.window,
        epochs=epochs.tolist(),
        rungs=rule.rungs(plan.epochs) if rule else [],
        together=min(1 if rule is None else rule.cohort, plan.n_trials),
    )
    return int(epochs.sum()), start + over


def costs_of_trials(n_trials: int, costs: EpochCosts, rng: Generator) -> NDArray[np.float64]:
    """Return (n_trials,) seconds per epoch: measured for the first trials, drawn for later ones."""
    later = max(0, n_trials - len(costs.own))
    pool = np.array(costs.others or costs.own)
    favourites = rng.choice(pool, FAVOURITES)
    drawn = np.where(rng.random(later) < 0.5, rng.choice(favourites, later), rng.choice(pool, later))
    return np.concatenate([costs.own[:n_trials], drawn])


def epochs_of_trials(plan: StudyConfig, rng: Generator) -> NDArray[np.int64]:
    """Return (n_trials,) the number of epochs of each trial, by the study's rule and random qualities.

    Later trials are better than earlier ones by a random amount of up to one standard deviation, so fewer of them are
    stopped. Patience ends a trial at a random later epoch.
    """
    n, rule = plan.n_trials, plan.stopping
    epochs = np.full(n, plan.epochs)
    if plan.patience is not None:
        epochs = rng.integers(min(plan.patience + 1, plan.epochs), plan.epochs, n, endpoint=True)
    if rule is None:
        return epochs
    rungs = rule.rungs(plan.epochs)
    quality = rng.normal(size=n) + rng.uniform(0, 1) * np.arange(n) / n
    noise = rng.normal(size=(len(rungs), n)) * np.sqrt(1 / PERSISTENCE**2 - 1)
    return apply_halving(epochs, quality + noise, rungs, rule.reduction, rule.cohort)


def apply_halving(
    epochs: NDArray[np.int64], scores: NDArray[np.float64], rungs: Sequence[int], reduction: int, together: int
) -> NDArray[np.int64]:
    """Return (n,) the number of epochs of each trial under successive halving.

    Args:
        epochs: (n,) number of epochs of each trial if it is not stopped.
        scores: (rungs, n) best score of each trial up to each rung.
        rungs: epochs after which a trial may be stopped.
        reduction: the best 1/reduction of the trials continue past each rung.
        together: size of the cohort: these first trials are compared with one another, others with earlier trials.
    """
    rule = SuccessiveHalving(reduction=reduction, cohort=together)
    left = epochs.copy()
    for score, rung in zip(scores, rungs, strict=True):
        there = np.where(left >= rung, score, -np.inf)
        for trial in (np.flatnonzero(left[1:] > rung) + 1).tolist():  # trial 0 is never stopped
            peers = there[: rule.n_peers(trial)]
            reached = int((peers > -np.inf).sum()) - int(trial < len(peers))
            if rule.decide(better=int((peers > score[trial]).sum()), reached=reached) == Decision.STOP:
                left[trial] = rung
    return left


def to_dict(interval: Range, digits: int = 1) -> dict[str, Any]:
    """Return the range for JSON."""
    return {name: round(getattr(interval, name), digits) for name in ("low", "middle", "high")}
