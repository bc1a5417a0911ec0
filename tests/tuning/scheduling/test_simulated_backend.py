"""tuning.scheduling.simulated_backend: the times of epochs when real workers train what the clock decides."""

from collections.abc import Callable, Mapping

import pytest

from tuning.scheduling.asha import Asha
from tuning.scheduling.simulated_backend import JOB_SECONDS, ScoreFunction, simulate
from tuning.scheduling.virtual_clock import VirtualClock


def new_clock(
    n_trials: int, epochs: int, rule: Asha | None = None, parallelism: int = 1
) -> Callable[[ScoreFunction], VirtualClock]:
    """Return what makes a clock without a lag, whose epochs all have the virtual cost 1."""

    def make(score: ScoreFunction) -> VirtualClock:
        return VirtualClock(
            n_trials=n_trials,
            epochs=epochs,
            parallelism=parallelism,
            lag=0.0,
            rule=rule,
            start=lambda trial: 1.0,
            score=score,
        )

    return make


def ends(
    clock: Callable[[ScoreFunction], VirtualClock],
    workers: int,
    seconds: Callable[[int, int], float] = lambda trial, epoch: 3.0,
    trained: Mapping[int, int] | None = None,
) -> list[tuple[int, int, float]]:
    """Return trial, epoch and end of each epoch. A later trial has a better score."""
    found = simulate(clock, lambda trial, epoch: trial / 10, seconds, workers, trained or {})
    return [(each.trial, each.epoch, pytest.approx(each.seconds)) for each in found]


J = JOB_SECONDS


def test_one_worker_trains_one_job_after_the_other() -> None:
    assert ends(new_clock(2, 2, parallelism=2), 1) == [
        (0, 1, J + 3),
        (0, 2, J + 6),
        (1, 1, 2 * J + 9),
        (1, 2, 2 * J + 12),
    ]


def test_two_workers_train_two_jobs_at_the_same_time() -> None:
    assert ends(new_clock(2, 2, parallelism=2), 2) == [(0, 1, J + 3), (1, 1, J + 3), (0, 2, J + 6), (1, 2, J + 6)]


def test_an_epoch_has_its_own_time() -> None:
    found = ends(new_clock(2, 2, parallelism=2), 2, lambda trial, epoch: 10 * trial + epoch)
    assert found == [(0, 1, J + 1), (0, 2, J + 3), (1, 1, J + 11), (1, 2, J + 23)]


def test_a_worker_waits_while_a_result_is_missing() -> None:
    """One virtual worker decides about trial 1 after trial 0, so the second real worker has nothing to do."""
    clock = new_clock(2, 2)
    assert ends(clock, 2) == ends(clock, 1) == [(0, 1, J + 3), (0, 2, J + 6), (1, 1, 2 * J + 9), (1, 2, 2 * J + 12)]


def test_a_trial_that_continues_after_a_pause_takes_the_time_of_a_job_again() -> None:
    """Trial 1 is better than the baseline, so it is promoted at once."""
    found = ends(new_clock(2, 2, Asha(grace=1, reduction=2)), 1)
    assert found == [(0, 1, J + 3), (0, 2, J + 6), (1, 1, 2 * J + 9), (1, 2, 3 * J + 12)]


def test_epochs_that_exist_from_the_start_take_no_time() -> None:
    clock = new_clock(2, 2, parallelism=2)
    assert ends(clock, 1, trained={0: 1}) == [(0, 2, J + 3), (1, 1, 2 * J + 6), (1, 2, 2 * J + 9)]
    assert ends(clock, 1, trained={0: 2}) == [(1, 1, J + 3), (1, 2, J + 6)]
    assert ends(clock, 1, trained={0: 2, 1: 2}) == []


def test_decisions_use_the_scores_of_epochs_that_exist_from_the_start() -> None:
    clock = new_clock(3, 2, Asha(grace=1, reduction=2))
    assert ends(clock, 1, trained={0: 2, 1: 1, 2: 1}) == [(1, 2, J + 3), (2, 2, 2 * J + 6)]
