"""tuning.retrain.training: fresh seeds, training that may resume, data and resources."""

from pathlib import Path

import pytest

from core.config import TrialConfig
from core.errors import DataError, UserError
from tests.support.corpora import tiny_corpus
from tests.support.studies import data_of
from tuning.resources.machine import Machine, TrialResources
from tuning.retrain.training import fresh_seeds, study_corpus, task_resources, train_resumable

CONFIG = TrialConfig(hidden_dim=4, epochs=3, batch_size=16)


def test_fresh_seeds_are_different_never_the_studys_own_and_always_the_same() -> None:
    seeds = fresh_seeds(42, 200)
    assert len({*seeds, 42}) == 201
    assert seeds[:5] == fresh_seeds(42, 5)
    assert not set(seeds) & set(fresh_seeds(43, 200))
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_another_environment_starts_from_the_first_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus()
    for code in ("a", "b"):
        monkeypatch.setattr("tuning.retrain.training.runtime_environment", lambda *_: {"code": code})  # noqa: B023 - called at once
        found = train_resumable(CONFIG, corpus, threads=1, device="cpu", checkpoints=tmp_path)
        assert "before_resume" not in found.environment
    assert len(list(tmp_path.iterdir())) == 2


def test_it_does_not_resume_after_a_later_epoch_than_it_is_asked_for(tmp_path: Path) -> None:
    for last in (None, 2):
        result = train_resumable(CONFIG, tiny_corpus(), threads=1, device="cpu", checkpoints=tmp_path, last=last)
        assert len(result.epochs) == (last or 3)


def test_only_a_path_that_is_gone_has_a_hint_to_pass_another(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    spec = {"data": data_of(tmp_path / "t.csv")}
    with pytest.raises(DataError, match=r"only one class, 'b'; choose a column with two or more$"):
        study_corpus(spec, {}, tmp_path / "cache", print)
    (tmp_path / "t.csv").unlink()
    spec["data"]["vectors"] = str(tmp_path / "v.vec")
    message = "no such file; check the path; if the study's data were moved, pass --dataset and --vectors$"
    with pytest.raises(DataError, match=message):
        study_corpus(spec, {}, tmp_path / "cache", print)


def test_an_error_of_a_passed_path_has_no_hint_to_pass_it(tmp_path: Path) -> None:
    spec = {"data": data_of(tmp_path / "gone.csv")}
    with pytest.raises(DataError, match=r"also-gone\.csv") as error:
        study_corpus(spec, {"dataset": str(tmp_path / "also-gone.csv")}, tmp_path / "cache", print)
    assert "pass --dataset" not in str(error.value)


def test_an_option_of_the_data_that_a_later_version_recorded_is_named(tmp_path: Path) -> None:
    spec = {"data": data_of(tmp_path / "t.csv") | {"language": "de"}}
    with pytest.raises(UserError, match="have the option 'language', which this version of sentune lacks"):
        study_corpus(spec, {}, tmp_path / "cache", print)


def test_a_task_has_the_threads_and_the_kind_of_device_of_its_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    machine = Machine(cpus=4, gpus=2)
    on_gpus = task_resources({"threads": 2, "device": "cuda"}, machine, None, 9)
    assert on_gpus == (TrialResources(cpus_per_trial=2, gpus_per_trial=1.0), 2)
    assert task_resources({"threads": 8, "device": "cpu"}, machine, None, 9) == (TrialResources(cpus_per_trial=4), 1)
    limits = ((None, 9), (3, 9), (None, 2))
    assert [task_resources({"threads": 1, "device": "cpu"}, machine, *limit)[1] for limit in limits] == [4, 3, 2]
