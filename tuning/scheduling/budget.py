"""Budgets and signals that end a study before all its trials are done. Loads no torch.

Target and patience use the results in the order in which they become visible (tuning.scheduling.virtual_clock). The end
does not depend on the number and speed of the workers. Jobs that were decided before are trained to their end.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import ConfigError, UserError, check_rules, in_range
from core.metrics import METRICS
from tuning.formatting import UNITS, format_duration
from tuning.scheduling.asha import FAILED
from tuning.scheduling.virtual_clock import VisibleResult

MAX_BUDGET_SECONDS = 3_600_000.0
"""Maximum time budget in seconds."""
MAX_TRIALS = 100_000


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `30m`, `2h` or `1h30m`; raise ConfigError for another text."""
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip().lower())
    given = zip(parts.groups(), UNITS.values(), strict=True) if parts else ()
    seconds = sum(float(count) * unit for count, unit in given if count)
    if seconds > MAX_BUDGET_SECONDS:
        raise ConfigError(f"--time-budget must be at most 1000h, got {text!r}; leave it out for no limit")
    if seconds <= 0:
        raise ConfigError(f"--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got {text!r}")
    return seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyEnd:
    """The reason for the early end of a study, as stored in its journal."""

    reason: str
    """Reason, such as `target 0.8 reached by trial 5`."""
    n_trials: int | None = None
    """Number of trials that had started; later ones, of a command with another budget, do not count. None if the time
    budget ended the study, which the same command continues."""

    @property
    def by_time(self) -> bool:
        """Whether the time budget ended the command; the same command then continues the study."""
        return self.n_trials is None


@dataclass
class StopSignal:
    """A request to end the search before it is complete, with the reason."""

    requested: bool = False
    reason: UserError | None = None
    """Problem that the user must fix; None after an interruption."""
    ended: EarlyEnd | None = None
    """The budget that ended the study, if any."""

    def abort(self, reason: UserError) -> None:
        """End the search because of a problem that the user must fix; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def end_study(self, ending: EarlyEnd) -> None:
        """End the search because of a budget; the first request counts."""
        if not self.requested:
            self.requested, self.ended = True, ending


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits besides the number of trials; the first one that is reached ends the study."""

    seconds: float | None = None
    """Time limit of one command in seconds; None for no limit."""
    target: float | None = None
    """Validation value of the metric at which the study ends."""
    metric: str = "accuracy"
    """Metric of the study."""
    patience_trials: int | None = None
    """Number of consecutive trials without improvement after which the study ends."""

    def __post_init__(self) -> None:
        target, patience, metric = self.target, self.patience_trials, METRICS[self.metric]
        most = f" and at most {metric.high:g}" if math.isfinite(metric.high) else ""
        rule = f"a validation {metric.title} above {metric.low:g}{most}, such as 0.8"
        holds = target is None or (metric.low < target <= metric.high and math.isfinite(target))
        check_rules(
            {
                "--target": (target, rule, holds),
                "--patience-trials": in_range(patience, 1, MAX_TRIALS),
            }
        )

    @property
    def timed_out(self) -> EarlyEnd:
        """Return the end of a study whose time budget is used up."""
        return EarlyEnd(reason=f"time budget of {format_duration(self.seconds or 0)} used up")


class BudgetCheck:
    """Follows the visible results of a study until its target is reached or its patience is exhausted."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.early_end: EarlyEnd | None = None
        self._n_read = 0
        # Trial -> its score, and the number of trials with a result when it reached this score; 0 if it failed.
        self._scores: dict[int, tuple[float, int]] = {}
        self._best_trial, self._best, self._reached = -1, FAILED, 0  # the best trial and its entry

    def update(self, log: Sequence[VisibleResult], n_trials: int) -> EarlyEnd | None:
        """Read the new results of the log; return the end of the study if they cause it, else None.

        Args:
            log: The visible results.
            n_trials: Number of trials that have started.
        """
        for result in log[self._n_read :]:
            reason = self._read(result)
            if reason is not None and self.early_end is None:
                self.early_end = EarlyEnd(reason=reason, n_trials=n_trials)
        self._n_read = len(log)
        return self.early_end

    def _read(self, result: VisibleResult) -> str | None:
        target, patience = self.budget.target, self.budget.patience_trials
        trial, score = result.trial, result.score
        if score != self._scores.setdefault(trial, (FAILED, 0))[0]:
            self._scores[trial] = score, 0 if score == FAILED else len(self._scores)
        if score > self._best:
            self._best_trial, self._best, self._reached = trial, score, len(self._scores)
        elif score == FAILED and trial == self._best_trial:  # it has no value in the table either
            ranked = max(self._scores.items(), key=lambda each: (each[1][0], -each[1][1]))
            self._best_trial, (self._best, self._reached) = ranked
        if target is not None and score >= METRICS[self.budget.metric].oriented(target):
            return f"target {target:g} reached by trial {trial}"
        if patience is not None and len(self._scores) - self._reached >= patience:
            since = "the start" if self._best == FAILED else f"trial {self._best_trial}"
            return f"{patience} new trial{'s' * (patience != 1)} without a better one since {since}"
        return None
