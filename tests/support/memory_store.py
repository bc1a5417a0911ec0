"""A journal in memory, and commands that train its trials without workers."""

from pathlib import Path
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.support.epochs import epoch
from tests.support.fake_ray import Heard
from tests.support.study_configs import cost
from tuning.journal.reader import N_EPOCHS
from tuning.journal.writer import StudyJournal
from tuning.scheduling.budget import EarlyEnd, StopSignal
from tuning.scheduling.schedule import Job, Schedule, reopen_trials
from tuning.scheduling.study_config import StudyConfig


class MemoryStore(StudyJournal):
    """A journal without a file."""

    def __init__(self) -> None:
        storage = InMemoryStorage()
        super().__init__(Path("/nonexistent"), storage, storage.create_new_study([StudyDirection.MAXIMIZE]))  # type: ignore[arg-type]
        self.without_checkpoints: list[int] = []
        """Trials whose checkpoints were removed."""

    def reopen(self) -> None:
        for trial in self.trials():
            trial.state, trial.values = TrialState.RUNNING, None
            trial.user_attrs.pop(N_EPOCHS, None)

    def remove_checkpoints(self, number: int) -> None:
        self.without_checkpoints.append(number)


SEGMENT = {"since": 1.0, "until": 2.0}


def schedule_of(store: StudyJournal, config: StudyConfig, **options: bool) -> Schedule:
    return Schedule(store, config, cost, [Heard()], StopSignal(), **options)


def resume(store: MemoryStore, config: StudyConfig) -> tuple[EarlyEnd | None, bool]:
    """Start a command; return how the study has ended, and whether a job is left."""
    reopen_trials(store, config)
    schedule = schedule_of(store, config)
    left = schedule.has_job()
    return schedule.early_end, left


def job_of(schedule: Schedule) -> Job:
    job = schedule.next_job()
    assert isinstance(job, Job)
    return job


def train(schedule: Schedule, job: Job, accuracy: float) -> bool:
    """Report the job's epochs; return whether the trial was trained in full."""
    continues = True
    for number in range(job.first, job.last + 1):
        assert continues
        continues = schedule.report(job.trial, epoch(number, accuracy))
    schedule.end(job.trial, {"weights_sha256": "w"} if continues else {}, SEGMENT)
    return continues


def score_of(job: Job) -> float:
    """Return an accuracy that follows from the configuration."""
    return 1 / (1 + abs(job.config["learning_rate"] - 0.01))


def run(store: MemoryStore, config: StudyConfig, limit: int | None = None) -> list[Job]:
    """Run a command that is killed before its job number `limit`; return its jobs."""
    reopen_trials(store, config)
    schedule, jobs = schedule_of(store, config), []
    while isinstance(job := schedule.next_job(), Job) and len(jobs) != limit:
        train(schedule, job, score_of(job))
        jobs.append(job)
    return jobs


def content(store: MemoryStore) -> list[Any]:
    """Return what must be the same in two runs of a study."""
    return [(r.number, r.state, r.params, r.epochs) for r in store.records()]
