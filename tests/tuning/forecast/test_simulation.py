"""tuning.forecast.simulation: a search in simulated time."""

import dataclasses

import numpy as np
import pytest

from tests.support.study_configs import plan
from tuning.forecast import simulation
from tuning.forecast.simulation import (
    PERSISTENCE,
    STARTS,
    WAITS,
    EpochCosts,
    Range,
    costs_of_trials,
    ends_of_trials,
    forecast,
    rank_as_trained,
    scores_of_trials,
)
from tuning.scheduling.asha import FAILED
from tuning.scheduling.simulated_backend import JOB_SECONDS

START = 4.0
COSTS = EpochCosts(own=(1.0, 2.0, 3.0), others=(1.0, 2.0, 4.0), start=START)
SURE = EpochCosts(own=(1.0,) * 12, others=(), start=START)


def test_without_patience_every_trial_ends_after_its_last_epoch() -> None:
    assert ends_of_trials(plan(), np.random.default_rng(0)) == [4] * 12


def test_patience_ends_trials_after_it_and_before_the_last_epoch() -> None:
    ends = ends_of_trials(plan(n_trials=200, epochs=10, patience=3), np.random.default_rng(0))
    assert (min(ends), max(ends), len(set(ends))) == (4, 10, 7)
    drawn = [ends_of_trials(plan(n_trials=200, epochs=10, patience=3), np.random.default_rng(s)) for s in range(60)]
    assert 0.5 < np.mean([each.count(10) / 200 for each in drawn]) < 0.8
    assert ends_of_trials(plan(n_trials=3, epochs=2, patience=3), np.random.default_rng(0)) == [2, 2, 2]


def test_scores_of_one_trial_are_alike_and_later_trials_are_better() -> None:
    even, the_plan = np.ones(200), plan(n_trials=200, epochs=6)
    drawn = [scores_of_trials(the_plan, even, np.random.default_rng(seed)) for seed in range(60)]
    assert drawn[0].shape == (200, 6)
    correlation = np.mean([np.corrcoef(scores[:, 1], scores[:, 4])[0, 1] for scores in drawn])
    assert correlation == pytest.approx(PERSISTENCE**2, abs=0.15)  # without differences of cost
    assert 0.1 < np.mean([scores[100:].mean() - scores[:100].mean() for scores in drawn]) < 0.4


def test_trials_that_cost_more_are_better() -> None:
    costs = np.exp(np.random.default_rng(1).normal(size=200))
    scores = scores_of_trials(plan(n_trials=200, epochs=6), costs, np.random.default_rng(0))
    assert 0.2 < np.corrcoef(np.log(costs), scores.mean(axis=1))[0, 1] < 0.5


def test_the_studys_own_trials_cost_what_the_probe_measured() -> None:
    drawn = costs_of_trials(50, COSTS, np.random.default_rng(0))
    assert drawn[:3].tolist() == [1.0, 2.0, 3.0]
    assert set(drawn[3:]) <= {1.0, 2.0, 4.0}
    assert costs_of_trials(2, COSTS, np.random.default_rng(0)).tolist() == [1.0, 2.0]


def test_the_forecast_of_a_search_without_chance_is_its_time() -> None:
    """12 trials of 4 epochs of a second on two workers: 24 s, and the time of jobs and of the start."""
    found = forecast(plan(stopping=None, parallelism=12), SURE, workers=2)
    assert (found.whole_epochs, found.epochs, found.rungs) == (48, Range(low=48, middle=48, high=48), ())
    expected = 24 + 6 * JOB_SECONDS + START * sum(STARTS) / 2 + sum(WAITS) / 2
    assert found.seconds.low < expected < found.seconds.high
    assert found.seconds.middle == pytest.approx(expected, rel=0.1)
    assert found.seconds.high < 1.5 * expected


def test_workers_beyond_the_virtual_ones_save_no_time_without_a_lag() -> None:
    """Each decision waits for the one trial before it."""
    one, four = (forecast(plan(stopping=None, parallelism=1, lag=0.0), SURE, workers) for workers in (1, 4))
    assert four.seconds.middle == pytest.approx(one.seconds.middle)


def test_epochs_that_are_trained_already_cost_nothing() -> None:
    found = forecast(plan(stopping=None, parallelism=12), SURE, 1, dict.fromkeys(range(9), [0.5] * 4))
    assert found.epochs.middle == found.whole_epochs == 12
    assert found.seconds.high < 12 * 1.3 + 3 * JOB_SECONDS + START * STARTS[1] + WAITS[1]
    half = forecast(plan(stopping=None, parallelism=12), SURE, 1, {0: [0.5] * 2, 1: [0.5] * 3})
    assert half.epochs.middle == half.whole_epochs == 43


def test_a_study_that_is_complete_takes_its_start_alone() -> None:
    found = forecast(plan(stopping=None), SURE, 1, dict.fromkeys(range(12), [0.5] * 4))
    assert found.epochs == Range(low=0, middle=0, high=0)
    assert found.seconds.high < START * STARTS[1] + WAITS[1]


def test_one_more_trial_trains_what_the_scores_of_the_others_leave() -> None:
    """It trains two epochs, and a fourth of twelve trials is promoted: two more."""
    trained = {number: [1 - number / 100] * (4 if number < 3 else 2) for number in range(11)}
    found = forecast(plan(), SURE, 2, trained)
    assert found.epochs == Range(low=4, middle=4, high=4)


def test_trained_trials_keep_their_order_and_those_that_were_promoted_have_the_best_scores() -> None:
    """Failures and copies are at no rung."""
    scores = np.arange(12.0).reshape(4, 3)
    rank_as_trained(scores, {0: [0.9] * 3, 1: [0.2], 2: [FAILED] * 3}, [1, 3])
    assert scores.tolist() == [[6, 1, 8], [3, 4, 5], [FAILED, 7, FAILED], [9, 10, 11]]


@pytest.mark.slow
def test_more_workers_and_more_stopping_take_less_time() -> None:
    slow = forecast(plan(n_trials=30, parallelism=12, stopping=None), COSTS, workers=1)
    fast = forecast(plan(n_trials=30, parallelism=12, stopping=None), COSTS, workers=4)
    stopped = forecast(plan(n_trials=30, parallelism=12), COSTS, workers=1)
    assert fast.seconds.high < slow.seconds.low
    assert stopped.epochs.middle < stopped.whole_epochs == 120
    assert stopped.seconds.middle < slow.seconds.middle
    assert stopped.rungs == (2,)


@pytest.mark.slow
def test_a_search_of_many_trials_is_simulated_with_fewer_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MAX_SIMULATED", 300)
    whole, longer = forecast(plan(n_trials=300), SURE, 2), forecast(plan(n_trials=30_000), SURE, 2)
    assert longer.whole_epochs == 120_000
    assert longer.epochs.middle / whole.epochs.middle == pytest.approx(100, rel=0.05)
    assert longer.seconds.middle / whole.seconds.middle == pytest.approx(100, rel=0.1)
    resumed = forecast(plan(n_trials=900), SURE, 2, dict.fromkeys(range(750), [0.5] * 4))
    assert resumed.epochs.middle / whole.epochs.middle == pytest.approx(0.5, rel=0.1)
    ended = forecast(plan(n_trials=900), SURE, 2, dict.fromkeys(range(900), [0.5] * 4))
    assert (ended.epochs.high, ended.seconds.high < START * STARTS[1] + WAITS[1]) == (0, True)


def test_the_same_probe_gives_the_same_forecast() -> None:
    assert dataclasses.asdict(forecast(plan(), COSTS, 2)) == dataclasses.asdict(forecast(plan(), COSTS, 2))


def test_a_range_has_nine_of_ten_simulations() -> None:
    found = Range.of(np.arange(101.0))
    assert (found.low, found.middle, found.high) == pytest.approx((5, 50, 95))


def test_patience_saves_epochs_and_time() -> None:
    whole_plan = plan(stopping=None, parallelism=12, epochs=6)
    costs = EpochCosts(own=(10.0,) * 12, others=(), start=0.0)
    whole, patient = (forecast(dataclasses.replace(whole_plan, patience=each), costs, 1) for each in (None, 1))
    assert patient.epochs.middle < whole.epochs.middle == 72
    assert patient.seconds.middle < 0.95 * whole.seconds.middle
