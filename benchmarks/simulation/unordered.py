"""Search without order: each decision uses all results that exist. Baselines of the virtual clock.

Both forms offer the method `next_job` of the virtual clock, so tuning.scheduling.simulated_backend drives them. Their
decisions depend on the speed of the workers.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from tuning.scheduling.asha import Asha, Rung
from tuning.scheduling.virtual_clock import BASELINE, NoJob, VirtualJob, VisibleResult


class Unordered:
    """Trials in the order of their results. `log` holds all results so far."""

    def __init__(
        self,
        *,
        n_trials: int,
        epochs: int,
        rule: Asha | None,
        stops: bool,
        start: Callable[[int], float | None],
        score: Callable[[int, int], float | None],
    ) -> None:
        """Begin without a result.

        Args:
            n_trials: Number of trials.
            epochs: Number of epochs of a trial that is trained in full.
            rule: The rungs, and the fraction that continues; None trains every trial in full.
            stops: False for the promotion form, as the virtual clock has it: a trial pauses at a rung until it is among
                the best 1/reduction. True for the stopping form, as Ray's AsyncHyperBandScheduler has it: a trial
                continues at once, or never.
            start: Called with the number of each new trial, in order.
            score: Returns the best score of the first epochs of a trial; None if it does not exist yet.
        """
        self.n_trials = n_trials
        self.stops = [*(rule.rungs(epochs) if rule else ()), epochs]
        self.log: list[VisibleResult] = []
        self.n_started = 0
        self._start, self._score, self._stopping = start, score, stops
        self._reduction = rule.reduction if rule else 2
        self._rungs = [Rung() for _ in self.stops[:-1]]
        self._reached: list[list[float]] = [[] for _ in self._rungs]  # the scores at each rung, in order of arrival
        self._training: dict[int, tuple[int, int]] = {}  # trial -> next stop with a result, last stop of its job
        self._continuing: deque[tuple[int, int]] = deque()  # (trial, its next stop)
        self._n_full = 0

    def next_job(self) -> VirtualJob | NoJob:
        """Return the job of a free worker."""
        self._see_results()
        if self._continuing:
            return self._assign(*self._continuing.popleft())
        for at in reversed(range(len(self._rungs))):
            trial = self._rungs[at].pop_promotable(self._reduction)
            if trial is not None:
                return self._assign(trial, at + 1)
        if self.n_started < self.n_trials:
            trial = self.n_started
            self._start(trial)
            self.n_started += 1
            return self._assign(trial, 0)
        if self._training:
            return NoJob.WAIT
        return self._train_one_in_full() or NoJob.DONE

    def _see_results(self) -> None:
        for trial, (at, last) in list(self._training.items()):
            while at <= last and (score := self._score(trial, self.stops[at])) is not None:
                self._see(trial, at, score)
                at += 1
                self._training[trial] = at, last
            if at > last:
                del self._training[trial]

    def _see(self, trial: int, at: int, score: float) -> None:
        self.log.append(VisibleResult(trial, self.stops[at], score))
        if at == len(self._rungs):
            return
        if not self._stopping:
            self._rungs[at].add(trial, score, pause=trial != BASELINE)
            return
        before = self._reached[at]
        if trial != BASELINE and (not before or score >= np.nanpercentile(before, 100 * (1 - 1 / self._reduction))):
            self._continuing.append((trial, at + 1))
        before.append(score)

    def _train_one_in_full(self) -> VirtualJob | None:
        for at in reversed(range(len(self._rungs))):
            if not self._n_full and (trial := self._rungs[at].pop_best()) is not None:
                return self._assign(trial, at + 1, len(self._rungs))
        return None

    def _assign(self, trial: int, first: int, last: int | None = None) -> VirtualJob:
        """Return the job that trains a trial from the stop before `first` to `last`, by default to `first`."""
        whole = len(self._rungs)
        last = whole if trial == BASELINE else first if last is None else last
        self._training[trial] = first, last
        self._n_full += trial != BASELINE and last == whole
        return VirtualJob(trial, 1 + (self.stops[first - 1] if first else 0), self.stops[last], 0.0, 0.0)
