"""What ends a study before all its trials are done: time, a target, patience, or an interruption. Loads no torch.

Target and patience are judged on the trials in the study's order, trial k only when trials 0..k are all over: so the
end is the same however many workers ran and whoever finished first. Trials after it that were begun meanwhile stay in
the journal, for a study that continues later, and do not count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError, UserError, check_rules
from tuning.formatting import UNITS, format_duration
from tuning.journal.records import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyEnd:
    """Why a study ended early, as its journal keeps it."""

    reason: str
    """For people, such as `target 0.8 reached by trial 5`."""
    last: int | None = None
    """The last trial that counts; None: all that are over."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"reason": self.reason, "last": self.last}

    @property
    def notes(self) -> list[str]:
        """Lines below the table."""
        beyond = (
            [] if self.last is None else [f"trials after {self.last} do not count: which were begun depended on time"]
        )
        return [f"the study ended early: {self.reason}", *beyond]


@dataclass
class StopSignal:
    """Whether the search is to end before it is complete, and why."""

    requested: bool = False
    reason: UserError | None = None
    """What the user must fix first; None after an interruption."""
    ended: EarlyEnd | None = None
    """The budget that was met, if any."""

    def abort(self, reason: UserError) -> None:
        """End the search for something that the user must fix; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def end_study(self, ending: EarlyEnd) -> None:
        """End the search because a budget is met; the first request counts."""
        if not self.requested:
            self.requested, self.ended = True, ending


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits beside the number of trials; whichever is met first ends the study."""

    seconds: float | None = None
    """Of one command; None for no limit."""
    target: float | None = None
    """A validation accuracy that is good enough."""
    patience_trials: int | None = None
    """So many trials in a row without a better one are enough."""

    def __post_init__(self) -> None:
        target, patience = self.target, self.patience_trials
        accuracy = "a validation accuracy above 0 and at most 1, such as 0.8"
        check_rules(
            {
                "--target": (target, accuracy, target is None or 0 < target <= 1),
                "--patience-trials": (patience, "at least 1", patience is None or patience >= 1),
            }
        )

    @property
    def timed_out(self) -> EarlyEnd:
        """How a study ends whose time is up."""
        return EarlyEnd(reason=f"time budget of {format_duration(self.seconds or 0)} used up")

    @property
    def depends_on_results(self) -> bool:
        """Whether trials' outcomes can meet it."""
        return self.target is not None or self.patience_trials is not None

    def check(self, records: Sequence[TrialRecord]) -> EarlyEnd | None:
        """How the study has ended by target or patience; None while it has not.

        Args:
            records: all its trials by number, those too that are running.
        """
        best, best_trial = None, -1
        for record in records if self.depends_on_results else ():
            if record.state == "RUNNING":
                return None
            score = record.best.val_accuracy if record.best is not None and record.state != "FAIL" else None
            if score is not None and (best is None or score > best):
                best, best_trial = score, record.number
            if self.target is not None and score is not None and score >= self.target:
                return EarlyEnd(reason=f"target {self.target:g} reached by trial {record.number}", last=record.number)
            if self.patience_trials is not None and record.number - best_trial >= self.patience_trials:
                since = "the start" if best is None else f"trial {best_trial}"
                return EarlyEnd(
                    reason=f"{self.patience_trials} trials in a row without a better one since {since}",
                    last=record.number,
                )
        return None


MAX_SECONDS = 3_600_000.0
"""A longer budget is none."""


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h` or `1h30m`.

    Raises:
        ConfigError: it says something else, or nothing at all.
    """
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip().lower())
    given = zip(parts.groups(), UNITS.values(), strict=True) if parts else ()
    seconds = sum(float(count) * unit for count, unit in given if count)
    if seconds > MAX_SECONDS:
        raise ConfigError(f"--time-budget must be at most 1000h, got {text!r}; leave it out for no limit")
    if seconds <= 0:
        raise ConfigError(f"--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got {text!r}")
    return seconds
