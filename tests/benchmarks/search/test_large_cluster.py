"""The demand of many workers is compared with the capacity of each part of the driver."""

import pytest

from benchmarks.search.large_cluster import Rates, loads


def test_a_part_is_as_busy_as_it_is_asked_and_bears_epochs_that_keep_it_so() -> None:
    rates = Rates(suggestion=0.1, report=0.01, record=0.002, trial=0.05)
    found = {load.part: load for load in loads(rates, workers=100, epoch_seconds=10.0, epochs=5.0)}
    assert found["suggestions (tpe)"].wanted == pytest.approx(2)
    assert found["suggestions (tpe)"].share == pytest.approx(0.2)
    assert found["journal, an epoch"].share == pytest.approx(10 * 0.002)
    assert found["the driver's process in all"].share == pytest.approx(2 * 0.15)
