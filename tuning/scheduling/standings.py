"""Where trials stand at the rungs: what the stopping rule decides from. It only grows, and may be made anew any time.

A trial's place at a rung is settled when it has got there, or is over without having got there. So a verdict waits
for time, but what it says does not depend on it.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from core.training.result import EpochResult, best_of
from tuning.journal.records import TrialRecord, copied_from
from tuning.scheduling.successive_halving import Halving, Verdict

ABSENT = -math.inf
"""The score of a trial that was over before the rung, or that repeats another one."""


class _Rung:
    """The trials' scores at one rung, by number."""

    def __init__(self) -> None:
        self.scores = np.full(64, np.nan)
        self.settled = 0
        """Trials 0..settled-1 have their score, or are absent."""

    def note(self, number: int, score: float) -> None:
        while number >= len(self.scores):
            self.scores = np.concatenate([self.scores, np.full(len(self.scores), np.nan)])
        if np.isnan(self.scores[number]):
            self.scores[number] = score
        while self.settled < len(self.scores) and not np.isnan(self.scores[self.settled]):
            self.settled += 1


class Standings:
    """Of one study under one rule."""

    def __init__(self, rule: Halving | None, epochs: int, records: Iterable[TrialRecord] = ()) -> None:
        """Take down the trials of a study so far.

        Args:
            rule: of the study; None has no rungs.
            epochs: of a trial that is not stopped.
            records: its trials.
        """
        self.rule = rule
        self.rungs = {} if rule is None else {rung: _Rung() for rung in rule.rungs(epochs)}
        for record in records:
            self.note(record)

    def note(self, record: TrialRecord) -> None:
        """Take down where a trial stands by now. One that repeats another says nothing new, so it stands nowhere."""
        copy = copied_from(record.origin) is not None
        self.settle(record.number, () if copy else record.epochs, over=copy or record.state != "RUNNING")

    def settle(self, number: int, epochs: Sequence[EpochResult], *, over: bool) -> None:
        """As `note`.

        Args:
            number: of the trial.
            epochs: so far, from 1 on.
            over: no further ones come.
        """
        for at, rung in self.rungs.items():
            if len(epochs) >= at:
                rung.note(number, best_of(epochs[:at]).val_accuracy)
            elif over:
                rung.note(number, ABSENT)

    def verdict(self, number: int, epoch: int) -> Verdict:
        """Whether trial `number`, which has been taken down with so many epochs, goes on after the last of them.

        Trial 0 always does: it is the notebook's setting, and every table says what the search gained over it.
        """
        rung = self.rungs.get(epoch)
        if rung is None or number == 0 or self.rule is None:
            return Verdict.GO_ON
        end = self.rule.peers_end(number)
        if rung.settled < end:
            return Verdict.WAIT
        own = rung.scores[number]
        peers = rung.scores[:end]
        reached = int((peers > ABSENT).sum()) - (number < end)
        return self.rule.verdict(better=int((peers > own).sum()), reached=reached)
