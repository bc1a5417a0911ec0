"""Replay searches on recorded learning curves, in simulated time.

A suggestion is replaced by the nearest recorded configuration that is still unused, and the sampler sees the recorded
configuration's own parameters; so a search never sees a curve that was not measured. A random search draws from the
recorded configurations themselves, which were drawn at random. An epoch takes its recorded seconds.
"""

import bisect
import dataclasses
import gzip
import heapq
import json
import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, RungTable, SuccessiveHalving
from tuning.scheduling.suggester import Suggester
from tuning.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One recorded trial."""

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    epochs: tuple[EpochResult, ...]
    """At least one epoch; fewer than in other curves if the loss became NaN."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The recorded trials of one space."""

    space: Space
    epochs: int
    curves: tuple[Curve, ...]

    @property
    def best(self) -> float:
        """Highest accuracy in the table."""
        return max(epoch.val_accuracy for curve in self.curves for epoch in curve.epochs)


def read_table(path: Path, space_name: str) -> Table:
    """Read one space's curves from a file of benchmarks/simulation/record_curves.py."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    space = Space.from_json(json.dumps(content["spaces"][space_name]))
    curves = []
    for trial in content["curves"]:
        if trial["space"] == space_name and trial["curve"]:
            epochs = tuple(
                EpochResult(epoch=i, train_loss=0.0, val_loss=loss, val_accuracy=accuracy, seconds=trial["seconds"])
                for i, (accuracy, loss) in enumerate(trial["curve"], 1)
            )
            params = space.to_params(TrialConfig.from_dict(trial["config"]))
            curves.append(Curve(config=trial["config"], params=params, epochs=epochs))
    return Table(space=space, epochs=content["epochs"], curves=tuple(curves))


def distance(space: Space, left: Mapping[str, Any], right: Mapping[str, Any]) -> float:
    """Sum the distances over dimensions.

    A numeric dimension counts as a fraction of its range, on a log scale if it has one. A different choice, or a
    dimension that only one of them has, counts as 1.
    """
    total = 0.0
    for dimension in space.dimensions:
        name, values = dimension.name, dimension.distribution
        if (name in left) != (name in right):
            total += 1
        elif name in left:
            a, b = left[name], right[name]
            if isinstance(values, CategoricalDistribution):
                total += a != b
            elif values.high > values.low:  # type: ignore[attr-defined]
                scale: Callable[[float], float] = math.log if values.log else float  # type: ignore[attr-defined]
                total += abs(scale(a) - scale(b)) / (scale(values.high) - scale(values.low))  # type: ignore[attr-defined]
    return total


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Sampler, stopping rule and order of a simulated search."""

    sampler: str = "random"
    """`random` draws from the table; otherwise one of tuning.scheduling.samplers.SAMPLERS."""
    stopping: SuccessiveHalving | None = None
    ordered: bool = True
    """Whether suggestions and stops see only trials 0..n-window; otherwise all past events, as Ray's ASHA."""
    window: int = 8
    workers: int = 2
    trials: int = 40
    startup: int = 6
    constant_liar: bool = True
    together: int | None = None
    """Number of first trials that are compared with one another; None: the window, as in a study."""
    top_k: int | None = None
    """Train all trials for one epoch, then the best k to their end."""


@dataclass
class Run:
    """A trial in the simulation."""

    number: int
    curve: int
    limit: int
    """Number of epochs after which the trial ends."""
    done: int = 0
    over: bool = False
    stopped: bool = False


@dataclass
class Replayed:
    """The result of a simulated search after each trained epoch, in the order of their ends."""

    seconds: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    curves: list[int] = field(default_factory=list)
    """Index of the curve of each trial."""
    epochs_by_trial: list[int] = field(default_factory=list)

    def epochs_until(self, accuracy: float) -> float:
        """Return the number of epochs until the best so far reached `accuracy`; infinite if it never did."""
        return next((i for i, best in enumerate(self.best, 1) if best >= accuracy), math.inf)

    def best_at(self, seconds: float) -> float:
        """Return the best accuracy so far at a simulated time; 0 before the end of the first epoch."""
        done = bisect.bisect_right(self.seconds, seconds)
        return self.best[done - 1] if done else 0.0

    def seconds_until(self, accuracy: float) -> float:
        """Return the simulated seconds until the best so far reached `accuracy`; infinite if it never did."""
        return next((time for time, best in zip(self.seconds, self.best, strict=True) if best >= accuracy), math.inf)


class Simulation:
    """One search over a table."""

    def __init__(self, table: Table, policy: Policy, seed: int, until: float = math.inf, least: int = 0) -> None:
        """Prepare a search that ends once it has reached `until` and trained at least `least` epochs."""
        self.table, self.policy, self.until, self.least = table, policy, until, least
        self.unused = list(range(len(table.curves)))
        shuffled = 1 + np.random.default_rng(seed).permutation(len(table.curves) - 1)
        self.order = [0, *map(int, shuffled)]  # the baseline setting first, as in a study
        self.shown: dict[int, FrozenTrial] = {}  # trials that have ended
        self.runs: list[Run] = []
        self.ended: list[Run] = []
        self.running: list[Run] = []
        self.reached: dict[int, list[float]] = {}  # rung -> accuracies in the order of arrival
        self.found = Replayed()
        self.plan = StudyConfig(
            space=table.space,
            n_trials=policy.trials,
            epochs=table.epochs,
            window=policy.window,
            seed=seed,
            stopping=policy.stopping,
            sampler=policy.sampler,
            startup=policy.startup,
            constant_liar=policy.constant_liar,
        )
        self.suggester = Suggester(self.plan)
        rule = policy.stopping
        if rule is not None and policy.ordered:
            rule = dataclasses.replace(rule, cohort=policy.together or min(policy.window, policy.trials))
        self.rungs = RungTable(rule, table.epochs)
        self.waiting: dict[int, list[int]] = {rung: [] for rung in self.rungs.rungs}
        """Rung -> numbers of the trials that wait there without a worker."""
        self.ready: list[int] = []
        """Numbers of the waiting trials that may continue."""
        self.over = 0
        """Trials 0..over-1 have ended."""

    def run(self) -> Replayed:
        """Run the search to the end of its trials, or until it has reached its aim."""
        time = 0.0
        events: list[tuple[float, int]] = []  # (end of the epoch, trial number)
        limit = 1 if self.policy.top_k else self.table.epochs
        while True:
            while len(self.running) < self.policy.workers and (run := self._next(limit)):
                self.running.append(run)
                heapq.heappush(events, (time + self._seconds(run), run.number))
            if not events or (self.found.best[-1:] >= [self.until] and len(self.found.best) >= self.least):
                break
            time, number = heapq.heappop(events)
            run = self.runs[number]
            self._epoch(run, time)
            if run in self.running:
                heapq.heappush(events, (time + self._seconds(run), number))
        if self.policy.top_k:
            self._train_on(time, self.policy.top_k)
        self.found.curves = [run.curve for run in self.runs]
        self.found.epochs_by_trial = [run.done for run in self.runs]
        return self.found

    def _next(self, limit: int) -> Run | None:
        """Return a trial for a free worker: the lowest one that may continue, or a new one."""
        for numbers in self.waiting.values():  # a stopped trial may settle the next rung
            while numbers and (verdict := self._verdict(self.runs[numbers[0]])) != Decision.PAUSE:
                run = self.runs[numbers.pop(0)]
                if verdict == Decision.CONTINUE:
                    insort(self.ready, run.number)
                else:
                    self._end(run, stopped=True)
        if self.ready:
            return self.runs[self.ready.pop(0)]
        if not self._may_start():
            return None
        self.runs.append(Run(number=len(self.runs), curve=self._choose(), limit=limit))
        return self.runs[-1]

    def _may_start(self) -> bool:
        number = len(self.runs)
        seen = max(0, number - self.policy.window + 1) if self.policy.ordered else 0
        wanted = min(self.policy.trials, len(self.table.curves))
        while self.over < len(self.runs) and self.runs[self.over].over:
            self.over += 1
        return number < wanted and self.over >= seen

    def _choose(self) -> int:
        if self.policy.sampler == "random":
            return self.order[len(self.runs)]
        trials = self.runs if self.policy.ordered else [*self.ended, *self.running]
        if not self.policy.ordered:  # all ended trials are visible, in the order of their ends
            self.suggester.plan = dataclasses.replace(self.plan, window=len(self.running) + 1)
        wanted = self.suggester.suggest([self._shown(run) for run in trials]).params
        nearest = min(self.unused, key=lambda i: distance(self.table.space, wanted, self.table.curves[i].params))
        self.unused.remove(nearest)
        return nearest

    def _shown(self, run: Run) -> FrozenTrial:
        if run.number in self.shown:
            return self.shown[run.number]
        curve = self.table.curves[run.curve]
        epochs = curve.epochs[: run.done]
        state = TrialState.RUNNING if not run.over else TrialState.PRUNED if run.stopped else TrialState.COMPLETE
        trial = create_trial(
            state=state,
            params=dict(curve.params),
            distributions=self.table.space.distributions(curve.params),
            value=max(epoch.val_accuracy for epoch in epochs) if run.over else None,
            intermediate_values={epoch.epoch: epoch.val_accuracy for epoch in epochs},
            user_attrs={"config": dict(curve.config), "origin": "sampler"},
        )
        if run.over:
            self.shown[run.number] = trial
        return trial

    def _seconds(self, run: Run) -> float:
        return self.table.curves[run.curve].epochs[0].seconds

    def _epoch(self, run: Run, time: float) -> None:
        """Process the end of the trial's next epoch."""
        epochs = self.table.curves[run.curve].epochs
        run.done += 1
        self.found.seconds.append(time)
        self.found.best.append(max([*self.found.best[-1:], epochs[run.done - 1].val_accuracy]))
        self.rungs.record_scores(run.number, epochs[: run.done], over=False)
        if run.done >= min(run.limit, len(epochs)):
            self.running.remove(run)
            self._end(run)
            return
        verdict = self._verdict(run)
        if verdict != Decision.CONTINUE:
            self.running.remove(run)
        if verdict == Decision.PAUSE:
            insort(self.waiting[run.done], run.number)
        if verdict == Decision.STOP:
            self._end(run, stopped=True)

    def _end(self, run: Run, stopped: bool = False) -> None:
        run.over, run.stopped = True, stopped
        self.ended.append(run)
        self.rungs.record_scores(run.number, self.table.curves[run.curve].epochs[: run.done], over=True)

    def _verdict(self, run: Run) -> Decision:
        rule = self.policy.stopping
        if self.policy.ordered or rule is None or run.done not in self.rungs.rungs:
            return self.rungs.decide(run.number, run.done)
        accuracy = self.table.curves[run.curve].epochs[run.done - 1].val_accuracy
        return Decision.STOP if self._asha(run.done, accuracy, rule.reduction) else Decision.CONTINUE

    def _asha(self, rung: int, accuracy: float, reduction: int) -> bool:
        """Return whether Ray's AsyncHyperBandScheduler stops: below the top 1/reduction of the earlier arrivals."""
        before = self.reached.setdefault(rung, [])
        behind = bool(before) and bool(accuracy < np.nanpercentile(before, (1 - 1 / reduction) * 100))
        before.append(accuracy)
        return behind

    def _train_on(self, time: float, k: int) -> None:
        """Train the best k trials to their end, each on the next free worker."""
        first = sorted(self.runs, key=lambda run: -self.table.curves[run.curve].epochs[0].val_accuracy)[:k]
        free = [time] * self.policy.workers
        ends: list[tuple[float, Run]] = []
        for run in first:
            start = heapq.heappop(free)
            left = len(self.table.curves[run.curve].epochs) - 1
            ends += [(start + (i + 1) * self._seconds(run), run) for i in range(left)]
            heapq.heappush(free, start + left * self._seconds(run))
        for end, run in sorted(ends, key=lambda item: (item[0], item[1].number)):
            run.done += 1
            self.found.seconds.append(end)
            accuracy = self.table.curves[run.curve].epochs[run.done - 1].val_accuracy
            self.found.best.append(max(self.found.best[-1], accuracy))


def band(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 10% quantile, the median and the 90% quantile; values may be infinite."""
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.1, 0.5, 0.9))  # type: ignore[return-value]
