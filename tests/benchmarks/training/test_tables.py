"""Differences and speed-ups in the tables of benchmarks.training."""

from benchmarks.training.accuracy import difference
from benchmarks.training.precision import row


def test_the_error_of_a_difference_has_both_columns_seeds() -> None:
    shown = "+0.2000, standard error over seeds 0.1000; one accuracy's own is 0.0500"
    assert difference([0.5, 0.7], [0.4, 0.4], 100) == shown


def test_bf16_is_compared_seed_by_seed_and_a_speed_up_is_above_1() -> None:
    line = row("x", [(0.80, 2.0), (0.82, 4.0)], [(0.81, 1.0), (0.82, 3.0)])
    assert line == "| x | 0.8000 0.8200 | 0.8100 0.8200 | +0.50 +- 0.50 | 3.00, 2.00 | 1.50 |"
