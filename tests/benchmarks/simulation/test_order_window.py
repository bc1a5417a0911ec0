"""What the order window costs in simulated time."""

from benchmarks.simulation.order_window import many, searched, seconds_of, wall, window_table
from tests.support.curves import EPOCHS, table

UNEVEN = [9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_where_nothing_waits_the_free_worker_takes_the_next_trial() -> None:
    assert wall(UNEVEN, 2) == 9
    assert wall(UNEVEN, 1) == sum(UNEVEN)


def test_curves_are_drawn_from_the_recorded_ones_and_no_two_are_alike() -> None:
    drawn = many(table(5), 50)
    assert len(drawn.curves) == 50
    firsts = [curve.epochs[0].val_accuracy for curve in drawn.curves]
    assert len(set(firsts)) == 50
    assert {round(each, 4) for each in firsts} <= {round(curve.epochs[0].val_accuracy, 4) for curve in table(5).curves}


def test_a_wider_window_waits_less_and_a_search_is_never_faster_than_its_trials() -> None:
    rows = list(window_table(many(table(), 80), workers=4))[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["4", "8", "16", "32"]
    prices = [float(row[3]) for row in cells]
    assert prices[0] == max(prices) > 1.2 > prices[-1] >= 1
    assert all(1 < float(row[1]) < EPOCHS / 2 for row in cells)


def test_a_window_of_one_is_one_trial_after_the_other() -> None:
    found = searched(table(10), 3, 1)
    assert found.seconds[-1] == sum(seconds_of(table(10), found))
