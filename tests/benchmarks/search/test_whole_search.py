"""What is computed from a part of a search, and how many epochs stopping leaves."""

import dataclasses

import pytest

from benchmarks.baselines.sentune_studies import seconds_an_epoch, spread_sample, verdict_in
from benchmarks.search.ray_and_optuna import Searched, Tried
from benchmarks.search.whole_search import Row, computed, show_claims
from benchmarks.simulation.replay import Curve
from benchmarks.simulation.stopped_epochs import (
    asha_epochs,
    fewest_asha,
    fewest_median,
    median_epochs,
    under_median_pruner,
)
from core.training.result import EpochResult
from tests.support.curves import EPOCHS, table
from tuning.journal.records import TrialRecord
from tuning.scheduling.successive_halving import SuccessiveHalving


def record(number: int, seconds: float, epochs: int = 2) -> TrialRecord:
    """A trial whose epochs took so long each."""
    result = EpochResult(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=0.5, seconds=seconds)
    return TrialRecord(
        number=number,
        state="COMPLETE",
        params={},
        config={},
        origin="sampler",
        epochs=tuple(dataclasses.replace(result, epoch=epoch) for epoch in range(1, epochs + 1)),
        error=None,
        n_parameters=1,
    )


def flat(*accuracies: float) -> list[Curve]:
    """A curve of four epochs for each accuracy, which it always has."""
    epoch = EpochResult(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=0.0, seconds=1.0)
    return [
        Curve(
            config={},
            params={},
            epochs=tuple(dataclasses.replace(epoch, epoch=i, val_accuracy=accuracy) for i in range(1, 5)),
        )
        for accuracy in accuracies
    ]


def test_a_long_trial_counts_no_more_than_a_short_one_in_the_seconds_of_an_epoch() -> None:
    assert seconds_an_epoch([record(0, 1.0, epochs=10), record(1, 3.0, epochs=1)]) == pytest.approx(2.0)


def test_a_sample_is_spread_from_cheap_to_dear() -> None:
    trials = [record(number, seconds) for number, seconds in enumerate([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0])]
    assert [trial.epochs[0].seconds for trial in spread_sample(trials, 4)] == [2.0, 4.0, 6.0, 8.0]
    assert sorted(trial.number for trial in spread_sample(trials, 8)) == list(range(8))


def test_the_whole_is_computed_from_the_rate_of_a_part_and_from_how_dear_all_trials_are() -> None:
    part = Searched(seconds=99.0, trials=[Tried(params={}, seconds=[10.0, 20.0], accuracies=[0.5, 0.5])])
    row = computed(part, scale=2.0, epochs=240, at_once=2)
    assert row.epoch_seconds == pytest.approx(30.0)
    assert row.seconds == pytest.approx(240 * 30.0 / 2)


def test_trials_below_the_median_are_pruned_once_five_were_whole() -> None:
    assert under_median_pruner(flat(0.5, 0.6, 0.7, 0.8, 0.9, 0.1), epochs=4) == 5 * 4 + 1
    assert under_median_pruner(flat(0.5, 0.6, 0.7, 0.8, 0.9, 0.95), epochs=4) == 6 * 4
    assert under_median_pruner(flat(0.5, 0.1), epochs=3) == 2 * 3


def test_stopping_trains_fewer_epochs_than_all_and_no_fewer_than_its_rule_allows() -> None:
    rule = SuccessiveHalving(grace=2, reduction=3)
    assert fewest_asha(20, EPOCHS, rule) <= asha_epochs(table(), 20, EPOCHS, rule) < 20 * EPOCHS
    assert fewest_median(20, EPOCHS) <= median_epochs(table(), 20, EPOCHS) < 20 * EPOCHS


def test_the_fewest_epochs_are_those_of_searches_in_which_everyone_but_the_first_is_stopped() -> None:
    assert fewest_asha(24, 10, SuccessiveHalving(grace=2, reduction=3)) == 10 + 23 * 2
    assert fewest_median(24, 10) == 5 * 10 + 19
    assert fewest_median(3, 10) == 30


def test_claims_stand_on_the_faster_of_the_two_searches_without_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        name: Row(seconds=seconds, epochs=1, epoch_seconds=1.0, how="")
        for name, seconds in {"a1": 200.0, "a2": 160.0, "b": 40.0, "c": 30.0}.items()
    }
    show_claims(10.0, rows, {"b": 20.0}, tell=True)
    said = capsys.readouterr().out
    assert "the better of a1 and a2: 16.00 times faster, at least 15 claimed: holds" in said
    assert "against b: 4.00 times faster, at least 5 claimed: DOES NOT HOLD" in said
    assert "b with the fewest epochs: 2.00 times faster\n" in said


def test_the_verdict_is_the_line_that_says_whether_a_trial_was_reproduced() -> None:
    said = "epoch 1: ...\nREPRODUCED 3/3 epochs and the final weights\nval accuracy 0.7\n"
    assert verdict_in(said) == "REPRODUCED 3/3 epochs and the final weights"
