"""Forecast the duration of a search with many simulations, based on a probe. Pure.

Each simulation draws what a probe cannot measure: the quality of each trial, which decides whether it continues at a
rung; the configurations that the sampler will prefer, which decide the cost of later trials; and the speed of the
machine. The search's own clock then decides, in simulated time (tuning.scheduling.simulated_backend). A range contains
90% of the simulations.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from tuning.scheduling.asha import FAILED
from tuning.scheduling.simulated_backend import simulate
from tuning.scheduling.study_config import StudyConfig

SIMULATED_TRIALS = 30_000
"""Number of trials in all simulations of one forecast together."""
MAX_SIMULATED = 3_000
"""Number of trials in one simulation. A longer search is scaled: 10 simulations of 100,000 trials would take 18 s."""
Known = Mapping[int, Sequence[float]]
"""Best scores after each epoch that needs no training, by trial; FAILED for the missing epochs of a failed trial, and
for all of a copy."""
FAVOURITES = 3
"""Number of configurations that a sampler prefers: half of the later trials cost as much as one of these."""
SPEED = 0.08
"""Standard deviation of the logarithm of the machine's speed during the search, relative to the probe."""
COST_ERROR = 0.25
"""Standard deviation of the logarithm of an epoch's time, relative to its virtual cost."""
PATIENCE_ENDS = (0.05, 0.7)
"""Share of the trials that `--patience` ends early, in a simulation: of 100 recorded ones, it ended 6 to 70."""
PERSISTENCE = 0.8
"""Correlation between the final quality of a trial and its score at a rung."""
COST_QUALITY = 0.4
"""Correlation of a trial's final quality with the logarithm of its cost: 0.0 and 0.4 in two recorded spaces. In
replayed searches there, an epoch cost 1.2 times as much as one of a random configuration."""
STARTS = (1.6, 3.5)
"""Time of a command without its trials, as a multiple of the start of a probe's process: the driver, Ray and a worker
start one after the other."""
WAITS = (3.5, 5.0)
"""Additional seconds that do not depend on the processor: Ray waits for its node, and at its end for its processes."""


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

    def to_dict(self, digits: int) -> dict[str, float]:
        """Return the range for JSON."""
        return {name: round(getattr(self, name), digits) for name in ("low", "middle", "high")}


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


def forecast(plan: StudyConfig, costs: EpochCosts, workers: int, trained: Known = MappingProxyType({})) -> Forecast:
    """Simulate a search.

    Args:
        plan: Configuration of the study.
        costs: Result of a probe.
        workers: Number of parallel trials.
        trained: What the study has already trained.
    """
    rng = default_rng(0)
    count = max(10, min(300, SIMULATED_TRIALS // plan.n_trials))
    simulated, known, factor = plan, trained, 1.0
    if plan.n_trials > MAX_SIMULATED:  # only new trials: of those that have begun, few epochs are left
        new = plan.n_trials - len(trained)
        simulated, known = dataclasses.replace(plan, n_trials=max(1, min(new, MAX_SIMULATED))), {}
        factor = new / simulated.n_trials
    runs = [_simulate(simulated, costs, workers, known, rng, factor) for _ in range(count)]
    epochs, seconds = zip(*runs, strict=True)
    return Forecast(
        rungs=tuple(plan.stopping.rungs(plan.epochs) if plan.stopping else ()),
        whole_epochs=plan.n_trials * plan.epochs - sum(map(len, trained.values())),
        epochs=Range.of(np.array(epochs)),
        seconds=Range.of(np.array(seconds)),
    )


def _simulate(
    plan: StudyConfig, costs: EpochCosts, workers: int, trained: Known, rng: Generator, factor: float
) -> tuple[float, float]:
    """Return the number of epochs, and the seconds of the whole command; its trials count `factor` times."""
    n = plan.n_trials
    seconds = costs_of_trials(n, costs, rng)
    virtual = seconds / np.median(seconds) * np.exp(rng.normal(0, COST_ERROR, n))
    seconds = seconds * np.exp(rng.normal(0, SPEED))
    ends = ends_of_trials(plan, rng)
    scores = scores_of_trials(plan, seconds, rng)
    rank_as_trained(scores, trained, [*(plan.stopping.rungs(plan.epochs) if plan.stopping else ()), plan.epochs])
    epochs = simulate(
        lambda score: plan.clock(start=virtual.tolist().__getitem__, score=score),
        lambda trial, epoch: float(scores[trial, epoch - 1]),
        lambda trial, epoch: float(seconds[trial]) if epoch <= ends[trial] else 0.0,
        workers,
        {trial: len(row) for trial, row in trained.items()},
    )
    start = rng.uniform(*STARTS) * costs.start + rng.uniform(*WAITS)
    n_epochs = sum(e.epoch <= ends[e.trial] for e in epochs)
    return factor * n_epochs, start + factor * (epochs[-1].seconds if epochs else 0.0)


def costs_of_trials(n_trials: int, costs: EpochCosts, rng: Generator) -> NDArray[np.float64]:
    """Return (n_trials,) seconds per epoch: measured for the first trials, drawn for later ones."""
    later = max(0, n_trials - len(costs.own))
    pool = np.array(costs.others or costs.own)
    favourites = rng.choice([*costs.own, *costs.others], FAVOURITES)
    drawn = np.where(rng.random(later) < 0.5, rng.choice(favourites, later), rng.choice(pool, later))
    return np.concatenate([costs.own[:n_trials], drawn])


def ends_of_trials(plan: StudyConfig, rng: Generator) -> list[int]:
    """Return (n_trials,) the epoch after which each trial ends: its last, or a random one at which patience ends it."""
    n = plan.n_trials
    if plan.patience is None:
        return [plan.epochs] * n
    early = rng.integers(min(plan.patience + 1, plan.epochs), plan.epochs, n, endpoint=True)
    ends: list[int] = np.where(rng.random(n) < rng.uniform(*PATIENCE_ENDS), early, plan.epochs).tolist()
    return ends


def scores_of_trials(plan: StudyConfig, seconds: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Return (n_trials, epochs) scores by random qualities.

    Trials with more `seconds` per epoch, (n_trials,), are better. Later trials are better than earlier ones by a random
    amount of up to one standard deviation, because the sampler learns.
    """
    n, costs = plan.n_trials, np.log(seconds)
    costs = (costs - costs.mean()) / max(costs.std(), 1e-9)
    quality = COST_QUALITY * costs + np.sqrt(1 - COST_QUALITY**2) * rng.normal(size=n)
    quality += rng.uniform(0, 1) * np.arange(n) / n
    noise = rng.normal(size=(n, plan.epochs)) * np.sqrt(1 / PERSISTENCE**2 - 1)
    return np.asarray(quality[:, None] + noise)


def rank_as_trained(scores: NDArray[np.float64], trained: Known, stops: Sequence[int]) -> None:
    """Exchange drawn scores so that trained trials have their real order at each stop.

    Those that have reached a stop get the best scores drawn there for trained trials: the others were not promoted.
    """
    for at in (stop - 1 for stop in stops):
        reached = {trial: row[at] for trial, row in trained.items() if len(row) > at}
        ranked = sorted(reached, key=lambda trial: (reached[trial], -trial))
        best = np.sort(scores[list(trained), at])[len(trained) - len(ranked) :]
        scores[ranked, at] = np.where([reached[trial] == FAILED for trial in ranked], FAILED, best)
