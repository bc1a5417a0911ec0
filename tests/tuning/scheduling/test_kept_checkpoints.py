"""The paused trials that keep their checkpoints: the best ones at each rung, the same after a restart."""

from dataclasses import replace

import pytest

from tests.support.epochs import epoch
from tests.support.memory_store import SEGMENT, MemoryStore, job_of, schedule_of, train
from tests.support.study_configs import plan
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import KEPT_PAUSED, Schedule
from tuning.scheduling.study_config import StudyConfig

PLAN = plan(n_trials=40, parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=4))


def trained(store: MemoryStore, config: StudyConfig, jobs: int) -> Schedule:
    """Train a number of jobs with scores that fall and rise; return the schedule."""
    schedule = schedule_of(store, config)
    for _ in range(jobs):
        job = job_of(schedule)
        train(schedule, job, 0.5 + job.trial * 7 % 40 / 100)
    return schedule


def test_the_best_paused_trials_keep_their_checkpoints() -> None:
    """As many as KEPT_PAUSED for one virtual worker; the baseline is not paused but ends."""
    store = MemoryStore()
    never = replace(PLAN, stopping=Asha(grace=1, reduction=100))
    schedule = trained(store, never, 1 + 10)
    best = sorted(range(1, 11), key=lambda trial: -(trial * 7 % 40))
    assert schedule.with_checkpoints() == sorted(best[:KEPT_PAUSED])
    assert sorted(store.without_checkpoints) == sorted([0, *best[KEPT_PAUSED:]])


def test_each_rung_and_each_virtual_worker_has_places_of_its_own() -> None:
    store = MemoryStore()
    wide = replace(PLAN, parallelism=3, stopping=Asha(grace=1, reduction=100))
    schedule = trained(store, wide, 1 + 3 * KEPT_PAUSED)
    assert len(schedule.with_checkpoints()) == 3 * KEPT_PAUSED
    assert store.without_checkpoints == [0]


def test_a_trial_that_is_promoted_leaves_its_place() -> None:
    """Trial 1 is better than the baseline and is promoted at once."""
    schedule = trained(MemoryStore(), replace(PLAN, stopping=Asha(grace=1, reduction=2)), 2)
    assert schedule.with_checkpoints() == [1]
    job = job_of(schedule)
    assert (job.trial, job.first) == (1, 2)
    assert schedule.with_checkpoints() == [1]
    schedule.report(1, epoch(2, 0.6))
    schedule.end(1, {"error": "the loss is NaN"}, {"since": 1.0, "until": 2.0})
    assert schedule.with_checkpoints() == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [3, 8, 17, 30, 45])
def test_the_same_trials_keep_their_checkpoints_after_a_restart(jobs: int) -> None:
    """Trials that were promoted before the restart take no places at the rungs that they have passed."""
    store = MemoryStore()
    before = trained(store, PLAN, jobs)
    removed = set(store.without_checkpoints)
    after = schedule_of(store, PLAN)
    next_job, again = job_of(before), job_of(after)
    assert (again.trial, again.first, again.last) == (next_job.trial, next_job.first, next_job.last)
    assert after.with_checkpoints() == before.with_checkpoints()
    assert set(store.without_checkpoints) == removed


def test_a_restart_removes_no_checkpoints_of_a_trial_that_was_promoted() -> None:
    """Trial 1 loses its place to trials whose results are not visible yet, and trains again once it is promoted."""
    store = MemoryStore()
    config = replace(PLAN, lag=8.0, baseline=False, stopping=Asha(grace=1, reduction=2))
    before = Schedule(store, config, lambda config: 1.0, [], StopSignal())
    for _ in range(10):
        job = job_of(before)
        train(before, job, 0.5 + job.trial / 100)
    promoted = job_of(before)
    assert (promoted.trial, promoted.first) == (1, 2)
    assert 1 in store.without_checkpoints
    train(before, promoted, 0.51)
    assert before.with_checkpoints() == [1, 6, 7, 8, 9]
    store.without_checkpoints.clear()
    job_of(Schedule(store, config, lambda config: 1.0, [], StopSignal()))
    assert store.without_checkpoints == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("restart", [False, True])
def test_a_trial_that_patience_ended_takes_no_place_of_a_paused_one(restart: bool) -> None:
    """Trial 1 is promoted from epoch 1 to 3, and ends after epoch 2."""
    store, config = MemoryStore(), replace(PLAN, epochs=9, patience=1, stopping=Asha(grace=1, reduction=3))
    schedule = schedule_of(store, config)
    train(schedule, job_of(schedule), 0.1)
    while (job := job_of(schedule)).first == 1:
        train(schedule, job, 0.9 if job.trial == 1 else 0.5)
    assert (job.trial, job.last) == (1, 3)
    schedule.report(1, epoch(2, 0.9))
    schedule.end(1, {"n_parameters": 1}, SEGMENT)
    after = schedule_of(store, config) if restart else schedule
    job_of(after)
    assert after.with_checkpoints() == [2, 3]


def test_a_trial_whose_worker_died_keeps_its_checkpoints() -> None:
    store = MemoryStore()
    schedule = trained(store, PLAN, 1)
    schedule.end(job_of(schedule).trial, {}, {"since": 1.0, "until": 2.0}, worker_died=True)
    assert schedule.with_checkpoints() == [1]
