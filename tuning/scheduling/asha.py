"""Asha: asynchronous successive halving in its promotion form, and the rungs on which it is based.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", MLSys. A trial pauses at each rung. A
free worker promotes the best paused trial of the highest rung where that trial is in the rung's top 1/reduction. If
there is none, the worker starts a new trial.
"""

import heapq
import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Any

from core.config import MAX_EPOCHS
from core.errors import check_rules, in_range

MAX_REDUCTION = 1_000
PART = 8
"""The first rung is by default after an eighth of a trial: in long trials, the order after one epoch says little. PART
and the default reduction were chosen for 16 trials that begin with the portfolio (results/reference/portfolio.md)."""
FAILED = float("-inf")
"""Score of a trial that failed before the rung."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asha:
    """Promote the best 1/`reduction` of the trials at each rung; the first rung is after `grace` epochs."""

    grace: int | None = None
    """Number of epochs that every trial gets; None: 1/PART of the maximum, rounded up."""
    reduction: int = 2
    """The best 1/`reduction` of the trials continue past each rung."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--grace": in_range(self.grace, 1, MAX_EPOCHS),
                "--reduction": in_range(self.reduction, 2, MAX_REDUCTION),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return its part of the study's spec."""
        return {"rule": "asha", "grace": self.grace, "reduction": self.reduction}

    def first_rung(self, epochs: int) -> int:
        """Return the number of epochs that every trial gets; `epochs` is the maximum of a trial."""
        return math.ceil(epochs / PART) if self.grace is None else self.grace

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs after which a trial of `epochs` epochs pauses: grace, grace * reduction, ..."""
        rungs = []
        rung = self.first_rung(epochs)
        while rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return rungs


class Rung:
    """The scores at one rung, in order."""

    def __init__(self) -> None:
        self._scores: list[tuple[float, int]] = []  # (-score, trial) of all trials that reached the rung, best first
        self._paused: list[tuple[float, int]] = []  # a heap of the same pairs, without those that were promoted

    def add(self, trial: int, score: float, *, pause: bool) -> None:
        """Add a trial that reached the rung; `pause` says whether it is paused there."""
        insort(self._scores, (-score, trial))
        if pause:
            heapq.heappush(self._paused, (-score, trial))

    def pop_promotable(self, reduction: int) -> int | None:
        """Remove and return the best paused trial if it is among the best 1/reduction of the rung, else None.

        Ties go to the lower number.
        """
        if self._paused and bisect_left(self._scores, self._paused[0]) < len(self._scores) // reduction:
            return heapq.heappop(self._paused)[1]
        return None

    def pop_best(self) -> int | None:
        """Remove and return the best paused trial; None if no trial is paused here."""
        return heapq.heappop(self._paused)[1] if self._paused else None
