"""Replayed searches: their trainings, visible results and times."""

import dataclasses
from typing import Any

import pytest

from benchmarks.simulation.replay import CLOCK, STOPPING, UNORDERED, Policy, band, replay, trial_order
from benchmarks.simulation.unordered import Unordered
from tests.support.curves import EPOCHS, table
from tuning.scheduling.asha import Asha
from tuning.scheduling.simulated_backend import simulate

WITHOUT_RULE = Policy(rule=None, trials=10, noise=0, error=0)


@pytest.mark.parametrize("order", [CLOCK, UNORDERED, STOPPING])
def test_a_search_without_a_rule_trains_every_epoch_of_as_many_trials_as_asked(order: str) -> None:
    found = replay(table(), dataclasses.replace(WITHOUT_RULE, order=order), seed=1)
    assert found.epochs_by_trial == [EPOCHS] * 10
    assert found.curves == trial_order(table(), 1)[:10]
    assert len(found.best) == len(found.seconds) == 10 * EPOCHS
    assert found.best == sorted(found.best)
    assert found.seconds == sorted(found.seconds)


def test_the_utilization_is_the_work_over_the_workers_time() -> None:
    found = replay(table(), WITHOUT_RULE, seed=1)
    work = sum(EPOCHS * table().curves[curve].seconds + 0.2 for curve in found.curves)
    assert found.utilization == pytest.approx(work / (2 * found.wall))


def test_noise_changes_the_times_and_an_error_of_the_costs_only_those_of_the_clock() -> None:
    for order in (CLOCK, UNORDERED):
        exact = Policy(trials=40, noise=0, error=0, order=order)
        changes: tuple[dict[str, float], ...] = ({}, {"noise": 0.15}, {"error": 0.3})
        times = [replay(table(), dataclasses.replace(exact, **change), seed=1).seconds for change in changes]
        assert times[1] != times[0]
        assert (times[2] != times[0]) == (order == CLOCK)


@pytest.mark.parametrize("order", [UNORDERED, STOPPING])
def test_without_order_the_decisions_depend_on_the_workers(order: str) -> None:
    policy = Policy(trials=40, order=order)
    found = [replay(table(), dataclasses.replace(policy, parallelism=workers), seed=1) for workers in (1, 8)]
    assert found[0].epochs_by_trial != found[1].epochs_by_trial


@pytest.mark.parametrize("order", [CLOCK, UNORDERED, STOPPING])
def test_each_order_finds_the_same_best_with_fewer_epochs(order: str) -> None:
    whole = replay(table(), Policy(rule=None, trials=60), seed=1)
    found = replay(table(), Policy(trials=60, order=order), seed=1)
    assert found.best[-1] == whole.best[-1] == table().best
    assert len(found.best) < 0.7 * len(whole.best)


def test_one_trial_besides_the_baseline_is_trained_in_full_in_each_order() -> None:
    for order in (CLOCK, UNORDERED):
        found = replay(table(), Policy(trials=3, order=order), seed=1)
        assert sorted(found.epochs_by_trial) == [1, EPOCHS, EPOCHS]
        assert found.epochs_by_trial[0] == EPOCHS


def test_with_one_worker_and_no_lag_both_orders_decide_alike() -> None:
    """The baseline's rungs are the exception: without order, they are seen when its whole job has ended."""
    policy = Policy(trials=30, parallelism=1, lag=0)
    clock, free = (replay(table(), dataclasses.replace(policy, order=order), seed=1) for order in (CLOCK, UNORDERED))
    assert clock.epochs_by_trial == free.epochs_by_trial


def test_no_curve_is_used_twice_whatever_is_suggested() -> None:
    found = replay(table(25), Policy(sampler="tpe", trials=100), seed=1)
    assert sorted(found.curves) == list(range(25))


def test_epochs_until_an_accuracy_is_reached_and_their_band() -> None:
    found = replay(table(), Policy(trials=5), seed=1)
    assert found.epochs_until(found.best[7]) == found.best.index(found.best[7]) + 1
    assert found.epochs_until(2.0) == found.seconds_until(2.0) == float("inf")
    assert found.seconds_until(found.best[7]) == found.seconds[found.best.index(found.best[7])]
    assert band(range(100)) == (10, 50, 90)


def test_rays_form_continues_the_upper_part_of_the_reduction() -> None:
    """0.38 is above 0.35, which is above 75% of 0.1, 0.2, 0.3 and 0.5."""
    scores, epochs = (0.5, 0.1, 0.2, 0.3, 0.38), [0] * 5
    rule = Asha(grace=1, reduction=4)

    def clock(score: Any) -> Unordered:
        return Unordered(n_trials=5, epochs=8, rule=rule, stops=True, start=lambda trial: None, score=score)

    for end in simulate(clock, lambda trial, epoch: scores[trial], lambda trial, epoch: 1.0, 1):
        epochs[end.trial] += 1
    assert epochs == [8, 1, 1, 1, 4]
