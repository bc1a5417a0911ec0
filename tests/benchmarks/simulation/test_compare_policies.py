"""The price of order against free asynchronous search."""

import pytest

from benchmarks.simulation.compare_policies import ordered_and_free
from benchmarks.simulation.replay import Policy
from tests.support.curves import table
from tuning.scheduling.successive_halving import SuccessiveHalving


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order_costs_nothing_where_nothing_waits(workers: int) -> None:
    """With a window of all trials each worker takes the next one when it is free, as without order."""
    slow, fast = ordered_and_free(table(), Policy(workers=workers, window=60, trials=60), seed=1)
    assert slow == fast


def test_order_costs_more_the_smaller_the_window() -> None:
    policies = [
        Policy(workers=4, window=window, trials=60, stopping=SuccessiveHalving(grace=1)) for window in (4, 8, 16)
    ]
    prices = [slow / fast for slow, fast in (ordered_and_free(table(), policy, seed=1) for policy in policies)]
    assert prices[0] > prices[1] > prices[2] >= 1
