"""tuning.tracking.remaining_time: a simulation of the rest of a search."""

import math
import random
from collections.abc import Iterator, Mapping
from statistics import mean
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import TrialConfig
from tests.support.study_configs import plan
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import Budget
from tuning.scheduling.simulated_backend import JOB_SECONDS, simulate
from tuning.tracking import remaining_time
from tuning.tracking.remaining_time import RemainingTime

J = JOB_SECONDS
HALF = Asha(grace=1, reduction=2)
Epochs = dict[int, list[tuple[float, float]]]


@pytest.fixture(autouse=True)
def kept_for_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change makes a new estimate."""
    monkeypatch.setattr(remaining_time, "SHARE", math.inf)


def remaining(costs: Mapping[int, float], workers: int = 2, **changes: Any) -> RemainingTime:
    """Of a study of 6 trials of 4 epochs, without stopping, that all may start at once.

    Args:
        costs: virtual cost of an epoch, by number of the trials that have started.
        workers: number of real workers.
        changes: of the study.
    """
    config = plan(**{"n_trials": 6, "stopping": None, "parallelism": 6} | changes)
    made = RemainingTime(config=config, cost=lambda trial: trial.learning_rate, workers=workers)
    for number, cost in costs.items():
        made.add(number, TrialConfig(learning_rate=cost))
    return made


def rows(count: int, accuracy: float = 0.5, seconds: float = 10.0) -> list[tuple[float, float]]:
    """Return a number of equal epochs."""
    return [(accuracy, seconds)] * count


def test_what_is_left_is_shared_by_the_workers() -> None:
    """3 epochs of trial 0, then 4 of two others; 4 epochs of three others meanwhile; each takes 10 s."""
    assert remaining({0: 1.0}).seconds(lambda: {0: rows(1)}) == pytest.approx(3 * (40 + J))
    assert remaining({0: 1.0}, workers=1).seconds(lambda: {0: rows(1)}) == pytest.approx(30 + 5 * 40 + 6 * J)


def test_a_trial_takes_the_time_of_its_cost_and_a_later_one_that_of_the_mean_cost() -> None:
    """Trial 0 takes 5 s per unit of cost. Trial 1 has cost 6; later trials have the mean, 4."""
    left = remaining({0: 2.0, 1: 6.0}, workers=1, n_trials=3)
    assert left.seconds(lambda: {0: rows(4), 1: []}) == pytest.approx(4 * 6 * 5 + 4 * 4 * 5 + 2 * J)


def test_the_cost_of_a_trial_is_computed_once() -> None:
    left = remaining({0: 2.0})
    left.add(0, TrialConfig(learning_rate=7.0))
    assert left.costs == {0: 2.0}


def test_a_paused_trial_continues_if_it_may_be_promoted() -> None:
    """Of three trials at the rung one is promoted: trial 2 if it is the best, else trial 1, which has ended."""
    study = remaining(dict.fromkeys(range(3), 1.0), 1, n_trials=3, epochs=2, parallelism=1, lag=0.0, stopping=HALF)
    known: Epochs = {0: rows(2, 0.5), 1: rows(2, 0.6)}
    assert study.seconds(lambda: {**known, 2: rows(1, 0.9)}) == pytest.approx(10 + J)
    assert study.seconds(lambda: {**known, 2: rows(1, 0.1)}) == 0.0


def test_a_trial_that_has_ended_competes_for_a_promotion_with_its_best_score() -> None:
    """Of two trials at the rung one is promoted: trial 0, which has ended there, unless trial 1 is better."""
    study = remaining({0: 1.0, 1: 1.0}, 1, n_trials=2, epochs=2, parallelism=1, lag=0.0, stopping=HALF, baseline=False)
    study.closed.add(0)
    assert study.seconds(lambda: {0: rows(1, 0.6), 1: rows(1, 0.9)}) == pytest.approx(10 + J)
    assert study.seconds(lambda: {0: rows(1, 0.6), 1: rows(1, 0.5)}) == 0.0


def test_trials_that_repeat_others_take_no_time_and_are_expected_at_the_same_rate() -> None:
    """Of two trials one is a copy, so two of the next four are."""
    assert remaining({0: 1.0}, workers=1).seconds(lambda: {0: rows(4), 1: rows(4)}) == pytest.approx(2 * (40 + J))


def ticking(*moments: float) -> SimpleNamespace:
    """Return a module `time` whose clock says these moments one after the other."""
    clock: Iterator[float] = iter(moments)
    return SimpleNamespace(monotonic=lambda: next(clock))


def unused() -> Epochs:
    raise AssertionError("the epochs are not needed for an estimate that is kept")


def test_an_estimate_that_took_a_second_is_kept_for_50_and_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked at 0, 10, 49.9 and 50 seconds; each estimate takes a second."""
    monkeypatch.setattr(remaining_time, "SHARE", 0.02)
    monkeypatch.setattr(remaining_time, "time", ticking(0, 0, 0, 1, 10, 10, 49.9, 49.9, 50, 50, 50, 51))
    left = remaining({0: 1.0}, workers=1, n_trials=2)
    assert left.seconds(lambda: {0: rows(2)}) == pytest.approx(60 + 2 * J)
    assert left.seconds(unused) == pytest.approx(50 + 2 * J)
    assert left.seconds(unused) == pytest.approx(10.1 + 2 * J)
    assert left.seconds(lambda: {0: rows(4)}) == pytest.approx(40 + J)


def test_an_estimate_counts_down_until_the_next_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked at 0, 8 and 12 seconds; the third epoch ends in between."""
    monkeypatch.setattr(remaining_time, "time", ticking(0, 0, 0, 0, 8, 8, 8, 12, 12, 12, 12))
    left = remaining({0: 1.0}, workers=1, n_trials=2)
    assert left.seconds(lambda: {0: rows(2)}) == pytest.approx(60 + 2 * J)
    assert left.seconds(lambda: {0: rows(2)}) == pytest.approx(52 + 2 * J)
    assert left.seconds(lambda: {0: rows(3)}) == pytest.approx(50 + 2 * J)


def test_a_comparison_that_took_a_second_is_not_repeated_for_50(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked at 0, 8 and 58 seconds; the comparison at 8 takes a second."""
    monkeypatch.setattr(remaining_time, "SHARE", 0.02)
    monkeypatch.setattr(remaining_time, "time", ticking(0, 0, 0, 0, 8, 8, 9, 58, 58))
    left = remaining({0: 1.0}, workers=1, n_trials=2)
    assert left.seconds(lambda: {0: rows(2)}) == pytest.approx(60 + 2 * J)
    assert left.seconds(lambda: {0: rows(2)}) == pytest.approx(52 + 2 * J)
    assert left.seconds(unused) == pytest.approx(2 + 2 * J)


def error_of_estimate(seed: int, share: float, workers: int) -> float:
    """Return the error after a share of a search, as a part of its whole time.

    The search has 80 trials with random qualities and costs; its workers take 1.5 s per unit of cost.
    """
    rng = random.Random(seed)
    costs = [rng.choice((0.5, 1.0, 2.0)) for _ in range(80)]
    qualities = [rng.random() for _ in range(80)]
    config = plan(n_trials=80, epochs=9, parallelism=4, lag=2.0, stopping=Asha(grace=1, reduction=3))
    search = simulate(
        lambda known: config.clock(start=costs.__getitem__, score=known),
        lambda trial, epoch: qualities[trial] + 0.01 * epoch,
        lambda trial, epoch: 1.5 * costs[trial],
        workers,
    )
    whole = search[-1].seconds
    left = RemainingTime(config=config, cost=lambda trial: trial.learning_rate, workers=workers)
    epochs: Epochs = {}
    for each in search:
        if each.seconds <= share * whole:
            left.add(each.trial, TrialConfig(learning_rate=costs[each.trial]))
            known = (qualities[each.trial] + 0.01 * each.epoch, 1.5 * costs[each.trial])
            epochs.setdefault(each.trial, []).append(known)
    estimate = left.seconds(lambda: epochs)
    assert estimate is not None
    return (estimate - (1 - share) * whole) / whole


@pytest.mark.slow
@pytest.mark.parametrize(("share", "workers"), [(0.3, 1), (0.6, 1), (0.6, 4), (0.85, 1)])
def test_the_estimate_is_right_on_average(share: float, workers: int) -> None:
    errors = [error_of_estimate(seed, share, workers) for seed in range(12)]
    assert abs(mean(errors)) < 0.04
    assert max(map(abs, errors)) < 0.35


def test_after_the_target_only_the_decided_jobs_are_left() -> None:
    """Both trials were decided before the first result; the other four never start."""
    left = remaining({0: 1.0, 1: 1.0}, 1, parallelism=2, lag=0.0, baseline=False, budget=Budget(target=0.8))
    assert left.seconds(lambda: {0: rows(4, 0.9), 1: rows(1, 0.5)}) == pytest.approx(3 * 10 + J)


def test_an_epoch_that_no_trial_has_reached_is_no_target() -> None:
    left = remaining({0: 1.0}, 1, n_trials=2, parallelism=1, lag=0.0, baseline=False, budget=Budget(target=0.8))
    assert left.seconds(lambda: {0: rows(1, 0.5)}) == pytest.approx(30 + 40 + 2 * J)


def test_a_trial_that_failed_without_an_epoch_says_nothing_about_later_rungs() -> None:
    """Trial 1 is promoted to the second rung, and then trained in full as the best there."""
    study = remaining(
        dict.fromkeys(range(3), 1.0), 1, n_trials=3, parallelism=1, lag=0.0, stopping=HALF, baseline=False
    )
    study.closed.add(0)
    assert study.seconds(lambda: {0: [], 1: rows(1, 0.9), 2: rows(1, 0.5)}) == pytest.approx(30 + 2 * J)


def test_an_estimate_is_of_the_moment_of_its_request() -> None:
    left, known = remaining({0: 1.0}, workers=1, n_trials=2), {0: rows(2)}
    work = left.new_estimate(lambda: dict(known))
    assert work is not None
    left.add(1, TrialConfig(learning_rate=9.0))
    left.closed.add(0)
    known[0] = rows(4)
    work()
    assert left._kept == pytest.approx(20 + 40 + 2 * J)
