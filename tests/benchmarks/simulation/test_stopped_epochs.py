"""The number of epochs that a search trains under ASHA and under the median pruner."""

import pytest

from benchmarks.simulation.curves import Curve
from benchmarks.simulation.stopped_epochs import (
    asha_epochs,
    fewest_asha,
    fewest_median,
    median_epochs,
    under_median_pruner,
)
from tests.support.curves import EPOCHS, table
from tests.support.epochs import epoch
from tuning.scheduling.asha import Asha


def flat(*accuracies: float) -> list[Curve]:
    """A curve of four epochs for each accuracy, which it always has."""
    epochs = [tuple(epoch(number, accuracy) for number in range(1, 5)) for accuracy in accuracies]
    return [Curve(config={}, params={}, epochs=each) for each in epochs]


def test_trials_below_the_median_are_pruned_once_five_were_whole() -> None:
    assert under_median_pruner(flat(0.5, 0.6, 0.7, 0.8, 0.9, 0.1), epochs=4) == 5 * 4 + 1
    assert under_median_pruner(flat(0.5, 0.6, 0.7, 0.8, 0.9, 0.95), epochs=4) == 6 * 4
    assert under_median_pruner(flat(0.5, 0.1), epochs=3) == 2 * 3


@pytest.mark.slow
def test_stopping_trains_fewer_epochs_than_all_and_no_fewer_than_its_rule_allows() -> None:
    rule = Asha(grace=2, reduction=3)
    assert fewest_asha(20, EPOCHS, rule) <= asha_epochs(table(), 20, EPOCHS, rule) < 20 * EPOCHS
    assert fewest_median(20, EPOCHS) <= median_epochs(table(), 20, EPOCHS) < 20 * EPOCHS


def test_the_fewest_epochs_are_those_of_searches_in_which_all_but_the_first_are_stopped() -> None:
    assert fewest_asha(24, 10, Asha(grace=2, reduction=3)) == 10 + 23 * 2
    assert fewest_median(24, 10) == 5 * 10 + 19
    assert fewest_median(3, 10) == 30
