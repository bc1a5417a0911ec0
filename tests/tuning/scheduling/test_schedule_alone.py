"""The schedule alone: no Ray, no disk, no wall clock; trials are kept in memory."""

from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.training.result import EpochResult
from tests.support.fake_ray import Heard
from tests.support.study_configs import plan
from tuning.journal.records import TrialRecord, to_record
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import SEGMENTS, Job, NoJob, Schedule, TrialStore
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, SuccessiveHalving


class MemoryStore:
    """A TrialStore without a file."""

    def __init__(self) -> None:
        self.kept: list[FrozenTrial] = []

    def trials(self) -> list[FrozenTrial]:
        return self.kept

    def records(self, start: int = 0, end: int | None = None) -> list[TrialRecord]:
        return [to_record(trial) for trial in self.kept[start:end]]

    def add_trial(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: Mapping[str, Any],
        origin: str,
    ) -> int:
        attrs = {"config": dict(config), "origin": origin}
        trial = create_trial(
            state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions), user_attrs=attrs
        )
        trial.number = len(self.kept)
        self.kept.append(trial)
        return trial.number

    def record_epoch(self, number: int, epoch: EpochResult, val_predictions: Mapping[str, Any] | None = None) -> None:
        self.kept[number].user_attrs[f"epoch:{epoch.epoch}"] = {
            name: getattr(epoch, name) for name in EpochResult.__slots__
        }
        self.kept[number].intermediate_values[epoch.epoch] = epoch.val_accuracy

    def finish_trial(self, number: int, state: TrialState, outcome: Mapping[str, Any]) -> TrialRecord:
        trial = self.kept[number]
        trial.user_attrs["result"] = dict(outcome)
        best = to_record(trial).best
        trial.state = state
        trial.values = None if best is None or state == TrialState.FAIL else [best.val_accuracy]
        return to_record(trial)

    def copy_result(self, source: int, number: int) -> TrialRecord:
        for epoch in to_record(self.kept[source]).epochs:
            self.record_epoch(number, epoch)
        return self.finish_trial(number, self.kept[source].state, self.kept[source].user_attrs["result"])

    def set_trial_attr(self, number: int, name: str, value: Any) -> None:
        self.kept[number].user_attrs[name] = value


SEGMENT = {"since": 1.0, "until": 2.0}


def schedule_of(store: TrialStore, config: StudyConfig) -> Schedule:
    return Schedule(store, config, Heard(), StopSignal())


def epoch(number: int, accuracy: float) -> EpochResult:
    return EpochResult(epoch=number, train_loss=1.0, val_loss=1.0, val_accuracy=accuracy, seconds=1.0)


def job_of(schedule: Schedule) -> Job:
    job = schedule.next_job()
    assert isinstance(job, Job)
    return job


def train(schedule: Schedule, job: Job, accuracy: float) -> Decision:
    """Report the job's epochs until the schedule ends it; return the last decision."""
    decision = Decision.CONTINUE
    for number in range(job.first, job.last + 1):
        decision = schedule.report(job.trial, epoch(number, accuracy))
        if decision != Decision.CONTINUE:
            break
    result = {"n_parameters": 1} if decision == Decision.CONTINUE else {}
    schedule.end(job.trial, result, SEGMENT)
    return decision


def test_a_job_names_the_trial_its_configuration_and_its_epochs() -> None:
    job = job_of(schedule_of(MemoryStore(), plan(n_trials=2, stopping=None)))
    assert (job.trial, job.first, job.last) == (0, 1, 4)
    assert job.config["optimizer"] == "adadelta"  # trial 0 is the baseline


def test_a_study_ends_when_every_trial_has_ended() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=3, window=3, stopping=None))
    jobs = [job_of(schedule) for _ in range(3)]
    assert schedule.next_job() is NoJob.WAIT  # a running trial may still be handed out again
    for job in jobs:
        train(schedule, job, 0.5)
    assert schedule.next_job() is NoJob.DONE
    assert [trial.state for trial in store.trials()] == [TrialState.COMPLETE] * 3


def test_a_trial_pauses_at_a_rung_until_its_peers_are_there_and_continues_from_there() -> None:
    store = MemoryStore()
    schedule = schedule_of(
        store, plan(n_trials=4, window=4, stopping=SuccessiveHalving(grace=1, reduction=2, cohort=4))
    )
    first, *others = [job_of(schedule) for _ in range(4)]
    last = others.pop()
    assert train(schedule, last, 0.9) == Decision.PAUSE
    assert store.trials()[last.trial].user_attrs[SEGMENTS] == [SEGMENT]
    for job in (first, *others):
        train(schedule, job, 0.5 + 0.01 * job.trial)
    again = job_of(schedule)
    assert (again.trial, again.first, again.last) == (last.trial, 2, 4)
    assert train(schedule, again, 0.9) == Decision.CONTINUE


def test_a_trial_whose_worker_died_is_handed_out_again_and_fails_after_the_third_death() -> None:
    store = MemoryStore()
    schedule = schedule_of(store, plan(n_trials=1, stopping=None))
    for death in range(3):
        job = job_of(schedule)
        assert job.first == (1 if death == 0 else 2)
        schedule.report(job.trial, epoch(1, 0.5))
        schedule.end(job.trial, {}, SEGMENT, worker_died=True)
    assert schedule.next_job() is NoJob.DONE
    assert "its worker died three times" in store.trials()[0].user_attrs["result"]["error"]


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_schedule_from_the_same_store_makes_the_same_decisions(cut: int) -> None:
    """As after a kill: the new schedule hands out what has not ended, then continues as the first would have."""
    config = plan(n_trials=8, window=2)

    def run(store: MemoryStore, limit: int | None = None) -> None:
        schedule, count = schedule_of(store, config), 0
        while isinstance(job := schedule.next_job(), Job) and count != limit:
            train(schedule, job, 1 / (1 + abs(job.config["learning_rate"] - 0.01)))
            count += 1

    whole, killed = MemoryStore(), MemoryStore()
    run(whole)
    run(killed, cut)
    run(killed)

    def content(store: MemoryStore) -> list[Any]:
        return [(r.number, r.state, r.params, r.epochs) for r in store.records()]

    assert content(killed) == content(whole)
