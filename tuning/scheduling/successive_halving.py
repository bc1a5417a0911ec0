"""When a trial is stopped early: successive halving, by the order of the study and not by the clock.

Source of the rule: Jamieson and Talwalkar 2016 (successive halving). A trial is compared with all trials before it, and
the first ones with one another; trial 0, the notebook's setting, is never stopped. Where one of those is not there yet,
the trial waits and its worker takes another one: so the verdict depends on no clock. Nobody waits for one that waits
for him: those after the first `together` look at lower numbers alone, and the first ones begin without any outcome.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from core.errors import check_rules
from core.training.result import EpochResult, best_epoch
from tuning.journal.records import TrialRecord

MIN_PEERS = 3
"""Fewer trials at a rung tell too little to stop anyone."""
ABSENT = -math.inf
"""The score of a trial that was over before the rung, or that repeats another one."""


class Decision(Enum):
    """What becomes of a trial at a rung."""

    CONTINUE = "go on"
    STOP = "stop"
    PAUSE = "wait"
    """For trials that have not reached the rung yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuccessiveHalving:
    """When a trial is stopped: successive halving over `reduction`, never before `grace` epochs."""

    grace: int = 1
    """Epochs that every trial gets."""
    reduction: int = 4
    """One in `reduction` goes on at each rung."""
    cohort: int = 1
    """So many first trials are compared with one another. None of them may wait for an outcome before it begins, so
    they are at most the study's window; and the study must have as many."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--grace": (self.grace, "at least 1", self.grace >= 1),
                "--reduction": (self.reduction, "at least 2", self.reduction >= 2),
                "cohort": (self.cohort, "at least 1", self.cohort >= 1),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """As a study's spec holds it."""
        return {"rule": "halving", "grace": self.grace, "reduction": self.reduction, "cohort": self.cohort}

    def rungs(self, epochs: int) -> list[int]:
        """The epochs after which a trial of `epochs` epochs may be stopped: grace, grace * reduction, ..."""
        rungs = []
        rung = self.grace
        while rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return rungs

    def n_peers(self, number: int) -> int:
        """Trial `number` is compared with trials 0..end-1, itself apart."""
        return max(self.cohort, number)

    def decide(self, *, better: int, reached: int) -> Decision:
        """Whether a trial at a rung goes on.

        Args:
            better: peers whose best accuracy up to the rung is higher than the trial's.
            reached: peers that reached the rung.

        Returns:
            STOP when at least MIN_PEERS reached the rung and the trial is not among the first 1/reduction of theirs and
            its own. A tie goes on.
        """
        places = max(1, (reached + 1) // self.reduction)
        return Decision.STOP if reached >= MIN_PEERS and better >= places else Decision.CONTINUE


def stopping_rule(name: str, grace: int, reduction: int) -> SuccessiveHalving | None:
    """The rule that `--stopping` names: halving or none.

    Raises:
        ConfigError: grace or reduction breaks its rule.
    """
    return None if name == "none" else SuccessiveHalving(grace=grace, reduction=reduction)


class _Rung:
    """The trials' scores at one rung, by number."""

    def __init__(self) -> None:
        self.scores = np.full(64, np.nan)
        self.settled = 0
        """Trials 0..settled-1 have their score, or are absent."""

    def set_score(self, number: int, score: float) -> None:
        while number >= len(self.scores):
            self.scores = np.concatenate([self.scores, np.full(len(self.scores), np.nan)])
        if np.isnan(self.scores[number]):
            self.scores[number] = score
        while self.settled < len(self.scores) and not np.isnan(self.scores[self.settled]):
            self.settled += 1


class RungTable:
    """Of one study under one rule."""

    def __init__(self, rule: SuccessiveHalving | None, epochs: int, records: Iterable[TrialRecord] = ()) -> None:
        """Take down the trials of a study so far.

        Args:
            rule: of the study; None has no rungs.
            epochs: of a trial that is not stopped.
            records: its trials.
        """
        self.rule = rule
        self.rungs = {} if rule is None else {rung: _Rung() for rung in rule.rungs(epochs)}
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Take down where a trial stands by now. One that repeats another says nothing new, so it stands nowhere."""
        copy = record.copy_of is not None
        self.record_scores(record.number, () if copy else record.epochs, over=copy or record.state != "RUNNING")

    def record_scores(self, number: int, epochs: Sequence[EpochResult], *, over: bool) -> None:
        """As `note`.

        Args:
            number: of the trial.
            epochs: so far, from 1 on.
            over: no further ones come.
        """
        for at, rung in self.rungs.items():
            if len(epochs) >= at:
                rung.set_score(number, best_epoch(epochs[:at]).val_accuracy)
            elif over:
                rung.set_score(number, ABSENT)

    def decide(self, number: int, epoch: int) -> Decision:
        """Whether trial `number`, which has been taken down with so many epochs, goes on after the last of them.

        Trial 0 always does: it is the notebook's setting, and every table says what the search gained over it.
        """
        rung = self.rungs.get(epoch)
        if rung is None or number == 0 or self.rule is None:
            return Decision.CONTINUE
        end = self.rule.n_peers(number)
        if rung.settled < end:
            return Decision.PAUSE
        own = rung.scores[number]
        peers = rung.scores[:end]
        reached = int((peers > ABSENT).sum()) - (number < end)
        return self.rule.decide(better=int((peers > own).sum()), reached=reached)
