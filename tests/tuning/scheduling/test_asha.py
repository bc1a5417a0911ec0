"""tuning.scheduling.asha: the epochs after which trials pause; test_virtual_clock.py has the promotions."""

import pytest

from tuning.scheduling.asha import Asha


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
