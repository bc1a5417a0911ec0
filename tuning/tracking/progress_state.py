"""Progress of a search and its remaining time, as numbers; progress_text.py shows them."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
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

    records: InitVar[Iterable[TrialRecord]]
    """The journal's trials before the search starts or resumes."""
    n_trials: int
    epochs_a_trial: int
    """Number of epochs of a trial that is not stopped."""
    workers: int
    window: int
    """Trial n begins when trials 0..n-window are over."""
    budget_seconds: float | None = None
    """Time that this start may take; None for no limit."""
    searched: Sequence[str]
    """TrialConfig fields that are shown of a trial's settings."""
    ended: Counter[str] = field(default_factory=Counter)
    """Number of ended trials by state."""
    running: dict[int, RunningTrial] = field(default_factory=dict)
    paused_epochs: dict[int, list[EpochResult]] = field(default_factory=dict)
    """Epochs of open trials without a worker: paused at a rung, or interrupted, so that they are reported again."""
    waiting: set[int] = field(default_factory=set)
    """The trials among them that are paused at a rung."""
    bests: dict[int, BestSoFar] = field(default_factory=dict)
    """By trial; a failed one has none."""
    epoch_counts: Counter[int] = field(default_factory=Counter)
    """Number of ended trials by number of epochs, without copies."""
    end_seconds: float = 0.0
    """Training time of the ended trials."""
    epochs: int = 0
    """Number of epochs trained since this start."""
    first_start: float | None = None
    """When the first trial began, by time.monotonic; None before."""

    def __post_init__(self, records: Iterable[TrialRecord]) -> None:
        for record in records:
            if record.state == "RUNNING":
                self.paused_epochs[record.number] = list(record.epochs)
            else:
                self.end(record)

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        """Note that a trial starts or resumes."""
        self.first_start = self.first_start or time.monotonic()
        self.running[number] = RunningTrial(settings=self._shown(config), epochs=self.paused_epochs.pop(number, []))
        self.waiting.discard(number)

    def pause(self, number: int) -> None:
        """Note that a trial is paused at a rung."""
        self.paused_epochs[number] = self.running.pop(number).epochs
        self.waiting.add(number)

    def epoch(self, number: int, result: EpochResult) -> None:
        """Note an epoch; one that was reported before a restart changes nothing."""
        trial = self.running[number]
        if trial.epochs and result.epoch <= trial.epochs[-1].epoch:
            return
        trial.epochs.append(result)
        self.epochs += 1
        if best_epoch(trial.epochs) is result:
            self.bests[number] = BestSoFar(trial=number, epoch=result, settings=trial.settings, found=time.time())

    def end(self, record: TrialRecord) -> None:
        """Note that a trial has ended."""
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
        """Number of ended trials."""
        return self.ended.total()

    @property
    def best(self) -> BestSoFar | None:
        """The best so far, ranked as in the table; None before the first epoch."""
        found = self.bests.values()
        return min(found, key=lambda b: (-b.epoch.val_accuracy, b.epoch.val_loss, b.trial), default=None)

    def expected_epochs_left(self, done: int) -> float:
        """Estimate how many more epochs a trial with `done` epochs trains, from the ended and the open trials.

        Open trials count as censored observations (Kaplan-Meier), because the trials that end first are the short
        ones. After the last observed epoch, the estimate is all epochs that the trial may have.
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
        """Estimate the time until the last trial ends, by the simulation of a plan; None before the first epoch.

        A running trial continues at its own speed, the others at the mean speed, each for the expected number of
        epochs. The scheduler waits at the window's edge.
        """
        trained = [epoch.seconds for epochs in self._open() for epoch in epochs]
        n_epochs = len(trained) + sum(length * count for length, count in self.epoch_counts.items())
        if not n_epochs:
            return None
        pace = (sum(trained) + self.end_seconds) / n_epochs
        ahead = []
        for _, trial in sorted(self.running.items()):
            own = sum(epoch.seconds for epoch in trial.epochs) / len(trial.epochs) if trial.epochs else 0.0
            ahead.append(self.expected_epochs_left(len(trial.epochs)) * (own or pace))
        ahead += [self.expected_epochs_left(len(epochs)) * pace for _, epochs in sorted(self.paused_epochs.items())]
        new = max(0, self.n_trials - self.n_ended - len(ahead))
        trained_share = self.epoch_counts.total() / self.n_ended if self.n_ended else 1.0  # the others repeat one
        whole = (self.expected_epochs_left(0) * pace + TRIAL_SECONDS) * trained_share
        work = [*ahead, *[whole] * new]
        return float(completion_times(work, self.workers, self.window)[-1]) if work else 0.0

    def _open(self) -> list[list[EpochResult]]:
        """Return the epochs of each open trial."""
        return [*(trial.epochs for trial in self.running.values()), *self.paused_epochs.values()]

    def epochs_a_second(self) -> float:
        """Return the rate since the first trial began; 0 before the first epoch."""
        gone = time.monotonic() - self.first_start if self.first_start is not None else 0.0
        return self.epochs / gone if gone > 0 else 0.0
