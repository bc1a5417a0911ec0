"""Where a search stands, and how long it may still take. Only numbers: progress_text.py shows them."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.training.result import EpochResult, best_epoch
from tuning.journal.records import TrialRecord
from tuning.scheduling.timeline import TRIAL_SECONDS, completion_times


@dataclass(kw_only=True)
class RunningTrial:
    """A trial that is being trained."""

    settings: Mapping[str, Any]
    """The searched ones."""
    epochs: list[EpochResult]

    @property
    def seconds_an_epoch(self) -> float | None:
        """Its own mean; None before its first epoch."""
        return sum(epoch.seconds for epoch in self.epochs) / len(self.epochs) if self.epochs else None


@dataclass(frozen=True, kw_only=True)
class BestSoFar:
    """The best epoch of a trial so far."""

    trial: int
    epoch: EpochResult
    settings: Mapping[str, Any]
    found: float | None
    """When, in seconds since 1970; None where the journal does not say."""


@dataclass(kw_only=True)
class SearchProgress:
    """What has happened so far: in the journal before this start, and since."""

    n_trials: int
    epochs_a_trial: int
    """Of one that is not stopped."""
    workers: int
    window: int
    """Trial n begins when trials 0..n-window are over."""
    budget_seconds: float | None = None
    """Time that this start may take; None for no limit."""
    searched: Sequence[str]
    """TrialConfig fields that are shown of a trial's settings."""
    ended: Counter[str] = field(default_factory=Counter)
    """By state."""
    running: dict[int, RunningTrial] = field(default_factory=dict)
    paused_epochs: dict[int, list[EpochResult]] = field(default_factory=dict)
    """Epochs of open trials that no worker has: they wait at a rung, or were cut short and are reported again."""
    waiting: set[int] = field(default_factory=set)
    """Those of them that wait at a rung."""
    bests: dict[int, BestSoFar] = field(default_factory=dict)
    """By trial; a failed one has none."""
    epoch_counts: Counter[int] = field(default_factory=Counter)
    """How many of the trials that were trained to their end had so many epochs."""
    end_seconds: float = 0.0
    """Of the trials that ended, spent in training."""
    epochs: int = 0
    """Trained since this start."""
    first_start: float | None = None
    """When the first trial began, by time.monotonic; None before."""

    @classmethod
    def of(
        cls,
        records: Iterable[TrialRecord],
        *,
        n_trials: int,
        epochs_a_trial: int,
        workers: int,
        window: int,
        searched: Sequence[str],
        budget_seconds: float | None = None,
    ) -> "SearchProgress":
        """Where a study stands before its search begins or goes on."""
        progress = cls(
            n_trials=n_trials,
            epochs_a_trial=epochs_a_trial,
            workers=workers,
            window=window,
            budget_seconds=budget_seconds,
            searched=tuple(searched),
        )
        for record in records:
            if record.state == "RUNNING":
                progress.paused_epochs[record.number] = list(record.epochs)
            else:
                progress.end(record)
        return progress

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        """A trial begins or goes on."""
        self.first_start = self.first_start or time.monotonic()
        self.running[number] = RunningTrial(settings=self._shown(config), epochs=self.paused_epochs.pop(number, []))
        self.waiting.discard(number)

    def wait(self, number: int) -> None:
        """A trial waits at a rung."""
        self.paused_epochs[number] = self.running.pop(number).epochs
        self.waiting.add(number)

    def epoch(self, number: int, result: EpochResult) -> None:
        """A trial reported an epoch; one that it had reported before a restart changes nothing."""
        trial = self.running[number]
        if trial.epochs and result.epoch <= trial.epochs[-1].epoch:
            return
        trial.epochs.append(result)
        self.epochs += 1
        if best_epoch(trial.epochs) is result:
            self.bests[number] = BestSoFar(trial=number, epoch=result, settings=trial.settings, found=time.time())

    def end(self, record: TrialRecord) -> None:
        """A trial is over."""
        number, best = record.number, record.best
        self.running.pop(number, None)
        self.paused_epochs.pop(number, None)
        self.waiting.discard(number)
        self.ended[record.state] += 1
        if record.copy_of is None:
            self.epoch_counts[len(record.epochs)] += 1
            self.end_seconds += record.seconds
        if best is None or record.state == "FAIL":
            self.bests.pop(number, None)
        elif number not in self.bests:
            spent = sum(epoch.seconds for epoch in record.epochs if epoch.epoch <= best.epoch)
            found = None if record.started_at is None else record.started_at + spent
            self.bests[number] = BestSoFar(trial=number, epoch=best, settings=self._shown(record.config), found=found)

    def _shown(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: config[name] for name in self.searched}

    @property
    def n_ended(self) -> int:
        """Trials that are over."""
        return self.ended.total()

    @property
    def best(self) -> BestSoFar | None:
        """The best so far, ranked as in the table; None before the first epoch."""
        found = self.bests.values()
        return min(found, key=lambda b: (-b.epoch.val_accuracy, b.epoch.val_loss, b.trial), default=None)

    def expected_epochs_left(self, done: int) -> float:
        """Expected of a trial that has done so many and goes on, from how many ended after each epoch.

        Trials that still run count up to where they are (Kaplan and Meier's estimate): those that ended first are the
        short ones. Where none came further, all epochs that it may have.
        """
        reached = Counter(len(epochs) for epochs in self._open())
        going, expected = 1.0, 0.0
        for epoch in range(done + 1, self.epochs_a_trial + 1):
            expected += going
            ended = self.epoch_counts[epoch]
            further = sum(count for length, count in (self.epoch_counts + reached).items() if length > epoch)
            going *= further / (ended + further) if ended + further else 1.0
        return expected

    def seconds_left(self) -> float | None:
        """Until the last trial is over, if the trials ahead are handed to the workers as in a plan; None at first.

        A running trial goes on at its own pace, the others at the mean one, each for as many epochs as are expected of
        it; the searcher waits at the window's edge.
        """
        trained = [epoch.seconds for epochs in self._open() for epoch in epochs]
        n_epochs = len(trained) + sum(length * count for length, count in self.epoch_counts.items())
        if not n_epochs:
            return None
        pace = (sum(trained) + self.end_seconds) / n_epochs
        ahead = [
            self.expected_epochs_left(len(trial.epochs)) * (trial.seconds_an_epoch or pace)
            for _, trial in sorted(self.running.items())
        ]
        ahead += [self.expected_epochs_left(len(epochs)) * pace for _, epochs in sorted(self.paused_epochs.items())]
        new = max(0, self.n_trials - self.n_ended - len(ahead))
        trained_share = self.epoch_counts.total() / self.n_ended if self.n_ended else 1.0  # the others repeat one
        whole = (self.expected_epochs_left(0) * pace + TRIAL_SECONDS) * trained_share
        work = [*ahead, *[whole] * new]
        return float(completion_times(work, self.workers, self.window)[-1]) if work else 0.0

    def _open(self) -> list[list[EpochResult]]:
        """The epochs of each trial that is not over."""
        return [*(trial.epochs for trial in self.running.values()), *self.paused_epochs.values()]

    def epochs_a_second(self) -> float:
        """Since the first trial began; 0 before its first epoch."""
        gone = time.monotonic() - self.first_start if self.first_start is not None else 0.0
        return self.epochs / gone if gone > 0 else 0.0
