"""VirtualClock: the order of an asynchronous search, defined by a simulated clock. Pure.

An asynchronous search is fast because each decision uses the results that exist at that moment. In real time, those
depend on the speed of the workers, so two runs of the same search differ. Here they depend on a virtual time that is
computed and never measured:

- `parallelism` virtual workers train in virtual time. An epoch of a configuration has a virtual cost, which follows
  from the shapes of the configuration and the corpus (tuning.scheduling.virtual_cost).
- A virtual worker that is free at time t decides what to train next by ASHA (tuning.scheduling.asha). The decision uses
  the results whose virtual end is at most t - lag, and no other result.
- Real workers train what the virtual workers have decided. A decision waits only while one of the results that it uses
  does not exist yet. `lag` is the virtual time by which real workers may be late without any waiting.

Workers may therefore be fewer, more, slower or killed: the decisions are the same. They cannot wait for each other in a
circle, because all that a decision waits for was decided before it. A study is resumed by a new clock: it makes the
same decisions again, from the results in the journal.

The virtual time of a job does not depend on its result. A trial that fails, or ends early, keeps its virtual worker to
the planned end. Its result becomes visible at the next rung like any other. A trial that repeats an earlier one
takes no virtual time. Trial 0 is the baseline, if the study has one, and is never paused. At the end, if no other trial
has been trained in full, the best paused one is.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tuning.scheduling.asha import FAILED, Asha, Rung

BASELINE = 0
"""Number of the trial that is never paused, in a study with a baseline."""


class NoJob(Enum):
    """The reason why a free worker gets no job."""

    WAIT = "wait"
    """Ask again after the next result."""
    DONE = "done"
    """No job follows."""


@dataclass(frozen=True, slots=True)
class VirtualJob:
    """Decision of a virtual worker on what to train."""

    trial: int
    first: int
    """First epoch, from 1."""
    last: int
    """Last epoch: a rung, or the trial's end."""
    begin: float
    end: float
    """End of the job in virtual time."""


@dataclass(frozen=True, slots=True)
class VisibleResult:
    """A result that later decisions may use."""

    trial: int
    epoch: int
    """A rung, or the last epoch."""
    score: float
    """Best score of the first `epoch` epochs, or FAILED."""


class VirtualClock:
    """Decides what each free worker trains. `log` holds the visible results in order."""

    def __init__(
        self,
        *,
        n_trials: int,
        epochs: int,
        parallelism: int,
        lag: float,
        rule: Asha | None,
        baseline: bool = True,
        start: Callable[[int], float | None],
        score: Callable[[int, int], float | None],
        ended: Callable[[Sequence[VisibleResult]], bool] = lambda log: False,
    ) -> None:
        """Start at virtual time 0.

        Args:
            n_trials: Number of trials.
            epochs: Number of epochs of a trial that is trained in full.
            parallelism: Number of virtual workers.
            lag: Virtual time from the end of a job until its result is visible.
            rule: Rule for when trials pause and continue; None trains every trial in full.
            baseline: Whether trial 0 is the baseline.
            start: Called with the number of each new trial, in order; returns the virtual cost of its epoch, or None if
                it repeats an earlier trial. It may use `log`.
            score: Called with a trial and a number of epochs; returns the best score of these epochs, FAILED if the
                trial failed earlier, or None if neither is known yet.
            ended: Called before each decision; returns True for no further decision: the visible results end the study,
                or a stop was requested.
        """
        self.n_trials, self.epochs, self.lag = n_trials, epochs, lag
        self.stops = [*(rule.rungs(epochs) if rule else ()), epochs]  # epochs at each rung, then the last epoch
        self.log: list[VisibleResult] = []
        self.n_started = 0
        self._start, self._score, self._ended = start, score, ended
        self._reduction = rule.reduction if rule else 2
        self._rungs = [Rung() for _ in self.stops[:-1]]
        self._costs: dict[int, float] = {}
        self._free = [0.0] * parallelism  # virtual time at which each virtual worker is free
        self._hidden: list[tuple[float, int, int]] = []  # (visible from, trial, index of the stop)
        self._baseline = BASELINE if baseline else None
        self._unpaused = {self._baseline}  # trials that pause at no rung
        self._n_full = 0  # trials other than the baseline that train, or have trained, to the last epoch

    def next_job(self) -> VirtualJob | NoJob:
        """Return the next decision. WAIT changes nothing: call again when there is a new result."""
        while True:
            if not self._see_results():
                return NoJob.WAIT
            if self._ended(self.log):
                return NoJob.DONE
            if job := self._promote():
                return job
            if self.n_started < self.n_trials:
                if job := self._start_trial():
                    return job
            elif self._hidden:
                heapq.heapreplace(self._free, self._hidden[0][0])  # idle until the next result is visible
            else:
                return self._train_one_in_full() or NoJob.DONE

    def _see_results(self) -> bool:
        """Make the results up to the present virtual time visible; False if one of them does not exist yet."""
        while self._hidden and self._hidden[0][0] <= self._free[0]:
            _, trial, stop = self._hidden[0]
            score = self._score(trial, self.stops[stop])
            if score is None:
                return False
            heapq.heappop(self._hidden)
            self.log.append(VisibleResult(trial, self.stops[stop], score))
            if score == FAILED:
                self._n_full -= trial != self._baseline and stop == len(self._rungs)
            elif stop < len(self._rungs):
                self._rungs[stop].add(trial, score, pause=trial not in self._unpaused)
        return True

    def _promote(self) -> VirtualJob | None:
        for at in reversed(range(len(self._rungs))):
            trial = self._rungs[at].pop_promotable(self._reduction)
            if trial is not None:
                return self._assign(trial, self.stops[at], at + 1)
        return None

    def _start_trial(self) -> VirtualJob | None:
        """Start a new trial; None if it repeats an earlier one."""
        trial = self.n_started
        cost = self._start(trial)
        self.n_started += 1
        if cost is None:
            return None
        self._costs[trial] = cost
        return self._assign(trial, 0, len(self._rungs) if trial == self._baseline else 0)

    def _train_one_in_full(self) -> VirtualJob | None:
        """Return the job that trains the best paused trial in full; None if there is none or one trial already was."""
        if self._n_full:
            return None
        for at in reversed(range(len(self._rungs))):
            trial = self._rungs[at].pop_best()
            if trial is not None:
                self._unpaused.add(trial)
                return self._assign(trial, self.stops[at], len(self._rungs))
        return None

    def _assign(self, trial: int, done: int, stop: int) -> VirtualJob:
        """Give the next free virtual worker the epochs of a trial from `done` + 1 to `stops[stop]`."""
        begin, cost = self._free[0], self._costs[trial]
        end = begin + cost * (self.stops[stop] - done)
        heapq.heapreplace(self._free, end)
        for at in range(stop + 1):
            if self.stops[at] > done:  # also the rungs on the way of a trial that does not pause there
                visible = begin + cost * (self.stops[at] - done) + self.lag
                heapq.heappush(self._hidden, (visible, trial, at))
        self._n_full += trial != self._baseline and stop == len(self._rungs)
        return VirtualJob(trial, done + 1, self.stops[stop], begin, end)
