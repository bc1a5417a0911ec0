"""tuning.backend.adapters: what Ray delivers of a worker's report, and the schedule through Ray."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray._private.dict import flatten_dict
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from core.errors import UserError
from tests.support.epochs import epoch
from tests.support.fake_ray import FakeRay, searcher_of
from tests.support.study_configs import ONE_OR_TWO_LAYERS, plan
from tuning.backend.adapters import RayScheduler, unflatten
from tuning.journal.records import SEGMENTS, read_study
from tuning.journal.writer import open_study
from tuning.scheduling.budget import StopSignal

RESULT = {
    "n_parameters": 10,
    "weights_sha256": "ab",
    "environment": {"torch": "2.9.0", "threads": 1, "before_resume": {"torch": "2.8.0", "threads": 2}},
}


def test_a_result_that_ray_has_flattened_is_restored() -> None:
    flat = flatten_dict({"result": RESULT, "results": {"n": 1}, "epoch_result": {"epoch": 3}, "pid": 7})
    assert "result/environment/before_resume/torch" in flat
    assert unflatten(flat, "result") == RESULT
    assert unflatten(flat, "epoch_result") == {"epoch": 3}
    assert unflatten(flat, "val_predictions") == {}


def test_the_trials_that_keep_their_checkpoints_are_one_value(tmp_path: Path) -> None:
    """Ray copies each value of a configuration, and returns it with each result."""
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(parallelism=3), StopSignal())
        jobs = [searcher.suggest(f"ray{number}") for number in range(3)]
    assert [job["kept"] for job in jobs if isinstance(job, dict)] == ["0", "0 1", "0 1 2"]
    assert [job["first"] for job in jobs if isinstance(job, dict)] == [1, 1, 1]


def test_the_journal_has_the_environment_of_the_worker(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(), StopSignal())
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", flatten_dict({"result": RESULT, "hostname": "node", "pid": 7}))
    assert read_study(tmp_path / "s")[1][0].environment == RESULT["environment"]


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc"
UNLOADED = f"""{DIED}
RuntimeError: The actor with name ImplicitFunc failed to import on the worker. This may be because needed library

Traceback (most recent call last):
  File "function_manager.py", line 696, in _load_actor_class_from_gcs
ModuleNotFoundError: No module named 'core'

An unexpected internal error occurred while the worker was executing a task.
"""


def failed(folder: Path, text: str | None) -> Any:
    """A trial of Ray with this text in the file of its errors."""
    if text is None:
        return SimpleNamespace(error_file=None)
    (folder / "error.txt").write_text(f"Failure # 1 (occurred at 2026-11-30)\n{text}\n")
    return SimpleNamespace(error_file=str(folder / "error.txt"))


def test_a_worker_that_cannot_load_the_code_ends_the_search_and_its_trial_stays_open(tmp_path: Path) -> None:
    """It is no death: the trial would fail at the third one, and each later trial as well."""
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(), StopSignal())
        scheduler = RayScheduler(searcher.schedule)
        for death, text in enumerate((DIED, None, UNLOADED)):
            assert searcher.schedule.stop.reason is None
            searcher.suggest(f"ray{death}")
            scheduler.on_trial_error(None, failed(tmp_path, text))
            searcher.on_trial_complete(f"ray{death}", error=True)
        said = r"^a worker cannot train \(ModuleNotFoundError: No module named 'core'\); repair the machine or the inst"
        with pytest.raises(UserError, match=said):
            searcher.schedule.raise_reason()
        assert [record.state for record in journal.records()] == ["RUNNING"]


def test_a_trial_whose_gpu_fails_three_times_has_the_cause(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(n_trials=1), StopSignal())
        for death in range(3):
            searcher.suggest(f"ray{death}")
            searcher.on_trial_result(f"ray{death}", {"gpu_failure": "CUDA error: device-side assert triggered"})
            searcher.on_trial_complete(f"ray{death}", error=True)
        (record,) = journal.records()
    assert record.error == "its worker died three times (CUDA error: device-side assert triggered)"
    assert len(record.segments) == 3


def test_ray_forgets_a_trial_that_has_ended(tmp_path: Path) -> None:
    known = [Trial("a", trial_id="0", stub=True)]
    known[0].set_status("TERMINATED")
    ray = SimpleNamespace(get_trials=lambda: known, get_live_trials=set)
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        RayScheduler(searcher_of(journal, plan(), StopSignal()).schedule).on_trial_complete(ray, known[0], {})
    assert known == []


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
