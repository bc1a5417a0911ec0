"""The schedule alone: no Ray, no disk, no wall clock; trials are stored in memory."""

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from core.errors import UserError
from core.training.result import EpochResult
from tests.support.epochs import epoch
from tests.support.memory_store import SEGMENT, MemoryStore, content, job_of, resume, run, schedule_of, score_of, train
from tests.support.study_configs import ONE_OR_TWO_LAYERS, plan
from tuning.journal.records import SEGMENTS
from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.budget import Budget
from tuning.scheduling.schedule import OOM, Callback, Job, common_failure
from tuning.scheduling.virtual_clock import NoJob


def test_a_job_names_the_trial_its_configuration_and_its_epochs() -> None:
    job = job_of(schedule_of(MemoryStore(), plan(n_trials=2, stopping=None)))
    assert (job.trial, job.first, job.last) == (0, 1, 4)
    assert TrialConfig.from_dict(job.config) == TrialConfig.notebook(epochs=4, seed=7)  # trial 0 is the baseline


def test_a_study_ends_when_every_trial_has_ended() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=3, parallelism=3, stopping=None))
    jobs = [job_of(schedule) for _ in range(3)]
    assert schedule.next_job() is NoJob.WAIT  # a running trial may still be handed out again
    for job in jobs:
        train(schedule, job, 0.5)
    assert schedule.next_job() is NoJob.DONE
    assert [trial.state for trial in store.trials()] == [TrialState.COMPLETE] * 3


def test_a_trial_pauses_at_a_rung_and_continues_from_there_when_it_is_promoted() -> None:
    store = MemoryStore()
    config = plan(n_trials=3, parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=2))
    schedule = schedule_of(store, config)
    assert train(schedule, job_of(schedule), 0.5)
    first = job_of(schedule)
    assert (first.trial, first.first, first.last) == (1, 1, 1)
    assert not train(schedule, first, 0.9)
    assert store.trials()[1].user_attrs[SEGMENTS] == [{**SEGMENT, "paused": 1}]
    assert store.records()[1].state == "PAUSED"
    again = job_of(schedule)
    assert (again.trial, again.first, again.last) == (1, 2, 2)
    assert not train(schedule, again, 0.9)
    again = job_of(schedule)
    assert (again.trial, again.first, again.last) == (1, 3, 4)
    assert store.records()[1].state == "PAUSED"
    schedule.report(1, epoch(3, 0.9))
    assert store.records()[1].state == "RUNNING"


def test_a_trial_whose_command_was_killed_between_the_epoch_of_a_rung_and_its_pause_is_paused() -> None:
    store = MemoryStore()
    config = plan(n_trials=3, parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=2))
    schedule = schedule_of(store, config)
    train(schedule, job_of(schedule), 0.9)
    job = job_of(schedule)
    assert (job.trial, job.last) == (1, 1)
    schedule.report(1, epoch(1, 0.5))
    assert store.records()[1].state == "RUNNING"
    assert job_of(schedule_of(store, config)).trial == 2
    assert store.records()[1].state == "PAUSED"
    segments = store.trials()[1].user_attrs[SEGMENTS]
    assert [each["paused"] for each in segments] == [1]
    assert job_of(schedule_of(store, config)).trial == 2
    assert store.trials()[1].user_attrs[SEGMENTS] == segments  # recorded once


def test_a_trial_that_is_interrupted_after_its_last_epoch_is_not_paused_and_returns_its_result_later() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=1))
    job = job_of(schedule)
    for number in (1, 2, 3):
        assert schedule.report(0, epoch(number, 0.5))
    schedule.stop.requested = True
    assert schedule.report(0, epoch(4, 0.5))  # its result may still come
    schedule.end(0, {}, SEGMENT)
    assert (store.records()[0].state, SEGMENTS in store.trials()[0].user_attrs) == ("RUNNING", False)
    again = schedule_of(store, plan(n_trials=1))
    assert (job_of(again).trial, job.last) == (0, 4)
    again.end(0, {"n_parameters": 1}, SEGMENT)
    assert store.records()[0].state == "COMPLETE"


def test_an_epoch_that_a_callback_cannot_write_is_recorded_and_stops_the_study() -> None:
    class FullDisk(Callback):
        def on_epoch_end(self, number: int, result: EpochResult) -> None:
            raise UserError("the disk is full")

    store = MemoryStore()
    schedule = schedule_of(store, plan())
    schedule.callbacks.append(FullDisk())
    assert not schedule.report(job_of(schedule).trial, epoch(1, 0.5))
    assert str(schedule.stop.reason) == "the disk is full"
    assert schedule.next_job() is NoJob.DONE
    assert store.records()[0].epochs == (epoch(1, 0.5),)


def test_a_trial_that_cannot_be_added_stops_the_study() -> None:
    class FullDisk(MemoryStore):
        def add_trial(self, *values: Any) -> int:
            raise UserError("the disk is full")

    schedule = schedule_of(FullDisk(), plan())
    assert schedule.next_job() is NoJob.DONE
    assert str(schedule.stop.reason) == "the disk is full"


@pytest.mark.slow
def test_a_stop_ends_a_decision_that_starts_many_repeats_and_changes_nothing() -> None:
    """While trial 6 is added; the next command adds the others."""

    class Interrupted(MemoryStore):
        def add_trial(self, *values: Any) -> int:
            number = super().add_trial(*values)
            schedule.stop.requested |= number == 6
            return number

    the_plan = plan(space=ONE_OR_TWO_LAYERS, sampler="random", n_trials=40, parallelism=4)
    whole, store = MemoryStore(), Interrupted()
    run(whole, the_plan)
    schedule = schedule_of(store, the_plan)
    jobs = [job_of(schedule) for _ in range(3)]
    assert schedule.next_job() is NoJob.DONE
    assert len(store.trials()) == 7
    for job in jobs:
        schedule.end(job.trial, {}, SEGMENT)
    run(store, the_plan)
    assert content(store) == content(whole)


@pytest.mark.slow
def test_the_work_for_a_repeat_does_not_grow_with_the_number_of_open_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three virtual workers train, and the fourth one starts 97 repeats at once."""
    read, trial = list[int](), MemoryStore.trial

    def spy(store: MemoryStore, number: int) -> FrozenTrial:
        read.append(number)
        return trial(store, number)

    monkeypatch.setattr(MemoryStore, "trial", spy)
    run(MemoryStore(), plan(space=ONE_OR_TWO_LAYERS, sampler="random", n_trials=100, parallelism=4))
    assert len(read) < 1_500


def test_a_trial_whose_worker_died_is_handed_out_again_and_fails_after_the_third_death() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=1, stopping=None))
    for death in range(3):
        job = job_of(schedule)
        assert (job.trial, job.first) == (0, 1 if death == 0 else 2)
        schedule.report(job.trial, epoch(1, 0.5))
        schedule.end(job.trial, {}, SEGMENT, worker_died=True)
    assert schedule.next_job() is NoJob.DONE
    (record,) = store.records()
    assert record.error == "its worker died three times (killed, or out of memory)"
    assert len(record.segments) == 3


def test_a_third_death_after_a_problem_of_the_machine_fails_no_trial() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=1, stopping=None))
    for death in range(3):
        job = job_of(schedule)
        if death == 2:
            schedule.stop.abort(UserError("the disk is full"))
        schedule.end(job.trial, {}, SEGMENT, worker_died=True)
    assert store.records()[0].state == "RUNNING"


def test_deaths_with_new_epochs_between_them_fail_no_trial() -> None:
    """As on nodes that are taken away again and again."""
    schedule = schedule_of(MemoryStore(), plan(n_trials=1, stopping=None))
    for number in (1, 2, 3):
        job = job_of(schedule)
        schedule.report(job.trial, epoch(number, 0.5))
        schedule.end(job.trial, {}, SEGMENT, worker_died=True)
    assert job_of(schedule).first == 4


def test_a_trial_that_fails_after_a_rung_keeps_its_score_there() -> None:
    """Trial 1 passes the first rung and fails later, so trial 2 is trained in full in its place."""
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=3, parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=2)))
    for accuracy in (0.5, 0.9):
        train(schedule, job_of(schedule), accuracy)
    schedule.end(job_of(schedule).trial, {"error": "the loss is NaN"}, SEGMENT)
    train(schedule, job_of(schedule), 0.4)
    rest = job_of(schedule)
    assert (rest.trial, rest.first, rest.last) == (2, 2, 4)
    train(schedule, rest, 0.4)
    assert schedule.next_job() is NoJob.DONE
    assert [record.state for record in store.records()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert store.records()[1].epochs == (epoch(1, 0.9),)


def test_a_trial_that_fails_after_its_last_epoch_reaches_no_target() -> None:
    """Its worker may die for the third time before it returns the result; `best` does not rank such a trial."""
    store = MemoryStore()
    config = plan(n_trials=3, parallelism=1, lag=0.0, stopping=None, budget=Budget(target=0.8))
    schedule = schedule_of(store, config)
    train(schedule, job_of(schedule), 0.5)
    failing = job_of(schedule)
    assert all(schedule.report(failing.trial, epoch(number, 0.9)) for number in (1, 2, 3, 4))
    schedule.end(failing.trial, {"error": "its worker died three times"}, SEGMENT)
    train(schedule, job_of(schedule), 0.6)
    assert schedule.next_job() is NoJob.DONE
    assert schedule.early_end is None
    assert [(result.trial, result.score) for result in schedule.clock.log] == [(0, 0.5), (1, FAILED), (2, 0.6)]


def test_a_trial_that_ended_early_by_patience_counts_with_its_best_score_at_later_rungs() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=2, parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=2)))
    baseline = job_of(schedule)
    schedule.report(0, epoch(1, 0.5))
    schedule.end(baseline.trial, {"n_parameters": 1}, SEGMENT)
    train(schedule, job_of(schedule), 0.6)
    assert [(result.trial, result.epoch, result.score) for result in schedule.clock.log] == [
        (0, 1, 0.5),
        (0, 2, 0.5),
        (0, 4, 0.5),
    ]
    assert store.records()[0].state == "COMPLETE"


def test_a_result_without_epochs_counts_as_failed() -> None:
    """A damaged journal may have lost the epochs of a trial."""
    store = MemoryStore()
    run(store, plan(n_trials=2, parallelism=1, lag=0.0, stopping=None))
    for number in range(1, 5):
        del store.trials()[0].user_attrs[f"epoch:{number}"]
    schedule = schedule_of(store, plan(n_trials=2, parallelism=1, lag=0.0, stopping=None))
    assert schedule.next_job() is NoJob.DONE
    assert schedule.clock.log[0].score == FAILED


@pytest.mark.parametrize("cut", [1, 3, 5, 8])
def test_a_schedule_from_the_same_store_makes_the_same_decisions(cut: int) -> None:
    """As after a kill: the new schedule hands out what has not ended, then continues as the first would have."""
    config = plan(n_trials=8, parallelism=2)
    whole, killed = MemoryStore(), MemoryStore()
    jobs = run(whole, config)
    assert run(killed, config, cut) == jobs[:cut]
    assert run(killed, config) == jobs[cut:]
    assert content(killed) == content(whole)


def test_first_trials_that_all_fail_with_one_cause_are_an_error() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan())
    for _ in range(3):
        schedule.end(job_of(schedule).trial, {"error": "no such file"}, SEGMENT)
    assert schedule.next_job() is NoJob.DONE
    message = (
        r"the first 3 trials all failed with one cause.*\(no such file\); fix the cause, and choose another --name"
    )
    for n_trials in (12, 13):  # trials that are opened again keep their failures
        with pytest.raises(UserError, match=message):
            resume(store, plan(n_trials=n_trials))


def test_a_trial_that_is_too_large_runs_again_on_a_whole_gpu_and_the_decisions_after_it_wait() -> None:
    store = MemoryStore()
    config = plan(n_trials=3, parallelism=1, lag=0.0, stopping=None)
    schedule = schedule_of(store, config, retry_oom=True)
    job = job_of(schedule)
    assert not job.whole_gpu
    schedule.end(job.trial, {"error": "out of memory", "oom": True}, SEGMENT)
    assert (len(store.trials()), store.trials()[0].user_attrs[OOM]) == (1, "out of memory")
    assert store.trials()[0].user_attrs[SEGMENTS] == [SEGMENT], "its time and its worker are kept"
    assert job_of(schedule_of(store, config, retry_oom=True)).whole_gpu  # also after a kill
    again = job_of(schedule)
    assert (again.trial, again.whole_gpu) == (0, True)
    assert schedule.next_job() is NoJob.WAIT
    train(schedule, again, 0.5)
    rest = [job_of(schedule)]
    assert not rest[0].whole_gpu
    assert train(schedule, rest[0], 0.5)


@pytest.mark.parametrize("retry_oom", [False, True])
def test_a_trial_that_may_not_be_retried_or_that_no_gpu_holds_fails(retry_oom: bool) -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=1), retry_oom=retry_oom)
    for _ in range(1 + retry_oom):
        schedule.end(job_of(schedule).trial, {"error": "out of GPU memory: 99 GiB", "oom": True}, SEGMENT)
    assert [(record.state, record.error) for record in store.records()] == [("FAIL", "out of GPU memory: 99 GiB")]


def test_a_study_with_retries_is_the_one_that_whole_gpus_would_have_given() -> None:
    whole, shares = MemoryStore(), MemoryStore()
    run(whole, plan(stopping=None))
    schedule = schedule_of(shares, plan(stopping=None), retry_oom=True)
    while isinstance(job := schedule.next_job(), Job):
        if job.trial in (2, 7) and not job.whole_gpu:
            for number in (1, 2):
                schedule.report(job.trial, epoch(number, score_of(job)))
            schedule.end(job.trial, {"error": "out of memory", "oom": True}, SEGMENT)
        else:
            train(schedule, job, score_of(job))
    assert content(shares) == content(whole)


def test_three_failures_from_the_start_with_one_cause_are_recognised() -> None:
    def failed(cause: str) -> FrozenTrial:
        return create_trial(state=TrialState.FAIL, user_attrs={"result": {"error": cause}})

    assert common_failure([failed("a")] * 3) == "a"
    assert common_failure([failed(f"cannot write {n}/1e-3") for n in range(3)]) == "cannot write 0/1e-3"
    assert common_failure([failed("a")] * 2) is None
    assert common_failure([failed("a"), failed("b"), failed("a")]) is None
    assert common_failure([create_trial(value=0.5), *[failed("a")] * 3]) is None
