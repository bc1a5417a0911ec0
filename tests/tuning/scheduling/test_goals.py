"""A study whose goal changes, and its early end: more trials, fewer, or a target."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.memory_store import MemoryStore, content, job_of, resume, run, schedule_of, train
from tests.support.study_configs import plan
from tuning.journal.reader import N_EPOCHS
from tuning.journal.records import recorded_epochs
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import Budget, EarlyEnd
from tuning.scheduling.schedule import GOAL, Job, reopen_trials
from tuning.scheduling.virtual_clock import NoJob


@pytest.mark.slow
@pytest.mark.parametrize("fewer", [1, 2, 5, 7, 11])
def test_a_study_with_more_trials_later_is_the_one_that_is_made_at_once(fewer: int) -> None:
    """Trials that were trained for longer in the shorter study have only the epochs of the longer one."""
    once, later = MemoryStore(), MemoryStore()
    run(once, plan())
    run(later, plan(n_trials=fewer))
    run(later, plan())
    assert content(later) == content(once)
    assert [trial.values for trial in later.trials()] == [trial.values for trial in once.trials()]


def test_epochs_beyond_those_of_the_longer_study_do_not_count() -> None:
    """Of two trials, trial 1 is trained in full, as the only one besides the baseline. Of four, it is stopped."""
    scores = [0.9, 0.3, 0.5, 0.6]
    store = MemoryStore()
    config = plan(parallelism=1, lag=0.0, stopping=Asha(grace=1, reduction=3))

    def search(n_trials: int) -> list[tuple[int, int, int]]:
        wanted = replace(config, n_trials=n_trials)
        reopen_trials(store, wanted)
        schedule, jobs = schedule_of(store, wanted), []
        while isinstance(job := schedule.next_job(), Job):
            train(schedule, job, scores[job.trial])
            jobs.append((job.trial, job.first, job.last))
        return jobs

    assert search(2) == [(0, 1, 4), (1, 1, 1), (1, 2, 4)]
    assert [(r.state, len(r.epochs)) for r in store.records()] == [("COMPLETE", 4), ("COMPLETE", 4)]
    assert search(4) == [(2, 1, 1), (3, 1, 1), (3, 2, 4)]
    assert [(r.state, len(r.epochs)) for r in store.records()] == [
        ("COMPLETE", 4),
        ("PRUNED", 1),
        ("PRUNED", 1),
        ("COMPLETE", 4),
    ]
    assert store.trials()[1].user_attrs[N_EPOCHS] == 1
    assert len(recorded_epochs(store.trials()[1])) == 4  # nothing is lost
    assert store.records()[1].weights_sha256 is None


def test_an_early_end_is_removed_by_another_goal() -> None:
    """Otherwise it would count if the next command ends at once, because the first trials failed with one cause."""
    store, ended = MemoryStore(), {"reason": "target 0.6 reached by trial 0", "n_trials": 1}
    run(store, plan())
    store.set_study_attr("early_end", ended)
    reopen_trials(store, plan())
    assert store.attributes["early_end"] == ended
    reopen_trials(store, plan(n_trials=1))
    assert store.attributes["early_end"] is None


def test_the_same_command_opens_no_trial_again() -> None:
    store = MemoryStore()
    run(store, plan(n_trials=4))
    before = content(store)
    assert resume(store, plan(n_trials=4)) == (None, False)
    assert content(store) == before
    assert store.attributes[GOAL] == {"trials": 4, "target": None, "patience_trials": None}


@pytest.mark.parametrize(
    "changes", [{"n_trials": 5}, {"budget": Budget(patience_trials=9)}, {"budget": Budget(target=1)}]
)
def test_a_command_with_another_goal_opens_all_trials_again(changes: dict[str, Any]) -> None:
    """What is trained already is closed again at once."""
    store = MemoryStore()
    run(store, plan(n_trials=4))
    with patch.object(store, "reopen", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        resume(store, plan(**{"n_trials": 4} | changes))  # killed; the next such command opens them
    calls = []
    store.reopen = lambda: calls.append(MemoryStore.reopen(store))  # type: ignore[method-assign]
    resume(store, plan(n_trials=4))
    assert calls == []
    resume(store, plan(**{"n_trials": 4} | changes))
    assert calls == [None]


def test_a_study_that_gets_fewer_trials_keeps_those_that_it_has() -> None:
    store = MemoryStore()
    run(store, plan(n_trials=6))
    before = content(store)
    run(store, plan(n_trials=3))
    assert content(store) == before


def budget_in_the_middle(whole: MemoryStore) -> Budget:
    """Return a target that a trial in the middle of the study is the first to reach."""
    scores = [record.best.val_accuracy for record in whole.records() if record.best]
    return Budget(target=next(scores[n] for n in range(3, 12) if scores[n] > max(scores[:n])))


@pytest.mark.slow
@pytest.mark.parametrize("cut", [None, 1, 4])
def test_a_study_that_a_target_has_ended_continues_without_it_to_the_same_study(cut: int | None) -> None:
    whole, ended = MemoryStore(), MemoryStore()
    run(whole, plan())
    budget = budget_in_the_middle(whole)
    run(ended, plan(budget=budget), cut)
    run(ended, plan(budget=budget))
    early_end, left = resume(ended, plan(budget=budget))
    assert early_end is not None
    assert not left
    assert len(ended.trials()) == early_end.n_trials < 12
    assert not [trial for trial in ended.trials() if not trial.state.is_finished()]
    run(ended, plan())
    assert content(ended) == content(whole)


def test_a_study_that_had_more_trials_than_its_target_needed_counts_only_those() -> None:
    """A target in a command after a longer one: the end is that of a study which had it from the start."""
    whole, ended = MemoryStore(), MemoryStore()
    run(whole, plan())
    budget = budget_in_the_middle(whole)
    run(ended, plan(budget=budget))
    expected, _ = resume(ended, plan(budget=budget))
    run(whole, plan(budget=budget))
    assert resume(whole, plan(budget=budget)) == (expected, False)
    assert isinstance(expected, EarlyEnd)
    assert content(whole)[: expected.n_trials] == content(ended)


def test_a_study_has_ended_early_when_the_trials_before_its_target_have_ended() -> None:
    """Trial 1 is smaller than the baseline, so that its result is visible first."""
    config = plan(n_trials=3, parallelism=2, lag=0.0, stopping=None, budget=Budget(target=0.8))
    schedule = schedule_of(MemoryStore(), config)
    first, second = job_of(schedule), job_of(schedule)
    assert not schedule.has_ended_early()
    train(schedule, second, 0.9)
    assert schedule.next_job() is NoJob.WAIT
    assert schedule.early_end is not None
    assert not schedule.has_ended_early()
    train(schedule, first, 0.5)
    assert schedule.next_job() is NoJob.DONE
    assert schedule.has_ended_early()


def test_trials_of_a_longer_study_do_not_delay_its_early_end() -> None:
    """They were opened again, and no decision closes them."""
    store = MemoryStore()
    run(store, plan())
    config = plan(budget=budget_in_the_middle(store))
    reopen_trials(store, config)
    schedule = schedule_of(store, config)
    assert not schedule.has_job()
    assert not store.trials()[-1].state.is_finished()
    assert schedule.has_ended_early()


def test_trials_that_are_opened_and_closed_again_keep_the_times_of_their_workers() -> None:
    store = MemoryStore()
    run(store, plan(n_trials=3, stopping=None))
    before = [record.segments for record in store.records()]
    assert [len(segments) for segments in before] == [1, 1, 1]
    run(store, plan(n_trials=5, stopping=None))
    assert [record.segments for record in store.records()][:3] == before
