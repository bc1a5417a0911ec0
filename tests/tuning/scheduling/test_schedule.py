"""The schedule through Ray's adapters: repeats, pauses, interruptions, and where trials ran."""

import random
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from tests.support.epochs import epoch
from tests.support.fake_ray import FakeRay, searcher_of
from tests.support.study_configs import ONE_OR_TWO_LAYERS, plan
from tuning.journal.records import SEGMENTS
from tuning.journal.writer import open_study
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import common_failure


def test_three_failures_from_the_start_with_one_cause_are_recognised() -> None:
    def failed(cause: str) -> FrozenTrial:
        return create_trial(state=TrialState.FAIL, user_attrs={"result": {"error": cause}})

    assert common_failure([failed("a")] * 3) == "a"
    assert common_failure([failed(f"cannot write {n}/1e-3") for n in range(3)]) == "cannot write 0/1e-3"
    assert common_failure([failed("a")] * 2) is None
    assert common_failure([failed("a"), failed("b"), failed("a")]) is None
    assert common_failure([create_trial(value=0.5), *[failed("a")] * 3]) is None


def test_an_interrupted_search_starts_nothing_and_leaves_trials_to_continue(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        ray = FakeRay(journal, plan(), 2, random.Random(0))
        ray.run(steps=3)
        ray.stop.requested = True
        ray.run()
        assert {record.state for record in journal.records()} == {"RUNNING", "PAUSED"}
        assert ray.heard.events.count("started 0") == 1
        assert not [event for event in ray.heard.events if event.startswith(("COMPLETE", "PRUNED", "FAIL"))]


def test_where_a_trial_ran_is_written_down_when_it_pauses_and_when_it_ends(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(), StopSignal())
        ends = ({"result/n_parameters": 1}, {"result/error": "TrainingError: the loss is NaN"}, {})
        for at, end in enumerate(ends):
            searcher.suggest(f"ray{at}")
            for each in (1, 2):
                searcher.schedule.report(at, epoch(each, 0.5))
            searcher.on_trial_complete(f"ray{at}", {**end, "hostname": "node", "pid": 7})
        assert [(r.state, r.segments[-1].worker) for r in journal.records()] == [
            ("COMPLETE", "node/7"),
            ("FAIL", "node/7"),
            ("PAUSED", "node/7"),
        ]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_trial_that_repeats_another_is_not_trained_and_ends_as_that_one_did(tmp_path: Path, workers: int) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        ray = FakeRay(journal, plan(space=ONE_OR_TWO_LAYERS, stopping=None), workers, random.Random(0))
        ray.run()
        first, second, third, *copies = journal.records()
    assert [r.origin for r in (first, second, third)] == ["baseline", "random", "random"]
    assert len(copies) == 9
    for copy in copies:
        source = (second, third)[(copy.copy_of or 0) - 1]
        assert (copy.state, copy.epochs, copy.config) == (source.state, source.epochs, source.config)
    assert [event for event in ray.heard.events if event.startswith("started")] == [f"started {n}" for n in range(3)]
    assert len([event for event in ray.heard.events if event.startswith("COMPLETE")]) == 12


def test_what_the_user_can_repair_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        stop = StopSignal()
        searcher = searcher_of(journal, plan(), stop)
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", {"result/user_error": "cannot write x: the disk is full"})
        assert str(stop.reason) == "cannot write x: the disk is full"
        assert searcher.suggest("ray1") == Searcher.FINISHED
        assert [record.state for record in journal.records()] == ["RUNNING"]


def test_a_paused_trial_gives_its_worker_to_another_and_continues_later(tmp_path: Path) -> None:
    """One worker: the baseline is not paused; the three trials after it are, before one of them is promoted."""
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        ray = FakeRay(journal, plan(), 1, random.Random(0))
        ray.run()
        segments = {trial.number: trial.user_attrs.get(SEGMENTS, []) for trial in journal.trials()}
        records = journal.records()
    events = ray.heard.events
    assert events[:6] == ["started 0", *(f"epoch 0.{number}" for number in range(1, 5)), "COMPLETE 0"]
    assert events[6:10] == ["started 1", "epoch 1.1", "epoch 1.2", "paused 1"]
    assert events[10:14] == ["started 2", "epoch 2.1", "epoch 2.2", "paused 2"]
    continued = [record.number for record in records[1:] if record.state == "COMPLETE"]
    assert 0 < len(continued) < 11
    for record in records[1:]:
        assert events.count(f"started {record.number}") == (2 if record.number in continued else 1)
        assert [segment["paused"] for segment in segments[record.number]] == [2]
    assert segments[0] == []
    assert all(segment["until"] >= segment["since"] for times in segments.values() for segment in times)
