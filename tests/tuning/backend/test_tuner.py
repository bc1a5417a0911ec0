"""tuning.backend.tuner: the end of a search; and a study whose clock was set back between two commands."""

import errno
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from core.errors import UserError
from tests.support.assessed_studies import FULL_SPEC, attributes, opened, trial, write_study
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.local_backend import NoRay
from tests.support.memory_store import MemoryStore, job_of, train
from tests.support.study_configs import cost, plan
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.tuner import RayBackend, run_schedule
from tuning.journal.records import read_study
from tuning.journal.writer import open_study
from tuning.report.command import page
from tuning.resources.machine import TrialResources
from tuning.scheduling.budget import Budget, EarlyEnd
from tuning.scheduling.schedule import Schedule


def at(moment: str) -> type[datetime]:
    """A class of moments for which it is always this one."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromisoformat(moment)

    return Stopped


@pytest.mark.slow
def test_a_study_whose_clock_was_set_back_is_read_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial 1 begins now and ends years before."""
    whole = [trial(0, range(40)), trial(1, range(30), state="RUNNING")]
    write_study(tmp_path / "s", whole, attributes(spec=FULL_SPEC))
    monkeypatch.setattr("optuna.storages.journal._storage.datetime", at("2021-05-01T12:00:00+00:00"))
    with open_study(tmp_path / "s", FULL_SPEC) as journal:
        journal.finish_trial(1, TrialState.COMPLETE, {}, 2)
        journal.record_epoch(journal.add_trial({}, {}, whole[0].config, "sampler"), epoch(1, 0.5))
    _, (first, second, third) = read_study(tmp_path / "s")
    assert second.ended is not None
    assert second.started is not None
    assert second.ended < second.started
    assert [r.state for r in (first, second, third)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert "done" in table_of(tmp_path / "s", RowFilter(), "table")
    assert b"Optimisation history" in page(tmp_path / "s", cache_dir=tmp_path, command="x", every_seconds=None)[0]
    assert opened(tmp_path / "s") == "COMPLETE; COMPLETE; RUNNING"


TARGET = EarlyEnd(reason="target 0.8 reached by trial 1", n_trials=2)
TIME = EarlyEnd(reason="time budget of 1m used up")


@pytest.mark.parametrize(
    ("trained", "time_is_up", "ending"),
    [(False, False, None), (False, True, TIME), (True, False, TARGET), (True, True, TARGET)],
)
def test_a_target_has_ended_the_study_once_the_trials_before_it_have_ended(
    trained: bool, time_is_up: bool, ending: EarlyEnd | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 1 reaches the target while trial 0 is open; then the time is up, or a signal stops the search."""
    interrupt = InterruptHandler()
    config = plan(n_trials=3, parallelism=2, lag=0.0, stopping=None, budget=Budget(target=0.8))

    def run_trials(schedule: Schedule, *_: object) -> None:
        first, second = job_of(schedule), job_of(schedule)
        train(schedule, second, 0.9)
        schedule.next_job()
        if trained:
            train(schedule, first, 0.5)
            schedule.next_job()
        if time_is_up:
            interrupt.end_study(TIME)
        interrupt.requested = True

    monkeypatch.setattr("tuning.backend.tuner._run_trials", run_trials)
    backend = RayBackend(session=NoRay().session, resources=TrialResources(), workers=2, train=lambda *_: None)
    schedule = Schedule(MemoryStore(), config, cost, [], interrupt)
    assert run_schedule(schedule, tiny_corpus(), backend, interrupt) == ending


@pytest.mark.parametrize(
    ("reason", "raised", "expected"),
    [
        (None, RuntimeError("a bug of Ray"), RuntimeError("^a bug of Ray$")),
        (UserError("the disk is full"), RuntimeError("a bug of Ray"), UserError("^the disk is full$")),
        (None, OSError(errno.ENOSPC, "No space left"), UserError("^Ray cannot write its temp.* set RAY_TMPDIR to")),
    ],
)
def test_an_error_of_ray_is_raised_unless_it_follows_from_another_reason(
    reason: UserError | None, raised: Exception, expected: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt = InterruptHandler(say=print)

    def fit() -> None:
        if reason:
            interrupt.abort(reason)
        raise raised

    monkeypatch.setattr("ray.tune.RunConfig", lambda **_: None)
    monkeypatch.setattr("ray.tune.Tuner", lambda *_, **__: SimpleNamespace(fit=fit))
    backend = RayBackend(session=NoRay().session, resources=TrialResources(), workers=2, train=lambda *_: None)
    schedule = Schedule(MemoryStore(), plan(), cost, [], interrupt)
    with pytest.raises(type(expected), match=str(expected)):
        run_schedule(schedule, tiny_corpus(), backend, interrupt)
