"""tuning.scheduling.timeline: when trials are over that are handed out in order and wait at rungs."""

import dataclasses

import numpy as np
import pytest

from benchmarks.simulation.replay import Policy, Simulation
from tests.support.curves import EPOCHS, table
from tuning.scheduling.successive_halving import SuccessiveHalving
from tuning.scheduling.timeline import completion_times


def test_one_worker_takes_trials_one_after_the_other_and_two_share_them() -> None:
    assert completion_times([3, 1, 2, 2], 1, window=4).tolist() == [3, 4, 6, 8]
    assert completion_times([3, 1, 2, 2], 2, window=4).tolist() == [3, 3, 3, 5]


def test_a_narrow_window_makes_workers_wait() -> None:
    """Trial 2 may begin only when trials 0 and 1 are over, though a worker is free at 1."""
    assert completion_times([3, 1, 2, 2], 2, window=1).tolist() == [3, 4, 6, 8]
    assert completion_times([3, 1, 2], 2, window=2).tolist() == [3, 3, 5]


def test_a_trial_waits_at_a_rung_for_those_before_it_and_its_worker_takes_another() -> None:
    """Trials 1 and 2 are at the rung at 1 and 2, trial 0 at 4; trial 1 goes on at once then, trial 2 ends."""
    over = completion_times([8, 2, 1], 2, window=3, epochs=[2, 2, 1], rungs=[1])
    assert over.tolist() == [8, 8, 8]
    assert completion_times([8, 2, 1, 5], 2, window=4, epochs=[2, 2, 1, 1], rungs=[1])[-1] == 8
    assert completion_times([8, 2, 1, 5], 3, window=4, epochs=[2, 2, 1, 1], rungs=[1])[-1] == 8
    assert completion_times([2, 6], 2, window=2, epochs=[2, 2], rungs=[1], together=2).tolist() == [2, 6]


def test_one_that_is_stopped_is_no_longer_waited_for_at_the_next_rung() -> None:
    over = completion_times([4, 1, 4], 3, window=3, epochs=[4, 1, 4], rungs=[1, 2], together=3)
    assert over.tolist() == [4, 4, 4]


@pytest.mark.parametrize("workers", [1, 2, 5, 16])
@pytest.mark.parametrize("window", [4, 16])
def test_it_is_the_timetable_of_a_search_that_decides_as_it_goes(workers: int, window: int) -> None:
    curves = []
    for number, curve in enumerate(table(40).curves):  # no two moments the same
        seconds = 1 + (number * 0.6180339) % 1
        curves.append(
            dataclasses.replace(curve, epochs=tuple(dataclasses.replace(e, seconds=seconds) for e in curve.epochs))
        )
    rule = SuccessiveHalving(grace=1, reduction=2)
    policy = Policy(stopping=rule, trials=40, workers=workers, window=window)
    found = Simulation(dataclasses.replace(table(40), curves=tuple(curves)), policy, seed=1).run()
    assert len(set(found.epochs_by_trial)) > 1
    each = [curves[at].epochs[0].seconds for at in found.curves]
    over = completion_times(
        (np.array(each) * found.epochs_by_trial).tolist(),
        workers,
        window,
        epochs=found.epochs_by_trial,
        rungs=rule.rungs(EPOCHS),
        together=min(window, 40),
    )
    assert over[-1] == pytest.approx(found.seconds[-1])
