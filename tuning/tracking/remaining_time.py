"""The remaining time of a search, by a simulation of its rest (tuning.scheduling.simulated_backend)."""

import dataclasses
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core.config import TrialConfig
from tuning.scheduling.asha import FAILED
from tuning.scheduling.budget import BudgetCheck
from tuning.scheduling.simulated_backend import simulate
from tuning.scheduling.study_config import StudyConfig

Epochs = Mapping[int, Sequence[tuple[float, float]]]
"""Score and seconds of each epoch, by trial."""
SHARE = 0.02
"""Share of the time that simulations and comparisons may take: the result of one that took a second is used for 50."""
UNKNOWN = -1e6
"""Below each score: that of an epoch that no trial has reached is no new best, and reaches no target."""


@dataclass(kw_only=True)
class RemainingTime:
    """Estimates the remaining time of one study.

    It keeps an estimate until something changes, so that the time counts down within an epoch. It also keeps it for a
    while, because a new one takes long if many trials are left.
    """

    config: StudyConfig
    cost: Callable[[TrialConfig], float]
    """Virtual cost of an epoch."""
    workers: int
    costs: dict[int, float] = field(default_factory=dict)
    """Virtual cost of each trial that has started; trials that repeat another one have none."""
    closed: set[int] = field(default_factory=set)
    """Trials that have ended and cannot continue: complete, perhaps by `--patience`, or failed."""
    _kept: float | None = field(default=None, init=False)
    _made: float = field(default=0.0, init=False)
    _valid_until: float = field(default=-math.inf, init=False)
    _state: object = field(default=None, init=False)

    def add(self, number: int, config: TrialConfig) -> None:
        """Record a trial that has started."""
        if number not in self.costs:
            self.costs[number] = self.cost(config)

    def seconds(self, epochs: Callable[[], Epochs]) -> float | None:
        """Return the estimate, or None before the first epoch.

        Args:
            epochs: Called for a new estimate; returns score and seconds of each epoch, by trial.
        """
        now = time.monotonic()
        if work := self.new_estimate(epochs):
            work()
        return None if self._kept is None else max(0.0, self._kept - max(0.0, now - self._made))

    def new_estimate(self, epochs: Callable[[], Epochs]) -> Callable[[], None] | None:
        """Return the work for a new estimate, as a function of a copy of this state; None if the last one holds."""
        now = time.monotonic()
        if self._kept is not None and now < self._valid_until:
            return None
        known, copied = epochs(), dataclasses.replace(self, costs=dict(self.costs), closed=set(self.closed))
        state = known, copied.costs, copied.closed
        if self._kept is not None and state == self._state:
            compared = time.monotonic()
            self._valid_until = compared + (compared - now) / SHARE
            return None

        def work() -> None:
            began = time.monotonic()
            self._kept, self._made, self._state = copied._estimate(known), now, state
            self._valid_until = began + (time.monotonic() - began) / SHARE

        return work

    def _estimate(self, epochs: Epochs) -> float | None:
        trained = {number: len(rows) for number, rows in epochs.items() if rows and number in self.costs}
        work = sum(self.costs[number] * count for number, count in trained.items())
        if not work:
            return None
        pace = sum(seconds for number in trained for _, seconds in epochs[number]) / work
        mean_cost = sum(self.costs.values()) / len(self.costs)
        n_started = len(self.costs)
        n_copies = sum(number not in self.costs for number in epochs)
        new = self.config.n_trials - n_started - n_copies
        n_trials = n_started + round(max(0, new) * n_started / (n_started + n_copies))
        numbers = sorted(self.costs)  # in the simulation, trials that repeat another one are left out
        costs = [self.costs[number] for number in numbers] + [mean_cost] * (n_trials - n_started)
        rows = [self._rows(number, epochs.get(number, ())) for number in numbers]
        budget = BudgetCheck(self.config.budget)

        ends = simulate(
            lambda score: self.config.clock(
                n_trials=n_trials,
                start=costs.__getitem__,
                score=score,
                ended=lambda log: budget.update(log, 0) is not None,
            ),
            _score_model(rows),
            lambda trial, epoch: costs[trial] * pace,
            self.workers,
            {at: len(row) for at, row in enumerate(rows)},
        )
        return ends[-1].seconds if ends else 0.0

    def _rows(self, number: int, rows: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
        """Return the epochs of a trial that need no training: of a closed one all, with its best score."""
        missing = self.config.epochs - len(rows) if number in self.closed else 0
        return [*rows, *[(max((score for score, _ in rows), default=FAILED), 0.0)] * missing]


def _score_model(rows: Sequence[Sequence[tuple[float, float]]]) -> Callable[[int, int], float]:
    """Return known scores, and for an epoch that is not trained yet a score of the known trials at this epoch.

    A score is drawn again at each rung: all trials that were promoted to it are good, and a good trial is not better
    than they are. `rows` has score and seconds of each epoch so far, by trial.
    """
    drawn = random.Random(0)
    scores: dict[tuple[int, int], float] = {}
    pools: dict[int, list[float]] = {}

    def score(trial: int, epoch: int) -> float:
        if trial < len(rows) and len(rows[trial]) >= epoch:
            return max(value for value, _ in rows[trial][:epoch])
        if epoch not in pools:
            bests = [max(a for a, _ in row[:epoch]) for row in rows if len(row) >= epoch]
            pools[epoch] = [best for best in bests if best != FAILED]  # a trial without an epoch has reached no rung
        if (trial, epoch) not in scores:
            scores[trial, epoch] = drawn.choice(pools[epoch]) if pools[epoch] else UNKNOWN + drawn.random()
        return scores[trial, epoch]

    return score
