"""How long a search takes, before it is run: simulated many times from what a probe measured. Pure.

One simulation draws what no probe can know: how good each trial turns out, so who is stopped at a rung; what settings
the sampler comes to prefer, so what later trials cost; and how fast the machine is on the day. Then it hands the trials
to the workers in the study's order, waiting at rungs and at the window's edge as the searcher does. The interval holds
nine in ten.
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
"""Over all simulations of one forecast."""
FAVOURITES = 3
"""A sampler comes to stay near a few settings: later trials of a simulation cost what some of these drawn ones do."""
SPEED = 0.08
"""Standard deviation of the logarithm of the machine's speed on the day, against the probe's."""
PERSISTENCE = 0.8
"""Correlation between how good a trial is and where it stands at a rung."""
STARTS = (1.6, 3.5)
"""A command's time without trials, as a multiple of what one process of the probe takes to start: the driver, Ray and a
worker start one after the other, and the end takes a moment too."""
WAITS = (3.5, 5.0)
"""Seconds more of it that no processor shortens: Ray waits for its node, and for its processes when it ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochCosts:
    """Seconds of an epoch, as a probe measured them with as many trials at once as the study will run."""

    own: tuple[float, ...]
    """Of the study's own first trials, in order: those that depend on no outcome."""
    others: tuple[float, ...]
    """Of settings drawn from the space at random; at least one where the study has more trials than `own`."""
    start: float
    """What a process of the probe took to start, torch and the corpus included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """What to expect: in nine of ten simulations from `low` to `high`."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Range":
        """Of simulated values, (n,)."""
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return cls(low=float(low), middle=float(middle), high=float(high))


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a search comes to."""

    rungs: tuple[int, ...]
    """Epochs after which a trial may be stopped."""
    whole_epochs: int
    """Without stopping."""
    epochs: Range
    seconds: Range
    """From the command to the table."""
    seconds_of_first: tuple[float, ...]
    """Place n: until trials 0..n are over, in nineteen of twenty simulations."""

    def trials_within(self, seconds: float) -> int:
        """How many trials are over after so many seconds, all but surely."""
        return sum(end <= seconds for end in self.seconds_of_first)


def forecast(plan: StudyConfig, costs: EpochCosts, workers: int, done: int = 0) -> Forecast:
    """Simulate a search.

    Args:
        plan: what is searched.
        costs: from a probe.
        workers: trials at once.
        done: trials that the study has already finished.
    """
    rng = default_rng(0)
    count = max(40, min(400, SIMULATED_TRIALS // plan.n_trials))
    epochs, ends = zip(*(_simulated(plan, costs, workers, done, rng) for _ in range(count)), strict=True)
    trained, over = np.array(epochs), np.array(ends)  # (simulations,), (simulations, trials)
    rule = plan.stopping
    return Forecast(
        rungs=tuple(_rungs(rule, plan.epochs)),
        whole_epochs=(plan.n_trials - done) * plan.epochs,
        epochs=Range.of(trained),
        seconds=Range.of(over[:, -1]),
        seconds_of_first=tuple(np.quantile(over, 0.95, axis=0).tolist()),
    )


def _simulated(
    plan: StudyConfig, costs: EpochCosts, workers: int, done: int, rng: Generator
) -> tuple[int, NDArray[np.float64]]:
    """Epochs trained, and for each n when trials 0..n are over."""
    epochs = epochs_of_trials(plan, rng)
    epochs[:done] = 0
    speed = float(np.exp(rng.normal(0, SPEED)))
    start = rng.uniform(*STARTS) * costs.start + rng.uniform(*WAITS)
    seconds = epochs * costs_of_trials(plan.n_trials, costs, rng) * speed + TRIAL_SECONDS
    seconds[:done] = 0
    rule = plan.stopping
    together = 1 if rule is None else rule.cohort
    over = completion_times(
        seconds.tolist(),
        workers,
        plan.window,
        epochs=epochs.tolist(),
        rungs=_rungs(rule, plan.epochs),
        together=min(together, plan.n_trials),
    )
    return int(epochs.sum()), start + over


def costs_of_trials(n_trials: int, costs: EpochCosts, rng: Generator) -> NDArray[np.float64]:
    """(n_trials,) seconds of an epoch of each trial: its own, and later ones from some favourites or all drawn."""
    later = max(0, n_trials - len(costs.own))
    pool = np.array(costs.others or costs.own)
    favourites = rng.choice(pool, FAVOURITES)
    drawn = np.where(rng.random(later) < 0.5, rng.choice(favourites, later), rng.choice(pool, later))
    return np.concatenate([costs.own[:n_trials], drawn])


def epochs_of_trials(plan: StudyConfig, rng: Generator) -> NDArray[np.int64]:
    """(n_trials,) how many epochs each trial runs: the study's rule on qualities that are drawn.

    Later trials are better than earlier ones by up to one standard deviation, which is drawn too: then fewer are
    stopped. A trial's own patience ends it anywhere after that many epochs.
    """
    n, rule = plan.n_trials, plan.stopping
    epochs = np.full(n, plan.epochs)
    if plan.patience is not None:
        epochs = rng.integers(min(plan.patience + 1, plan.epochs), plan.epochs, n, endpoint=True)
    if rule is None:
        return epochs
    rungs = _rungs(rule, plan.epochs)
    quality = rng.normal(size=n) + rng.uniform(0, 1) * np.arange(n) / n
    noise = rng.normal(size=(len(rungs), n)) * np.sqrt(1 / PERSISTENCE**2 - 1)
    return apply_halving(epochs, quality + noise, rungs, rule.reduction, rule.cohort)


def apply_halving(
    epochs: NDArray[np.int64], scores: NDArray[np.float64], rungs: Sequence[int], reduction: int, together: int
) -> NDArray[np.int64]:
    """What `Halving` leaves of trials' epochs.

    Args:
        epochs: (n,) of each trial if it is not stopped.
        scores: (rungs, n) best so far of each trial at each rung.
        rungs: the epochs after which a trial may be stopped.
        reduction: one in so many goes on.
        together: trial n is compared with those before it, the first `together` with one another.
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


def _rungs(rule: SuccessiveHalving | None, epochs: int) -> list[int]:
    return [] if rule is None else rule.rungs(epochs)


def to_dict(interval: Range, digits: int = 1) -> dict[str, Any]:
    """As JSON shows it."""
    return {name: round(getattr(interval, name), digits) for name in ("low", "middle", "high")}
