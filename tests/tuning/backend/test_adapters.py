"""tuning.backend.adapters: what Ray delivers of a worker's report."""

from pathlib import Path

from ray._private.dict import flatten_dict

from tests.support.fake_ray import searcher_of
from tests.support.study_configs import plan
from tuning.backend.adapters import unflatten
from tuning.journal.records import read_study
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


def test_the_journal_has_the_environment_of_the_worker(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", {"fingerprint": ""}) as journal:
        searcher = searcher_of(journal, plan(), StopSignal())
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", flatten_dict({"result": RESULT, "hostname": "node", "pid": 7}))
    assert read_study(tmp_path / "s")[1][0].environment == RESULT["environment"]
