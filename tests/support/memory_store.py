"""A store of trials in memory, and commands that train them without workers."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.training.result import EpochResult
from tests.support.fake_ray import Heard
from tests.support.study_configs import cost
from tuning.journal.records import N_EPOCHS, TrialRecord, recorded_epochs, to_record
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import Job, Schedule, TrialStore, resume
from tuning.scheduling.study import StudyConfig


class MemoryStore:
    """A TrialStore without a file."""

    def __init__(self) -> None:
        self.kept: list[FrozenTrial] = []
        self.attributes: dict[str, Any] = {}
        self.without_checkpoints: list[int] = []
        """Trials whose checkpoints were removed while they were paused."""

    def trials(self) -> list[FrozenTrial]:
        return self.kept

    def trial(self, number: int) -> FrozenTrial:
        return self.kept[number]

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

    def finish_trial(
        self, number: int, state: TrialState, result: Mapping[str, Any] | None, n_epochs: int
    ) -> TrialRecord:
        trial = self.kept[number]
        assert not trial.state.is_finished()
        if result is not None:
            trial.user_attrs["result"] = dict(result)
        epochs = recorded_epochs(trial)
        if len(epochs) > n_epochs:
            trial.user_attrs[N_EPOCHS] = n_epochs
        best = max((each.val_accuracy for each in epochs[:n_epochs]), default=None)
        trial.state = state
        trial.values = None if best is None or state == TrialState.FAIL else [best]
        return to_record(trial)

    def copy_result(self, source: int, number: int) -> TrialRecord:
        record = to_record(self.kept[source])
        for each in record.epochs:
            self.record_epoch(number, each)
        state = self.kept[source].state
        result = None if state == TrialState.PRUNED else self.kept[source].user_attrs["result"]
        return self.finish_trial(number, state, result, len(record.epochs))

    def reopen(self) -> None:
        for trial in self.kept:
            trial.state, trial.values = TrialState.RUNNING, None
            trial.user_attrs.pop(N_EPOCHS, None)

    def set_study_attr(self, name: str, value: Any) -> None:
        self.attributes[name] = value

    def remove_checkpoints(self, number: int) -> None:
        self.without_checkpoints.append(number)

    def set_trial_attr(self, number: int, name: str, value: Any) -> None:
        self.kept[number].user_attrs[name] = value


SEGMENT = {"since": 1.0, "until": 2.0}


def schedule_of(store: TrialStore, config: StudyConfig, **options: bool) -> Schedule:
    return Schedule(store, config, cost, Heard(), StopSignal(), **options)


def epoch(number: int, accuracy: float) -> EpochResult:
    return EpochResult(epoch=number, train_loss=1.0, val_loss=1.0, val_accuracy=accuracy, seconds=1.0)


def job_of(schedule: Schedule) -> Job:
    job = schedule.next_job()
    assert isinstance(job, Job)
    return job


def train(schedule: Schedule, job: Job, accuracy: float) -> bool:
    """Report the job's epochs; return whether the trial was trained in full."""
    goes_on = True
    for number in range(job.first, job.last + 1):
        assert goes_on
        goes_on = schedule.report(job.trial, epoch(number, accuracy))
    schedule.end(job.trial, {"n_parameters": 1} if goes_on else {}, SEGMENT)
    return goes_on


def score_of(job: Job) -> float:
    """Return an accuracy that follows from the configuration."""
    return 1 / (1 + abs(job.config["learning_rate"] - 0.01))


def run(store: MemoryStore, config: StudyConfig, limit: int | None = None) -> list[Job]:
    """Run a command that is killed before its job number `limit`; return its jobs."""
    _, left = resume(store, config, cost)
    if not left:
        return []
    schedule, jobs = schedule_of(store, config), []
    while isinstance(job := schedule.next_job(), Job) and len(jobs) != limit:
        train(schedule, job, score_of(job))
        jobs.append(job)
    return jobs


def content(store: MemoryStore) -> list[Any]:
    """Return what must be the same in two runs of a study."""
    return [(r.number, r.state, r.params, r.epochs) for r in store.records()]
