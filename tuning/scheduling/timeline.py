"""Completion times of trials whose durations are known: the order of the Schedule in simulated time. Pure."""

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuning.scheduling.successive_halving import SuccessiveHalving

TRIAL_SECONDS = 0.2
"""Time of a trial besides its epochs: building the model, reporting to the driver, the next suggestion."""


def completion_times(
    seconds: Sequence[float],
    workers: int,
    window: int,
    *,
    epochs: Sequence[int] = (),
    rungs: Sequence[int] = (),
    together: int = 1,
) -> NDArray[np.float64]:
    """Return (n,) the times at which trials 0..n have all ended.

    Args:
        seconds: of each trial.
        workers: trials at once.
        window: trial n starts after trials 0..n-window have ended.
        epochs: of each trial, if there are rungs; a trial with as many epochs as a rung is stopped there.
        rungs: the epochs after which a trial is paused for its decision.
        together: size of the cohort, as in SuccessiveHalving.
    """
    times = _Timeline(seconds, window, epochs or [1] * len(seconds), rungs, SuccessiveHalving(cohort=together))
    times.run(workers)
    return np.maximum.accumulate(times.over)


class _Timeline:
    def __init__(
        self,
        seconds: Sequence[float],
        window: int,
        epochs: Sequence[int],
        rungs: Sequence[int],
        rule: SuccessiveHalving,
    ) -> None:
        self.seconds, self.window, self.epochs, self.rungs, self.rule = seconds, window, epochs, rungs, rule
        n = len(seconds)
        self.now = 0.0
        self.over = np.full(n, np.nan)
        self.settled = np.zeros((len(rungs) + 1, n + 1), dtype=bool)  # at each rung, and over
        self.first = [0] * (len(rungs) + 1)  # trials 0..first-1 are settled there
        self.begun = 0
        self.ready: list[int] = []  # may continue
        self.waiting: list[list[int]] = [[] for _ in rungs]
        self.events: list[tuple[float, int, int]] = []  # (time, trial, stop that it comes to)

    def run(self, workers: int) -> None:
        free = workers
        while True:
            self._judge()
            while free and (trial := self._next()) is not None:
                free -= 1
                self._work(*trial)
            if not self.events:
                return
            self.now, number, stop = heapq.heappop(self.events)
            free += self._arrived(number, stop)

    def _next(self) -> tuple[int, int] | None:
        """Return a trial for a free worker and its next stop: the lowest trial that may continue, or a new one."""
        if self.ready:
            number = heapq.heappop(self.ready)
            return number, int(self.settled[:-1, number].sum())
        if self.begun < len(self.seconds) and self.first[-1] > self.begun - self.window:
            self.begun += 1
            return self.begun - 1, 0
        return None

    def _work(self, number: int, stop: int) -> None:
        """To the next stop: a rung, or the trial's end where it does not get as far."""
        epochs = self.epochs[number]
        before = self.rungs[stop - 1] if stop else 0
        if stop < len(self.rungs) and self.rungs[stop] <= epochs:
            done = self.rungs[stop] - before
        else:
            done, stop = epochs - before, len(self.rungs)
        share = done / epochs if epochs else 1.0
        heapq.heappush(self.events, (self.now + share * self.seconds[number], number, stop))

    def _arrived(self, number: int, stop: int) -> bool:
        """A trial is at a stop; whether its worker is free."""
        if stop == len(self.rungs):
            self._end(number)
            return True
        self._settle(stop, number)
        if number and self.first[stop] < self.rule.n_peers(number):
            heapq.heappush(self.waiting[stop], number)
            return True
        if self._goes_on(number, stop):
            self._work(number, stop + 1)
            return False
        self._end(number)
        return True

    def _judge(self) -> None:
        """From the first rung on: who ends there is no longer waited for at the next one."""
        for stop, numbers in enumerate(self.waiting):
            while numbers and self.first[stop] >= self.rule.n_peers(numbers[0]):
                number = heapq.heappop(numbers)
                if self._goes_on(number, stop):
                    heapq.heappush(self.ready, number)
                else:
                    self._end(number)

    def _goes_on(self, number: int, stop: int) -> bool:
        return self.epochs[number] > self.rungs[stop]

    def _end(self, number: int) -> None:
        self.over[number] = self.now
        for stop in range(len(self.settled)):
            self._settle(stop, number)

    def _settle(self, stop: int, number: int) -> None:
        settled = self.settled[stop]
        settled[number] = True
        while settled[self.first[stop]]:
            self.first[stop] += 1
