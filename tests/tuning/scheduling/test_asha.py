"""tuning.scheduling.asha: the epochs after which trials pause; test_virtual_clock.py has the promotions."""

import math
import random

import pytest

from tuning.scheduling.asha import Asha, Rung


@pytest.mark.parametrize(
    ("grace", "reduction", "epochs", "rungs"),
    [
        (None, 2, 8, [1, 2, 4]),
        (None, 2, 9, [2, 4, 8]),
        (None, 2, 24, [3, 6, 12]),
        (None, 4, 50, [7, 28]),
        (None, 2, 1, []),
        (2, 3, 20, [2, 6, 18]),
        (2, 3, 18, [2, 6]),
        (2, 3, 6, [2]),
        (2, 3, 2, []),
        (5, 2, 3, []),
        (1, 4, 8, [1, 4]),
        (1, 2, 1, []),
    ],
)
def test_rungs_grow_by_the_reduction_factor_and_end_before_the_last_epoch(
    grace: int | None, reduction: int, epochs: int, rungs: list[int]
) -> None:
    assert Asha(grace=grace, reduction=reduction).rungs(epochs) == rungs


class Counted(float):
    """A score that counts its comparisons."""

    count = 0

    def __neg__(self) -> "Counted":
        return Counted(-float(self))

    def __lt__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Counted.count += 1
        return float(self) == other

    __hash__ = float.__hash__


def test_an_answer_compares_a_number_of_scores_that_grows_with_the_logarithm() -> None:
    """A list that was sorted for each question would compare about 2,000 scores."""
    rng, rung, n = random.Random(0), Rung(), 4096
    Counted.count, n_promoted = 0, 0
    for trial in range(n):
        rung.add(trial, Counted(rng.random()), pause=True)
        n_promoted += rung.pop_promotable(4) is not None
    assert n_promoted > n // 5
    assert Counted.count / n < 12 * math.log2(n)
