"""SuccessiveHalving: stop trials early, by the order of the study instead of the clock.

Source of the rule: Jamieson and Talwalkar 2016. A trial is compared with all trials before it, and the trials of the
first cohort with one another. Trial 0, the baseline, is never stopped. If a peer has not reached the rung yet, the
trial is paused and its worker takes another one, so decisions do not depend on timing. This cannot deadlock: after the
cohort, trials are compared only with lower-numbered trials, and the cohort starts without any result.
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
"""With fewer trials at a rung, none is stopped."""
ABSENT = -math.inf
"""Score of a trial that ended before the rung, or that repeats another one."""


class Decision(Enum):
    """What happens to a trial at a rung."""

    CONTINUE = "continue"
    STOP = "stop"
    PAUSE = "pause"
    """Until its peers have reached the rung."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuccessiveHalving:
    """Stop trials by successive halving with factor `reduction`, never before `grace` epochs."""

    grace: int = 1
    """Number of epochs that every trial gets."""
    reduction: int = 4
    """The best 1/`reduction` of the trials continue past each rung."""
    cohort: int = 1
    """Number of first trials that are compared with one another. They start without any result, so it is at most the
    study's window, and the study has at least as many trials."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--grace": (self.grace, "at least 1", self.grace >= 1),
                "--reduction": (self.reduction, "at least 2", self.reduction >= 2),
                "cohort": (self.cohort, "at least 1", self.cohort >= 1),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return its part of the study's spec."""
        return {"rule": "halving", "grace": self.grace, "reduction": self.reduction, "cohort": self.cohort}

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs after which a trial of `epochs` epochs may be stopped: grace, grace * reduction, ..."""
        rungs = []
        rung = self.grace
        while rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return rungs

    def n_peers(self, number: int) -> int:
        """Return n: trial `number` is compared with trials 0..n-1, except itself."""
        return max(self.cohort, number)

    def decide(self, *, better: int, reached: int) -> Decision:
        """Return whether a trial at a rung continues.

        Args:
            better: peers whose best accuracy up to the rung is higher than the trial's.
            reached: peers that reached the rung.

        Returns:
            STOP when at least MIN_PEERS reached the rung and the trial is not among the first 1/reduction of theirs and
            its own. A tie continues.
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
    """Scores of the trials at one rung, by number."""

    def __init__(self) -> None:
        self.scores = np.full(64, np.nan)
        self.settled = 0
        """Trials 0..settled-1 have a score, or ended before the rung."""

    def set_score(self, number: int, score: float) -> None:
        while number >= len(self.scores):
            self.scores = np.concatenate([self.scores, np.full(len(self.scores), np.nan)])
        if np.isnan(self.scores[number]):
            self.scores[number] = score
        while self.settled < len(self.scores) and not np.isnan(self.scores[self.settled]):
            self.settled += 1


class RungTable:
    """Scores of all trials at each rung, on which decisions are based.

    It only grows, and can be rebuilt from the journal at any time. A trial is settled at a rung once it has reached the
    rung or has ended before it. Timing affects when a decision is made, never the decision.
    """

    def __init__(self, rule: SuccessiveHalving | None, epochs: int, records: Iterable[TrialRecord] = ()) -> None:
        """Record the trials of a study so far.

        Args:
            rule: of the study; None has no rungs.
            epochs: maximum number of epochs per trial.
            records: the study's trials.
        """
        self.rule = rule
        self.rungs = {} if rule is None else {rung: _Rung() for rung in rule.rungs(epochs)}
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Record the scores of a trial so far. A trial that repeats another one has none."""
        copy = record.copy_of is not None
        self.record_scores(record.number, () if copy else record.epochs, over=copy or record.state != "RUNNING")

    def record_scores(self, number: int, epochs: Sequence[EpochResult], *, over: bool) -> None:
        """Record the scores of trial `number` after its first `epochs`; `over` if no further epoch follows."""
        for at, rung in self.rungs.items():
            if len(epochs) >= at:
                rung.set_score(number, best_epoch(epochs[:at]).val_accuracy)
            elif over:
                rung.set_score(number, ABSENT)

    def decide(self, number: int, epoch: int) -> Decision:
        """Return the decision on trial `number`, whose first `epoch` epochs are recorded.

        Trial 0 always continues: it is the baseline, and every table shows the gain over it.
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
