"""tuning.forecast.simulation: a search in simulated time."""

import dataclasses

import numpy as np
import pytest

from core.training.result import EpochResult
from tests.support.study_configs import plan
from tuning.forecast.simulation import (
    STARTS,
    WAITS,
    EpochCosts,
    Range,
    apply_halving,
    costs_of_trials,
    epochs_of_trials,
    forecast,
)
from tuning.scheduling.successive_halving import Decision, RungTable, SuccessiveHalving
from tuning.scheduling.timeline import TRIAL_SECONDS

START = 4.0
COSTS = EpochCosts(own=(1.0, 2.0, 3.0), others=(1.0, 2.0, 4.0), start=START)
SURE = EpochCosts(own=(1.0,) * 12, others=(), start=START)


def test_without_stopping_every_trial_has_all_its_epochs() -> None:
    assert epochs_of_trials(plan(stopping=None), np.random.default_rng(0)).tolist() == [4] * 12


def test_trials_are_stopped_at_rungs_and_the_first_ones_where_they_are_compared_with_one_another() -> None:
    """Three peers are needed: by themselves trials 0 to 2 go on in any case, and trial 0 always does."""
    for together, whole in ((1, 1.0), (8, 0.25)):  # two of eight, whom nobody else is left to beat
        the_plan = plan(
            n_trials=40, epochs=20, window=8, stopping=SuccessiveHalving(grace=2, reduction=3, cohort=together)
        )
        drawn = np.array([epochs_of_trials(the_plan, np.random.default_rng(seed)) for seed in range(50)])
        assert set(np.unique(drawn)) == {2, 6, 18, 20}
        assert (drawn[:, 0] == 20).all()
        assert (drawn[:, 1:3] == 20).mean() == pytest.approx(whole, abs=0.08)
        assert 0.4 < (drawn[:, 8:] == 2).mean() < 0.75  # two in three, fewer where later trials are better


@pytest.mark.parametrize("seed", range(5))
def test_the_simulated_rule_is_the_real_one(seed: int) -> None:
    """On curves that rise, so that the last epoch is the best so far."""
    rng, rule = np.random.default_rng(seed), SuccessiveHalving(grace=1, reduction=2, cohort=5)
    curves = np.sort(rng.random((15, 6)), axis=1)
    table, done, over = RungTable(rule, 6), [0] * 15, set[int]()
    while len(over) < 15:
        number = int(rng.choice(15))
        decision = table.decide(number, done[number]) if done[number] else Decision.CONTINUE
        if number in over or decision == Decision.PAUSE:
            continue
        if decision == Decision.CONTINUE:
            done[number] += 1
        if decision == Decision.STOP or done[number] == 6:
            over.add(number)
        own = [
            EpochResult(epoch=at, train_loss=0.0, val_loss=0.0, val_accuracy=accuracy, seconds=0.0)
            for at, accuracy in enumerate(curves[number, : done[number]].tolist(), 1)
        ]
        table.record_scores(number, own, over=number in over)
    scores = np.array([curves[:, rung - 1] for rung in table.rungs])
    found = apply_halving(np.full(15, 6), scores, list(table.rungs), rule.reduction, rule.cohort)
    assert found.tolist() == done
    assert len(set(done)) > 2


def test_a_harder_rule_stops_more() -> None:
    def mean(rule: SuccessiveHalving) -> float:
        the_plan = plan(n_trials=40, epochs=8, stopping=rule)
        return float(np.mean([epochs_of_trials(the_plan, np.random.default_rng(seed)).mean() for seed in range(30)]))

    assert mean(SuccessiveHalving(reduction=4)) < mean(SuccessiveHalving(reduction=2)) < 8


def test_patience_ends_trials_after_it_and_before_the_last_epoch() -> None:
    the_plan = plan(n_trials=200, epochs=10, stopping=None, patience=3)
    drawn = epochs_of_trials(the_plan, np.random.default_rng(0))
    assert (drawn.min(), drawn.max()) == (4, 10)


def test_the_studys_own_trials_cost_what_the_probe_measured() -> None:
    drawn = costs_of_trials(50, COSTS, np.random.default_rng(0))
    assert drawn[:3].tolist() == [1.0, 2.0, 3.0]
    assert set(drawn[3:]) <= {1.0, 2.0, 4.0}
    assert costs_of_trials(2, COSTS, np.random.default_rng(0)).tolist() == [1.0, 2.0]


def test_the_forecast_of_a_search_without_chance_is_its_time() -> None:
    """12 trials of 4 epochs of a second on two workers: 24 s and what trials and start cost."""
    found = forecast(plan(stopping=None, window=12), SURE, workers=2)
    assert (found.whole_epochs, found.epochs, found.rungs) == (48, Range(low=48, middle=48, high=48), ())
    expected = 24 + 6 * TRIAL_SECONDS + START * sum(STARTS) / 2 + sum(WAITS) / 2
    assert found.seconds.low < expected < found.seconds.high
    assert found.seconds.middle == pytest.approx(expected, rel=0.1)
    assert found.seconds.high < 1.5 * expected


def test_trials_that_are_done_cost_nothing() -> None:
    found = forecast(plan(stopping=None, window=12), SURE, workers=1, done=9)
    assert found.epochs.middle == found.whole_epochs == 12
    assert found.seconds.high < 12 * 1.3 + 3 * TRIAL_SECONDS + START * STARTS[1] + WAITS[1]


def test_more_workers_and_more_stopping_take_less_time() -> None:
    slow = forecast(plan(n_trials=30, window=12, stopping=None), COSTS, workers=1)
    fast = forecast(plan(n_trials=30, window=12, stopping=None), COSTS, workers=4)
    stopped = forecast(plan(n_trials=30, window=12), COSTS, workers=1)
    assert fast.seconds.high < slow.seconds.low
    assert stopped.epochs.middle < stopped.whole_epochs == 120
    assert stopped.seconds.middle < slow.seconds.middle


def test_as_many_trials_fit_into_a_time_as_all_but_surely_end_in_it() -> None:
    found = forecast(plan(stopping=None, window=12), SURE, workers=1)
    assert found.trials_within(1.0) == 0
    assert found.trials_within(found.seconds_of_first[4]) == 5
    assert found.trials_within(1e9) == 12


def test_the_same_probe_gives_the_same_forecast() -> None:
    assert dataclasses.asdict(forecast(plan(), COSTS, 2)) == dataclasses.asdict(forecast(plan(), COSTS, 2))
