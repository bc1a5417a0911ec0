"""The demand of many workers is compared with the capacity of each part of the driver."""

import pytest

from benchmarks.search.large_cluster import Rates, loads


def test_the_share_of_a_part_is_its_demand_times_its_seconds() -> None:
    rates = Rates(suggestion=0.1, report=0.01, record=0.002, job=0.05)
    found = {load.part: load for load in loads(rates, workers=100, epoch_seconds=10.0, epochs=5.0, jobs=3.0)}
    assert found["suggestions (tpe)"].wanted == pytest.approx(2)
    assert found["suggestions (tpe)"].share == pytest.approx(0.2)
    assert found["epoch in the journal"].share == pytest.approx(10 * 0.002)
    assert found["jobs through Ray, with their reports"].share == pytest.approx(2 * 3 * 0.05)
    assert found["the driver: jobs and suggestions"].share == pytest.approx(2 * (0.1 + 3 * 0.05))
