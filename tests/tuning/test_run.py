"""tuning.run: a search from data to table; tests/system runs it on a real Ray."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks.inputs.recorded_study import some_audit
from core.errors import ConfigError, TrainingError, UserError
from tests.support.corpora import tiny_corpus
from tests.support.local_backend import NoRay, trained_here, write_reviews
from tests.support.small_study import small_study
from tests.support.study_configs import options, plan
from tuning.backend.interrupt import InterruptHandler
from tuning.console import called_from_python
from tuning.forecast.command import make_forecast
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study, study_attributes
from tuning.journal.writer import open_study
from tuning.planned_search import PlannedSearch
from tuning.resources.machine import Machine, TrialResources
from tuning.run import (
    BASELINE_SECONDS,
    _describe,
    _has_work,
    _new_attributes,
    _resume_hints,
    _run,
    run_study,
    search_study,
)
from tuning.run_options import RunOptions
from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.study_config import study_id
from tuning.scheduling.training_length import TrainingLength
from tuning.space.portfolio import FirstTrials


def planned(vectors: str = "words.vec", **changes: Any) -> PlannedSearch:
    """A search on the tiny corpus; `changes` are of its configuration."""
    corpus = tiny_corpus()
    return PlannedSearch(
        config=plan(**changes), length=TrainingLength(epochs=4, epoch_sentences=None, a_pass=84, reason=""),
        corpus=dataclasses.replace(
            corpus, source={"audit": some_audit(corpus.classes), "inputs": {}, "vectors": vectors}
        ),
        remark=None, resources=TrialResources(), choice=None, fits=1, prior_trials={}, spec={}, data={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("vectors", "advice"),
    [
        ("words.vec", "--vectors FILE with wider ones"),
        ("glove-50d", "--vectors glove-300d (862 MB, fetched once) or --vectors fasttext (1.5 GB)"),
    ],
)
def test_wider_vectors_of_the_same_kind_are_advised(
    vectors: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """English vectors are no replacement for a file, which may be of another language."""
    _describe(options(tmp_path), {}, planned(vectors))
    message = f"the word vectors have 8 dimensions, and more may gain points; pass {advice}, and another --name\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("n_trials", "parallelism", "sampler", "said"),
    [(14, 8, "tpe", True), (15, 8, "tpe", False), (2, 2, "tpe", False), (14, 16, "random", False)],
)
def test_too_few_trials_for_the_sampler_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n_trials: int, parallelism: int, sampler: str, said: bool
) -> None:
    _describe(options(tmp_path), {}, planned(n_trials=n_trials, parallelism=parallelism, sampler=sampler))
    few = "14 trials on 8 virtual workers begin before the sampler has results to learn from; pass --trials 80, or"
    assert (few in capsys.readouterr().err) is said


def test_a_remark_on_the_metric_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _describe(options(tmp_path), {}, dataclasses.replace(planned("none"), remark="no sentence has the label 'b'"))
    assert capsys.readouterr().err.endswith("no sentence has the label 'b'\n")


def test_hints_that_an_existing_study_cannot_follow_are_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuning.run.MIN_VALIDATION", 1)
    search = planned(first_trials=FirstTrials(source="portfolio", settings=({},)))
    _describe(options(tmp_path), {}, search)
    new = capsys.readouterr().out
    assert "small data  --validation folds:5 evaluates" in new
    assert "precision   fp32 (--precision chooses)\n" in new
    assert "first trials  1 from portfolio (--first-trials chooses)\n" in new
    _describe(options(tmp_path), {"spec": {"precision": "fp32"}}, search)
    old = capsys.readouterr()
    assert "small data" not in old.out
    assert "word vectors" not in old.err
    assert "precision   fp32 (as recorded in the study)\nfirst trials  1 from portfolio\n" in old.out
    _describe(options(tmp_path), {}, planned(warm_start={"study": "a", "trials": 2, "sha256": "0"}))
    other = capsys.readouterr()
    assert "small data" not in other.out
    assert "word vectors" not in other.err


def test_folds_are_not_suggested_if_a_class_is_too_small_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuning.run.MIN_VALIDATION", 1)
    search = planned()
    classes = (*search.corpus.classes, "rare")
    soft = np.full((len(search.corpus.labels), len(classes)), 1 / len(classes), dtype=np.float32)
    corpus = dataclasses.replace(search.corpus, classes=classes, targets=soft)  # many are expected, none is labelled
    _describe(options(tmp_path), {}, dataclasses.replace(search, corpus=corpus))
    assert "small data" not in capsys.readouterr().out


def test_in_python_only_the_warnings_of_the_audit_name_keywords(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence may look like an option."""
    search = planned()
    audit = some_audit(search.corpus.classes)
    audit["conflicts"] = {"texts": 1, "examples": [{"text": "git push --force", "labels": list(search.corpus.classes)}]}
    source = {**search.corpus.source, "audit": audit}
    with called_from_python("search(...)"):
        _describe(
            options(tmp_path),
            {},
            dataclasses.replace(search, corpus=dataclasses.replace(search.corpus, source=source)),
        )
    out = capsys.readouterr().out
    assert ": git push --force\n" in out
    assert 'validation="folds:5"' in out
    assert "\n            such an option is for a new study: pass another name, too\n" in out


@pytest.mark.slow
@pytest.mark.parametrize("command", [search_study, lambda options: make_forecast(options, print)])
def test_a_search_on_cpus_does_not_ask_which_gpus_there_are(
    command: Callable[[RunOptions], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    with patch("tuning.run.BackgroundRay", NoRay), pytest.raises(UserError, match=r"gone\.csv"):
        command(options(tmp_path, dataset=str(tmp_path / "gone.csv")))
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,0 names a GPU twice"):
        command(options(tmp_path, dataset=str(tmp_path / "gone.csv"), gpus_per_trial="0.5"))


def test_two_equal_searches_have_different_folders_for_their_checkpoints() -> None:
    search = planned()
    first, second = (study_id("s", {"spec": {}, **_new_attributes(search)}) for _ in range(2))
    assert first != second


def test_epochs_that_a_target_hides_are_counted(tmp_path: Path) -> None:
    """Here that of trial 4; trial 3 repeats trial 0, so its epochs were not trained."""
    with small_study(tmp_path / "s") as journal:
        all_count = _resume_hints(EarlyEnd(reason="target", n_trials=5), journal)
        assert all_count == ["pass another --target or --patience-trials, or none, to continue the study"]
        [hint] = _resume_hints(EarlyEnd(reason="target", n_trials=2), journal)
    assert hint.endswith("to continue the study; the epochs trained after this end (1) count then, too")


def on_reviews(folder: Path, **changes: Any) -> RunOptions:
    """Write 80 reviews; return the options of a short search on them."""
    file = folder / "reviews.csv"
    write_reviews(file, 80)
    given: dict[str, Any] = {"text_column": "body", "label_column": "stars", "vectors": "none", "embedding_dim": 4}
    return options(folder, dataset=str(file), epochs="1", cache_dir=folder / "cache", **given, **changes)


@pytest.mark.slow
@pytest.mark.usefixtures("no_default_cache")
def test_fewer_trials_than_the_study_has_complete_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interruption left all of them open, and the last one without a result."""
    run = on_reviews(tmp_path, trials=3, overrides=["hidden_dim=4", "n_layers=1"], no_baseline=True)
    fewer = dataclasses.replace(run, trials=1)
    with trained_here(Path(run.dataset)):
        assert search_study(run).finished
        with open_study(run.folder, study_attributes(run.folder)["spec"]) as journal:
            journal.reopen()
        assert not _has_work(run, study_attributes(run.folder))  # all have their result
        lines = (run.folder / JOURNAL).read_text().splitlines(keepends=True)
        (run.folder / JOURNAL).write_text("".join(line for line in lines if json.loads(line).get("trial_id") != 2))
        capsys.readouterr()
        assert _has_work(fewer, study_attributes(run.folder))
        forecast = make_forecast(fewer, print)
        assert (forecast.plan.n_trials, forecast.done) == (3, 2)
        assert search_study(fewer).finished
    out = capsys.readouterr().out
    assert "continuing study s: 2 of 3 trials have ended\n" in out
    assert "\n3/3 trials: 3 done," in out
    attributes, records = read_study(run.folder)
    assert attributes["goal"]["trials"] == 3
    assert [record.state for record in records] == ["COMPLETE"] * 3


@pytest.mark.slow
def test_trials_train_with_the_threads_of_the_command(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=1, overrides=["hidden_dim=4", "n_layers=1"], cpus_per_trial=2)
    with patch("tuning.resources.machine.available_cpus", lambda: 2), trained_here(Path(run.dataset)):
        assert search_study(run).finished
    attributes, (record,) = read_study(run.folder)
    assert attributes["spec"]["threads"] == record.environment["threads"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_default_cache")
def test_plan_says_that_a_study_of_failures_has_stopped(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=9)
    with (
        trained_here(Path(run.dataset)),
        patch("tuning.backend.worker.train", side_effect=TrainingError("no luck")),
        pytest.raises(UserError, match="the first 3 trials all failed with one cause"),
    ):
        search_study(run)
    forecast = make_forecast(run, print)
    assert forecast.to_dict()["warnings"]
    stopped = "study s has stopped: the first 3 trials all failed with one cause (TrainingError: no luck)"
    assert str(forecast).startswith(stopped)


@pytest.mark.slow
def test_a_command_that_is_killed_while_it_waits_for_the_plain_baseline_has_ended_its_search(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=9, overrides=["hidden_dim=4", "n_layers=1"], target=0.01)
    with (
        trained_here(Path(run.dataset)),
        patch("tuning.run.PlainFit.finish", side_effect=InterruptedError),
        patch("tuning.run.PlainFit.on_epoch_end"),
        pytest.raises(InterruptedError),
    ):
        search_study(run)
    ended = study_attributes(run.folder)["early_end"]
    assert ended["n_trials"] < 9
    assert ended["reason"].startswith("target 0.01 reached by trial ")


@pytest.mark.slow
@pytest.mark.parametrize(("n_trials", "seconds"), [(None, BASELINE_SECONDS), (2, None)])
def test_only_a_time_budget_limits_the_wait_for_the_plain_baseline(
    tmp_path: Path, n_trials: int | None, seconds: float | None
) -> None:
    run = on_reviews(tmp_path, trials=9)
    with (
        trained_here(Path(run.dataset)),
        patch("tuning.run._search", return_value=EarlyEnd(reason="a limit", n_trials=n_trials)),
        patch("tuning.run.PlainFit.finish") as finish,
    ):
        search_study(run)
    finish.assert_called_once_with(seconds)


@pytest.mark.slow
def test_a_study_whose_data_have_moved_names_them_and_removes_its_checkpoints_from_the_storage(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=1, storage=str(tmp_path / "storage"))
    before, after = Path(run.dataset), tmp_path / "after.csv"
    with trained_here(before):
        assert search_study(run).finished
        left = tmp_path / "storage" / study_id("s", study_attributes(tmp_path / "s"))
        (left / "00000-0123456789ab").mkdir(parents=True)
        before.rename(after)
        again = dataclasses.replace(run, dataset=str(after))
        with patch("tuning.run.table_of", return_value="") as table:
            assert run_study(again)
    assert not left.exists()
    assert table.call_args.kwargs["ending"] == f" --dataset {after} --cache-dir {run.cache_dir}"


@pytest.mark.parametrize(("share", "retried"), [(0.5, True), (1.0, False)])
def test_a_trial_is_retried_on_a_whole_gpu_if_it_had_a_share(tmp_path: Path, share: float, retried: bool) -> None:
    resources = TrialResources(gpus_per_trial=share, retry_oom=True)
    search = dataclasses.replace(planned(), resources=resources, fits=2)
    with (
        patch("tuning.run.check_search"),
        patch("tuning.run.plan_search", return_value=search),
        patch("tuning.run.PlainFit"),
        patch("tuning.backend.tuner.run_schedule", return_value=None) as begun,
    ):
        _run(options(tmp_path, workers=1), Machine(cpus=2, gpus=1), 2, 0.0, InterruptHandler(), NoRay().session)
    schedule, _, backend, _ = begun.call_args.args
    assert schedule.retry_oom is retried
    assert (backend.resources, backend.workers) == (resources, 1)


@pytest.mark.slow
def test_a_warm_start_is_kept_in_the_study_and_the_same_command_continues_it(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=2, no_baseline=True)
    warm = dataclasses.replace(run, name="warm", warm_start="s")
    with trained_here(Path(run.dataset)):
        for each in (run, warm, dataclasses.replace(warm, trials=3)):
            assert search_study(each).finished
    attributes, records = read_study(warm.folder)
    assert attributes["spec"]["warm_start"]["trials"] == len(attributes["prior_trials"]) == 2
    assert len(records) == 3


def test_the_recorded_command_names_no_folder_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sentune", "run", "/home/anna/t.csv", "--storage", "s3://KEY:SECRET@b/f"])
    assert _new_attributes(planned())["command"].endswith(" run t.csv --storage s3://b/f")


def test_a_new_study_records_the_words_whose_vectors_training_changes() -> None:
    """The size of a stopped trial follows from their number."""
    search = planned()
    corpus = dataclasses.replace(search.corpus, frozen_words=5)
    found = _new_attributes(dataclasses.replace(search, corpus=corpus))
    assert found["vocabulary"] == len(corpus.words) - 5


@pytest.mark.slow
def test_a_search_that_continues_later_keeps_its_checkpoints_in_the_storage(tmp_path: Path) -> None:
    run = on_reviews(tmp_path, trials=9, storage=str(tmp_path / "storage"))
    with (
        patch("tuning.run.BackgroundRay", NoRay),
        patch("tuning.run.PlainFit"),
        patch("tuning.run.check_storage"),
        patch("tuning.run._search", return_value=EarlyEnd(reason="time budget of 1m used up")),
        patch("tuning.backend.checkpoint_sync.CheckpointStore.remove_all") as removed,
    ):
        assert search_study(run).finished
    removed.assert_not_called()


@pytest.mark.slow
def test_an_earlier_end_is_over_once_the_search_continues(tmp_path: Path) -> None:
    """Otherwise, after a kill, readers would leave out the later trials."""
    run = on_reviews(tmp_path, trials=9)
    with patch("tuning.run.BackgroundRay", NoRay), patch("tuning.run.PlainFit"):
        with patch("tuning.run._search", return_value=EarlyEnd(reason="a limit", n_trials=2)):
            search_study(run)
        assert study_attributes(run.folder)["early_end"]["n_trials"] == 2
        with patch("tuning.run._search", side_effect=InterruptedError), pytest.raises(InterruptedError):
            search_study(run)
    assert study_attributes(run.folder)["early_end"] is None
