"""When a trial is stopped early: successive halving against the trials that finished before it was suggested.

Source of the rule: Jamieson and Talwalkar 2016 (successive halving); here a trial is not compared with
whoever happens to have reached the rung in time, but with trials 0..n-window, which are all finished when
trial n starts. So the decision depends on no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.epoch import EpochResult, best_of
from core.errors import ConfigError

MIN_PEERS = 3
"""Fewer trials at a rung tell too little to stop anyone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Halving:
    """When a trial is stopped: successive halving over `reduction`, never before `grace` epochs."""

    grace: int = 2
    """Epochs that every trial gets."""
    reduction: int = 3
    """One in `reduction` goes on at each rung."""

    def __post_init__(self) -> None:
        _check(self.grace, self.reduction)

    def to_dict(self) -> dict[str, Any]:
        """As a study's spec holds it."""
        return {"rule": "halving", "grace": self.grace, "reduction": self.reduction}

    def rungs(self, epochs: int) -> list[int]:
        """The epochs after which a trial of `epochs` epochs may be stopped: grace, grace * reduction, ..."""
        rungs = []
        rung = self.grace
        while rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return rungs

    def stops(self, own: Sequence[EpochResult], peers: Sequence[Sequence[EpochResult]], epochs: int) -> bool:
        """Whether a trial ends after the last of its epochs so far.

        Args:
            own: the trial's epochs so far, from 1 on.
            peers: the epochs of trials 0..n-window.
            epochs: how many epochs a whole trial has.

        Returns:
            True when the last epoch is a rung, at least MIN_PEERS peers reached it, and the trial's best
            accuracy so far is not among the first 1/reduction of theirs and its own. A tie goes on.
        """
        rung = own[-1].epoch
        if rung not in self.rungs(epochs):
            return False
        scores = [best_of(peer[:rung]).val_accuracy for peer in peers if len(peer) >= rung]
        if len(scores) < MIN_PEERS:
            return False
        mine = best_of(own).val_accuracy
        places = max(1, (len(scores) + 1) // self.reduction)
        return sum(score > mine for score in scores) >= places


@dataclass(frozen=True, kw_only=True, slots=True)
class Asha:
    """Ray's own AsyncHyperBandScheduler instead: a trial is compared with those that reached the rung before it.

    Which they are depends on time, so a study with it is no function of its inputs: see tuning.searcher.
    Source of the rule: Li et al. 2020 (ASHA).
    """

    grace: int = 2
    """Epochs that every trial gets."""
    reduction: int = 3
    """One in `reduction` goes on at each rung."""

    def __post_init__(self) -> None:
        _check(self.grace, self.reduction)

    def to_dict(self) -> dict[str, Any]:
        """As a study's spec holds it."""
        return {"rule": "asha", "grace": self.grace, "reduction": self.reduction}


def stopping_rule(name: str, grace: int, reduction: int) -> Halving | Asha | None:
    """The rule that `--stopping` names: halving, asha or none.

    Raises:
        ConfigError: grace or reduction breaks its rule.
    """
    if name == "none":
        return None
    kind = Asha if name == "asha" else Halving
    return kind(grace=grace, reduction=reduction)


def _check(grace: int, reduction: int) -> None:
    rules = {
        "--grace": ("at least 1", grace >= 1, grace),
        "--reduction": ("at least 2", reduction >= 2, reduction),
    }
    problems = [f"{name} must be {rule}, got {value!r}" for name, (rule, ok, value) in rules.items() if not ok]
    if problems:
        raise ConfigError("; ".join(problems))
