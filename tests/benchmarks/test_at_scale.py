"""benchmarks.at_scale: the window's price in simulated time, and demand against capacity."""

import numpy as np
import pytest

from benchmarks.at_scale import Rates, loads
from benchmarks.order_window import lengths, wall, window_table
from tests.benchmarks.test_simulation import EPOCHS, table

UNEVEN = [9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_without_order_the_free_worker_takes_the_next_trial() -> None:
    assert wall(UNEVEN, 2, None) == 9
    assert wall(UNEVEN, 1, None) == sum(UNEVEN)


def test_a_window_of_one_is_one_trial_after_the_other() -> None:
    assert wall(UNEVEN, 4, 1) == sum(UNEVEN)


def test_the_oldest_trial_holds_up_what_is_beyond_the_window() -> None:
    # Trials 1 to 3 run beside trial 0; trial 4 and later ones wait for its end.
    assert wall(UNEVEN, 2, 4) == 9 + 2
    assert wall(UNEVEN, 2, len(UNEVEN)) == 9


def test_trials_are_as_long_as_recorded_ones_and_never_longer_than_whole() -> None:
    stopped, whole = lengths(table(), 500)
    assert set(whole) <= {EPOCHS * 1.0, EPOCHS * 2.0, EPOCHS * 3.0}
    assert (stopped <= whole).all()
    assert 0 < (stopped < whole).mean() < 1


def test_the_larger_the_window_the_more_trials_are_trained_whole_and_no_order_costs_nothing() -> None:
    rows = list(window_table(np.ones(40), np.full(40, 3.0), workers=4))[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    # Three earlier trials must be known before one is stopped: 4 + 2 of 40 are whole with a window of 4.
    assert [row[:3] for row in cells[:2]] == [["4", "15%", "1.30"], ["8", "25%", "1.50"]]
    assert cells[-1] == ["no order", "0%", "1.00", "100%", "1.00"]


def test_a_part_is_as_busy_as_it_is_asked_and_bears_epochs_that_keep_it_so() -> None:
    rates = Rates(suggestion=0.1, report=0.01, record=0.002, trial=0.05)
    found = {load.part: load for load in loads(rates, workers=100, epoch_seconds=10.0, epochs=5.0)}
    assert found["suggestions (tpe)"].wanted == pytest.approx(2)
    assert found["suggestions (tpe)"].share == pytest.approx(0.2)
    assert found["journal, an epoch"].share == pytest.approx(10 * 0.002)
    assert found["the driver's process in all"].share == pytest.approx(2 * 0.15)
