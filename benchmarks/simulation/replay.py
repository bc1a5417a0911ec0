"""Replay searches on recorded learning curves, in simulated time.

The nearest recorded configuration that is still unused replaces a suggestion, and the sampler sees its parameters. A
search therefore never sees a curve that was not measured. A random search draws from the recorded configurations
themselves, which were drawn at random.

An epoch takes its recorded seconds, with noise. The virtual cost of an epoch is the recorded seconds with an error, in
epochs of the median curve. Error and noise depend on the seed and the curve alone, so all rules get the same ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from optuna.trial import TrialState, create_trial

from benchmarks.simulation.curves import Curve, Places, Table
from benchmarks.simulation.unordered import Unordered
from tuning.scheduling.asha import Asha
from tuning.scheduling.simulated_backend import JOB_SECONDS, Decider, ScoreFunction, simulate
from tuning.scheduling.study_config import MIN_LAG, StudyConfig
from tuning.scheduling.suggester import Suggester
from tuning.scheduling.virtual_clock import VirtualClock, VisibleResult
from tuning.space.portfolio import FirstTrials

CLOSE = 0.003
"""Maximum distance to the best accuracy that counts as close: 0.3 points."""
CLOCK, UNORDERED, STOPPING = "virtual clock", "no order", "Ray's ASHA"
"""Orders: the virtual clock; the same rule with all results so far; Ray's stopping form with all results so far."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Sampler, rule and order of a simulated search."""

    sampler: str = "random"
    """`random` draws from the table; otherwise one of tuning.scheduling.samplers.SAMPLERS."""
    rule: Asha | None = field(default_factory=Asha)
    """None trains every trial in full."""
    order: str = CLOCK
    """CLOCK, UNORDERED or STOPPING."""
    parallelism: int = 2
    """Number of virtual workers, and of real ones."""
    lag: float = MIN_LAG
    trials: int = 48
    startup: int = 6
    first_trials: FirstTrials = FirstTrials()  # noqa: RUF009 (it is frozen)
    """Trials that follow the baseline; not used by the sampler `random`, which draws from the table."""
    error: float = 0.30
    """Standard deviation of the logarithm of a configuration's virtual cost, divided by its seconds."""
    noise: float = 0.15
    """Standard deviation of the logarithm of an epoch's seconds."""


@dataclass
class Replayed:
    """The result of a simulated search after each trained epoch, in the order of their ends."""

    seconds: list[float]
    best: list[float]
    curves: list[int]
    """Index of the curve of each trial."""
    epochs_by_trial: list[int]
    utilization: float
    """Fraction of the workers' time in which they had a job."""

    @property
    def wall(self) -> float:
        """Simulated seconds of the search."""
        return self.seconds[-1]

    def epochs_until(self, accuracy: float) -> float:
        """Return the number of epochs until the best so far reached `accuracy`; infinite if it never did."""
        return next((i for i, best in enumerate(self.best, 1) if best >= accuracy), math.inf)

    def seconds_until(self, accuracy: float) -> float:
        """Return the simulated seconds until the best so far reached `accuracy`; infinite if it never did."""
        return next((time for time, best in zip(self.seconds, self.best, strict=True) if best >= accuracy), math.inf)


def replay(table: Table, policy: Policy, seed: int) -> Replayed:
    """Replay one search over a table, at most one trial per curve."""
    chooser = Chooser(table, policy, seed)
    unit = median(curve.seconds for curve in table.curves)
    timings: list[Timing] = []  # by trial

    def start(trial: int, log: Sequence[VisibleResult]) -> float:
        chosen = chooser.choose(log)
        timings.append(Timing(table, chosen, policy, seed))
        return timings[trial].cost / unit

    ends = simulate(
        lambda score: new_decider(table, policy, start, score),
        score=lambda trial, epoch: chooser.curve(trial).scores[epoch - 1],
        seconds=lambda trial, epoch: timings[trial].seconds[epoch - 1],
        workers=policy.parallelism,
    )
    epochs = [0] * len(timings)
    best: list[float] = []
    jobs = 0
    last: dict[int, float] = {}  # trial -> seconds of its latest end
    for end in ends:
        # An epoch that begins later than its trial's latest end begins a job.
        jobs += end.seconds - timings[end.trial].seconds[end.epoch - 1] > last.get(end.trial, -1.0) + JOB_SECONDS / 2
        last[end.trial] = end.seconds
        epochs[end.trial] += 1
        accuracy = chooser.curve(end.trial).epochs[end.epoch - 1].val_accuracy
        best.append(max([*best[-1:], accuracy]))
    busy = jobs * JOB_SECONDS + sum(timings[end.trial].seconds[end.epoch - 1] for end in ends)
    return Replayed(
        seconds=[end.seconds for end in ends],
        best=best,
        curves=chooser.chosen,
        epochs_by_trial=epochs,
        utilization=busy / (policy.parallelism * ends[-1].seconds),
    )


def new_decider(
    table: Table, policy: Policy, start: Callable[[int, Sequence[VisibleResult]], float], score: ScoreFunction
) -> Decider:
    """Return the policy's order, which calls `start` with each new trial and the visible results."""
    n_trials = min(policy.trials, len(table.curves))
    if policy.order == CLOCK:
        clock = VirtualClock(
            n_trials=n_trials,
            epochs=table.epochs,
            parallelism=policy.parallelism,
            lag=policy.lag,
            rule=policy.rule,
            start=lambda trial: start(trial, clock.log),
            score=score,
        )
        return clock
    free = Unordered(
        n_trials=n_trials,
        epochs=table.epochs,
        rule=policy.rule,
        stops=policy.order == STOPPING,
        start=lambda trial: start(trial, free.log),
        score=score,
    )
    return free


class Timing:
    """The seconds of a trial's epochs, and the virtual cost of one in seconds."""

    def __init__(self, table: Table, curve: int, policy: Policy, seed: int) -> None:
        recorded = table.curves[curve].seconds
        draw = np.random.default_rng([seed, curve])
        self.cost = recorded * math.exp(policy.error * draw.normal())
        self.seconds = (recorded * np.exp(policy.noise * draw.normal(size=table.epochs))).tolist()


class Chooser:
    """Chooses the curve of each new trial."""

    def __init__(self, table: Table, policy: Policy, seed: int) -> None:
        self.table = table
        self.chosen: list[int] = []
        """Index of each trial's curve."""
        self._order = trial_order(table, seed)
        self._suggester: Suggester | None = None
        if policy.sampler != "random":
            config = StudyConfig(
                space=table.space,
                n_trials=policy.trials,
                epochs=table.epochs,
                parallelism=policy.parallelism,
                seed=seed,
                stopping=policy.rule,
                sampler=policy.sampler,
                startup=policy.startup,
                first_trials=policy.first_trials,
            )
            self._suggester = Suggester(config)
            self._places = Places(table.space, [curve.params for curve in table.curves])
            self._used = np.zeros(len(table.curves), dtype=bool)

    def curve(self, trial: int) -> Curve:
        """Return the curve of a trial."""
        return self.table.curves[self.chosen[trial]]

    def choose(self, log: Sequence[VisibleResult]) -> int:
        """Return the index of the next trial's curve."""
        if self._suggester is None:
            self.chosen.append(self._order[len(self.chosen)])
            return self.chosen[-1]
        wanted = self._suggester.suggest(log).params
        nearest = int(np.where(self._used, np.inf, self._places.distances(wanted)).argmin())
        self._used[nearest] = True
        self.chosen.append(nearest)
        curve = self.table.curves[nearest]
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(curve.params),
            distributions=self.table.space.distributions(curve.params),
            user_attrs={"config": dict(curve.config), "origin": "sampler"},
        )
        self._suggester.add(trial)
        return nearest


def trial_order(table: Table, seed: int) -> list[int]:
    """Return the order in which random search takes the curves: the baseline first, as in a study."""
    return [0, *(1 + np.random.default_rng(seed).permutation(len(table.curves) - 1)).tolist()]


def or_never(value: float, form: str) -> str:
    """Format a value that may be infinite."""
    return "never" if math.isinf(value) else format(value, form)


def band(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 10% quantile, the median and the 90% quantile; values may be infinite."""
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.1, 0.5, 0.9))  # type: ignore[return-value]
