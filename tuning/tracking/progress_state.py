"""Progress of a search and its remaining time, as numbers; progress_text.py shows them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

from core.config import TrialConfig
from core.training.result import EpochResult, best_epoch, epoch_order
from tuning.journal.records import ENDED, TrialRecord
from tuning.tracking.remaining_time import RemainingTime


@dataclass(frozen=True, kw_only=True)
class BestSoFar:
    """The best epoch of a trial so far."""

    trial: int
    epoch: EpochResult
    settings: Mapping[str, Any]
    found: float | None
    """Time in seconds since 1970; None for an epoch of an earlier start."""


@dataclass(kw_only=True)
class SearchProgress:
    """State of a search: the journal before this start, and the events since."""

    records: InitVar[Iterable[TrialRecord]]
    """The journal's trials before the search starts or resumes."""
    remaining: RemainingTime
    budget_seconds: float | None = None
    """Time budget of this start in seconds; None for no limit."""
    searched: Sequence[str]
    """TrialConfig fields to show of a trial's settings."""
    ended: dict[int, str] = field(default_factory=dict)
    """State of each trial that has ended; one that was opened again ends twice, perhaps with another state."""
    trained: dict[int, list[EpochResult]] = field(default_factory=dict)
    """Epochs of each trial that has started."""
    running: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Searched settings of the trials that are being trained."""
    paused: set[int] = field(default_factory=set)
    """Numbers of the trials that are paused at a rung or have lost their worker."""
    bests: dict[int, BestSoFar] = field(default_factory=dict)
    """Best epoch by trial; a failed trial has none."""
    epochs: int = 0
    """Number of epochs trained since this start."""
    first_start: float | None = None
    """Time at which the first trial began, by time.monotonic; None before."""

    def __post_init__(self, records: Iterable[TrialRecord]) -> None:
        for record in records:
            if record.copy_of is None:
                self.remaining.add(record.number, record.trial_config)
            if record.state in ENDED:
                self.end(record)
                continue
            self._read(record)
            if record.state == "PAUSED":
                self.paused.add(record.number)

    def start(self, number: int, config: TrialConfig) -> None:
        """Record that a trial starts or resumes."""
        self.first_start = self.first_start or time.monotonic()
        self.running[number] = self._shown(config.to_dict())
        self.trained.setdefault(number, [])
        self.paused.discard(number)
        self.remaining.add(number, config)

    def pause(self, number: int) -> None:
        """Record that a trial is paused at a rung or has lost its worker."""
        del self.running[number]
        self.paused.add(number)

    def epoch(self, number: int, result: EpochResult) -> None:
        """Record an epoch; one that was reported before a restart changes nothing."""
        epochs, settings = self.trained[number], self.running[number]
        if epochs and result.epoch <= epochs[-1].epoch:
            return
        epochs.append(result)
        self.epochs += 1
        if best_epoch(epochs) is result:
            self.bests[number] = BestSoFar(trial=number, epoch=result, settings=settings, found=time.time())

    def end(self, record: TrialRecord) -> None:
        """Record that a trial has ended."""
        self.running.pop(record.number, None)
        self.paused.discard(record.number)
        self.ended[record.number] = record.state
        self._read(record)

    def _read(self, record: TrialRecord) -> None:
        """Take a trial's epochs, and its best one unless it is known: some of a longer training may no longer count."""
        number, best = record.number, record.best
        self.trained[number] = list(record.epochs)
        if record.state in ("COMPLETE", "FAIL"):
            self.remaining.closed.add(number)
        if best is None or record.state == "FAIL":
            self.bests.pop(number, None)
        elif number not in self.bests or self.bests[number].epoch.epoch != best.epoch:
            settings = self._shown(record.config)
            self.bests[number] = BestSoFar(trial=number, epoch=best, settings=settings, found=None)

    def _shown(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: config[name] for name in self.searched}

    @property
    def best(self) -> BestSoFar | None:
        """The best so far, ranked as in the table; None before the first epoch."""
        found = self.bests.values()
        return min(found, key=lambda b: (*epoch_order(b.epoch), b.trial), default=None)

    def seconds_left(self) -> float | None:
        """Estimate the time until the search ends; None before the first epoch."""
        return self.remaining.seconds(self._scores)

    def new_estimate(self) -> Callable[[], None] | None:
        """Return the slow part of `seconds_left`, which needs no lock; None if the last estimate holds."""
        return self.remaining.new_estimate(self._scores)

    def _scores(self) -> dict[int, list[tuple[float, float]]]:
        return {number: [(e.score, e.seconds) for e in each] for number, each in self.trained.items()}

    def epochs_a_second(self) -> float:
        """Return the rate since the first trial began; 0 before the first epoch."""
        gone = time.monotonic() - self.first_start if self.first_start is not None else 0.0
        return self.epochs / gone if gone > 0 else 0.0
