"""The verb `ensemble` on a real small study, with trainings in this process: checks, output and model."""

import dataclasses
import errno
import io
import os
import pickle
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from ray import cloudpickle

from core.data.corpus import TEST, VAL
from core.data.load import load_corpus
from core.errors import ConfigError, CorruptionError, DataError, TrainingError, UserError
from core.inference.members import LstmMember, PlainMember
from core.inference.predictor import load_model
from core.inference.saved_model import read_model
from core.io import checked_folder
from tests.support.contents import metrics
from tests.support.corpora import tiny_corpus
from tests.support.local_backend import NoRay, Result
from tests.support.studies import (
    add_plain_baseline,
    config_record,
    data_of,
    epoch_record,
    make_study,
    setting,
    tamper,
    write_noisy,
)
from tuning.analysis.assessment import held_out_results
from tuning.analysis.best import members_text
from tuning.ensemble import command, members
from tuning.ensemble.command import make_ensemble
from tuning.ensemble.measure import measure
from tuning.journal.records import Spec, TrialRecord, evaluations_on_test, read_study, study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.retrain.calibrated import Outputs
from tuning.study_options import EnsembleOptions

pytestmark = pytest.mark.usefixtures("no_default_cache")


@pytest.fixture(scope="module", autouse=True)
def _no_ray() -> Iterator[None]:
    with patch("tuning.ensemble.command.BackgroundRay", NoRay):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache, sentences, and a study with a plain baseline; trial 1 was stopped."""
    root = tmp_path_factory.mktemp("studies")
    file = write_noisy(root / "tickets.csv", 600)
    trials = setting(), setting(hidden_dim=12, pooling="mean"), setting(hidden_dim=9, learning_rate=0.02)
    make_study(root / "s", file, root / "cache", *trials, stopped=1)
    add_plain_baseline(root / "s", root / "cache")
    return root


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of the study, to be changed."""
    shutil.copytree(made / "s", tmp_path / "s")
    return tmp_path / "s"


def sent(value: Any) -> Any:
    """Return the value as another process gets it from Ray: its arrays are read-only."""
    arrays: list[pickle.PickleBuffer] = []
    packed = cloudpickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    return pickle.loads(packed, buffers=[bytes(each.raw()) for each in arrays])


class OtherProcess(NoRay):
    """Takes the place of BackgroundRay, too: tasks get copies of their arguments, and the driver one of the result."""

    def remote(self, **_: object) -> Callable[[Callable[..., Any]], Any]:
        return lambda function: SimpleNamespace(
            remote=lambda *values: Result(sent(sent(function)(*map(sent, values)))),
        )


@pytest.fixture(scope="module")
def ensembled(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The study with its ensemble, and the command's output."""
    folder = shutil.copytree(made / "s", tmp_path_factory.mktemp("ensembled") / "s")
    with redirect_stdout(io.StringIO()) as out, patch("tuning.ensemble.command.BackgroundRay", OtherProcess):
        assert ensemble(folder, made)
    return folder, out.getvalue()


def ensemble(study: Path, made: Path, **changes: Any) -> bool:
    return make_ensemble(EnsembleOptions(study=str(study), cache_dir=made / "cache", **changes))


@pytest.mark.slow
def test_members_are_verified_measured_and_saved_as_one_model(ensembled: tuple[Path, str]) -> None:
    study, out = ensembled
    saved = read_model(study / "ensemble")
    assert [each.name for each in saved.members] == [row["name"] for row in metrics(study, "ensemble")["members"]]
    assert len(saved.members) > 1
    assert sum(each.weight for each in saved.members) == pytest.approx(1)
    names = (each.name.replace("plain-baseline", "plain").removeprefix("trial-") for each in saved.members)
    weights = {name: each.weight for name, each in zip(names, saved.members, strict=True)}
    assert f"Ensemble of {members_text(weights)}: " in out  # as selected: five selections are no equal shares of 2 to 4
    for each in saved.members:
        verdict = "REPRODUCED its validation probabilities" if isinstance(each, PlainMember) else "REPRODUCED "
        assert f"\n{each.name}: {verdict}" in out
    assert "\nensemble: val 0." in out
    assert re.search(r"\d (better|worse) than the best trial \(95% interval ", out)
    assert f"An ensemble of {len(saved.members)} members" in (study / "ensemble" / "card.md").read_text()
    assert not list((study / "checkpoints").glob("ensemble-*"))


@pytest.mark.slow
def test_the_saved_model_predicts_what_was_measured(ensembled: tuple[Path, str], made: Path) -> None:
    study, _ = ensembled
    rows = [line.rsplit(",", 1) for line in (made / "tickets.csv").read_text().splitlines()[1:]]
    labels = [each.label for each in load_model(study / "ensemble").predict([text for text, _ in rows])]

    right = np.array([label == row[1] for label, row in zip(labels, rows, strict=True)])
    test = load_corpus(**data_of(made / "tickets.csv"), cache_dir=made / "cache").indices(TEST)
    measured = metrics(study, "ensemble")["test_accuracy"]
    assert right[test].mean() == pytest.approx(measured, abs=1 / 60)  # rounding may decide a near tie
    confusion = np.array(metrics(study, "ensemble")["test_confusion"])
    assert confusion.trace() / confusion.sum() == metrics(study, "ensemble")["test_accuracy"]


def test_the_figures_are_of_the_weighted_mean() -> None:
    """The mean without weights is wrong about each sentence."""
    corpus = tiny_corpus()

    def outputs(split: int, right: float) -> Any:
        labels = corpus.labels[corpus.split == split]
        probabilities = np.where(np.eye(2, dtype=bool)[labels], right, 1 - right).astype(np.float32)
        return Outputs(labels, probabilities.argmax(axis=1), probabilities)

    trained: list[Any] = [
        members.TrainedMember(
            member=SimpleNamespace(name=f"trial-{at}", weight=weight),  # type: ignore[arg-type]
            trial=at, verdict="", about={}, val=outputs(VAL, right), test=outputs(TEST, right),
        )
        for at, (weight, right) in enumerate(((0.75, 0.9), (0.25, 0.05)))
    ]  # fmt: skip
    spec = {"metric": "accuracy", "data": {"split": "80/10/10"}, "fingerprint": corpus.fingerprint}
    journal: Any = SimpleNamespace(attributes={"spec": spec}, log_test_evaluation=lambda *_, **__: None)
    found = measure(journal, trained, corpus, "train")
    assert (found["val_accuracy"], found["test_accuracy"]) == (1, 1)
    sizes = found["coverage"][0]["sentences"], found["abstention"]["sentences"]
    assert sizes == (len(corpus.indices(VAL)), len(corpus.indices(TEST)))


def test_the_figures_of_a_member_are_those_of_its_own_predictions() -> None:
    """Rounding has made its classes equally probable: `retrain` and `best` would show other figures."""
    corpus = tiny_corpus()

    def outputs(split: int) -> Outputs:
        labels = corpus.labels[corpus.split == split]
        return Outputs(labels, labels, np.full((len(labels), 2), 0.5, dtype=np.float32))

    member = members.TrainedMember(
        member=SimpleNamespace(name="trial-0", weight=0.5),  # type: ignore[arg-type]
        trial=0, verdict="", about={}, val=outputs(VAL), test=outputs(TEST),
    )  # fmt: skip
    spec = {"metric": "macro_f1", "data": {"split": "80/10/10"}, "fingerprint": corpus.fingerprint}
    journal: Any = SimpleNamespace(attributes={"spec": spec}, log_test_evaluation=lambda *_, **__: None)
    names = [f"{split}_{what}" for split in ("val", "test") for what in ("macro_f1", "accuracy")]
    for row in measure(journal, [member, member], corpus, "train")["members"]:
        assert [row[name] for name in names] == [1] * 4
    alone = measure(journal, [member], corpus, "train")
    assert [alone[name] for name in names] == [1] * 4


@pytest.mark.slow
def test_each_evaluation_of_the_test_split_is_logged(ensembled: tuple[Path, str]) -> None:
    study, _ = ensembled
    *each, whole = evaluations_on_test(study_attributes(study))
    assert {found["verb"] for found in (*each, whole)} == {"ensemble"}
    weights = {row["name"]: row["weight"] for row in metrics(study, "ensemble")["members"]}
    names = {"plain" if name == "plain-baseline" else name.removeprefix("trial-"): name for name in weights}
    assert whole["members"] == {short: weights[name] for short, name in names.items()}
    assert not any("members" in found for found in each)
    assert (whole["trial"], whole.get("calibration")) == (None, metrics(study, "ensemble").get("calibration"))
    assert len(each) == len(metrics(study, "ensemble")["members"])
    assert metrics(study, "ensemble")["test_evaluations"] == len(each) + 1
    trials = {found["trial"] for found in each} - {None}
    assert held_out_results(each, "80/10/10", read_study(study)[1]).keys() == trials


@pytest.mark.slow
def test_trained_on_both_splits_the_validation_figures_are_those_of_verified_trainings(
    ensembled: tuple[Path, str], made: Path, tmp_path: Path
) -> None:
    study = shutil.copytree(ensembled[0], tmp_path / "s")
    train_only = metrics(study, "ensemble")

    ensemble(study, made, on="train+val")

    both = metrics(study, "ensemble")
    assert both["verified_val_accuracy"] == train_only["val_accuracy"]
    assert not {"val_accuracy", "val_classes", "val_confusion"} & both.keys()
    assert "Classes of the validation split" not in (study / "ensemble" / "card.md").read_text()
    assert "test_classes" in both
    assert both["weights_sha256"].keys() == train_only["weights_sha256"].keys()
    assert set(both["weights_sha256"].values()).isdisjoint(train_only["weights_sha256"].values())
    losses = [{row["name"]: row["test_loss"] for row in each["members"]} for each in (train_only, both)]
    assert "plain-baseline" in losses[0]
    assert not losses[0].items() & losses[1].items()
    assert evaluations_on_test(study_attributes(study))[-1]["on"] == "train+val"


@pytest.mark.slow
def test_a_size_of_one_has_one_member(study: Path, made: Path) -> None:
    ensemble(study, made, size=1)

    (member,) = read_model(study / "ensemble").members
    assert member.weight == 1
    (evaluation,) = evaluations_on_test(study_attributes(study))
    trial = int(member.name.removeprefix("trial-")) if isinstance(member, LstmMember) else None
    assert (evaluation["verb"], evaluation["trial"]) == ("ensemble", trial)
    assert evaluation.get("calibration") == metrics(study, "ensemble").get("calibration")


def test_trials_that_another_process_has_just_changed_are_selected(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after this command has read the journal, and before this command locks the study."""
    read: list[Sequence[TrialRecord]] = []

    def opened(folder: Path, spec: Spec) -> AbstractContextManager[StudyJournal]:
        tamper(folder, epoch_record(0, 3, score=2.0))
        return open_study(folder, spec)

    def assess(records: Sequence[TrialRecord], *_: Any, **__: Any) -> None:
        read.append(records)
        raise InterruptedError

    monkeypatch.setattr("tuning.ensemble.command.open_study", opened)
    monkeypatch.setattr("tuning.ensemble.command.assess", assess)
    with pytest.raises(InterruptedError):
        ensemble(study, made)
    assert [records[0].epochs[2].score for records in read] == [2.0]


@pytest.mark.slow
def test_an_interrupt_that_a_library_discards_leaves_no_model(study: Path, made: Path) -> None:
    usual = command.verify_member

    def interrupted(*arguments: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return usual(*arguments)

    with patch.object(command, "verify_member", interrupted):
        assert not ensemble(study, made, workers=1)
    assert not (study / "ensemble").exists()


@pytest.mark.slow
def test_an_interrupt_leaves_no_model_and_the_same_command_makes_it(study: Path, made: Path) -> None:
    usual = members.train_in_worker

    def interrupted(*arguments: Any) -> Any:
        found = usual(*arguments)
        signal.raise_signal(signal.SIGTERM)
        return found

    with patch.object(members, "train_in_worker", interrupted):
        assert not ensemble(study, made, workers=1)

    assert not (study / "ensemble").exists()
    assert len(list((study / "checkpoints").glob("ensemble-*"))) == 1
    (study / "checkpoints" / "ensemble-99").mkdir()  # of another selection, whose command was interrupted
    assert ensemble(study, made)
    assert list((study / "checkpoints").glob("ensemble-*")) == []


@pytest.mark.slow
def test_a_full_disk_leaves_no_model_and_loses_no_training(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checked_folder._write_tensors

    def full(path: Path, tensors: Any) -> None:
        if "checkpoints" not in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, tensors)

    with (
        monkeypatch.context() as disk,
        pytest.raises(UserError, match="ensemble: the disk is full; free some space"),
    ):
        disk.setattr(checked_folder, "_write_tensors", full)
        ensemble(study, made)

    assert not (study / "ensemble").exists()
    assert list((study / "checkpoints").glob("ensemble-*/*/epoch-*"))
    assert ensemble(study, made)


@pytest.mark.slow
def test_a_member_that_differs_is_named_with_the_epoch_and_the_changes_of_its_worker(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have another GPU than the first one, which the driver sees."""
    usual = members.train_in_worker

    def elsewhere(*arguments: Any) -> Any:
        found = usual(*arguments)
        environment = found["result"].environment | {"device": "GPU B"}
        return {**found, "result": dataclasses.replace(found["result"], environment=environment)}

    for trial in range(3):
        tamper(study, epoch_record(trial, 2, val_loss=0.125))
    monkeypatch.setattr(members, "train_in_worker", elsewhere)
    ensemble(study, made)
    out = capsys.readouterr().out
    assert "DIFFERS: 1/3 epochs reproduced, then epoch 2 has val_loss" in out
    assert "changed since the search: device cpu, now GPU B" in out


@pytest.mark.slow
def test_probabilities_that_are_not_the_trials_own_are_refused_by_name(study: Path, made: Path) -> None:
    for path in (study / "probabilities").glob("0000*.npz"):
        with np.load(path) as content:
            log_odds = content["log_odds"].copy()
        log_odds[0] += 1
        np.savez_compressed(path, log_odds=log_odds)

    with pytest.raises(CorruptionError, match=r"probabilities/0000\d-\d\.npz differs from the trial's probabilities"):
        ensemble(study, made)

    assert not (study / "ensemble").exists()


def test_probabilities_that_are_not_the_plain_baselines_own_are_refused_by_name(study: Path, made: Path) -> None:
    path = study / "probabilities" / "plain_baseline.npz"
    with np.load(path) as content:
        np.savez_compressed(path, log_odds=-content["log_odds"])

    said = r"probabilities/plain_baseline\.npz differs from the plain baseline's predictions in the journal; restore"
    with pytest.raises(CorruptionError, match=said):
        ensemble(study, made)

    assert not (study / "ensemble").exists()


def test_other_data_than_the_studys_are_refused_before_a_training(
    study: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the members were chosen on the study's validation sentences."""
    other = write_noisy(tmp_path / "other.csv", 400)
    monkeypatch.setattr(members, "train_in_worker", lambda *_: pytest.fail("a training began"))

    with pytest.raises(DataError, match=r"the data differ from the study's \(.*; restore the study's data"):
        ensemble(study, made, dataset=str(other))


@pytest.mark.slow
def test_a_trial_that_cannot_be_trained_is_named(study: Path, made: Path) -> None:
    for trial in range(3):
        tamper(study, config_record(trial, optimizer="adamw", learning_rate=9e15, weight_decay=9e15))

    with pytest.raises(TrainingError, match=r"trial \d cannot be trained again \(TrainingError: the loss is"):
        ensemble(study, made)


def test_a_cost_below_that_of_each_model_is_refused(study: Path, made: Path) -> None:
    with pytest.raises(ConfigError, match="multiplications per word"):
        ensemble(study, made, max_cost=1)


def test_a_study_without_probabilities_is_refused(study: Path, made: Path) -> None:
    shutil.rmtree(study / "probabilities")

    lost = r"there is no ensemble: no trial has ended with stored probabilities, .*; restore the study's folder `prob"
    with pytest.raises(UserError, match=lost):
        ensemble(study, made)


def test_why_there_is_no_ensemble(study: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(ensemble=None, nothing_learned=False, corrected=None, n_candidates=3, sentences=200)
    monkeypatch.setattr("tuning.ensemble.command.assess", lambda *_, **__: found)
    with pytest.raises(UserError, match=r"there is no ensemble: some predictions were not stored; restore"):
        ensemble(study, made)
    found.sentences = 1
    with pytest.raises(UserError, match=r"only one validation sentence; search with more of them under another --name"):
        ensemble(study, made)
    found.n_candidates = 0
    with pytest.raises(UserError, match=r"there is no ensemble: no trial has ended with a value; run the study first"):
        ensemble(study, made)


def test_a_folder_that_is_no_model_is_not_replaced(study: Path, made: Path) -> None:
    (study / "ensemble").mkdir()
    (study / "ensemble" / "notes.txt").touch()

    with pytest.raises(UserError, match="is no saved model, because it contains"):
        ensemble(study, made)


@pytest.mark.slow
def test_the_members_of_a_study_in_folds_are_trained_on_all_folds(made: Path, tmp_path: Path) -> None:
    trials = setting(), setting(hidden_dim=12, pooling="mean")
    make_study(tmp_path / "s", made / "tickets.csv", made / "cache", *trials, validation="folds:3")

    ensemble(tmp_path / "s", made, on="train+val", size=1)

    found = metrics(tmp_path / "s", "ensemble")
    assert found["verified_val_sentences"] == 600 - found["test_sentences"]
    assert {each["on"] for each in evaluations_on_test(study_attributes(tmp_path / "s"))} == {"train"}
    for member in read_model(tmp_path / "s" / "ensemble").members:
        assert isinstance(member, LstmMember)
        assert not any(name.startswith("fold") for name in member.weights)
    add_plain_baseline(tmp_path / "s", made / "cache")
    ensemble(tmp_path / "s", made, on="train+val")
    (plain,) = metrics(tmp_path / "s", "ensemble")["members"]
    assert (plain["name"], plain["verdict"]) == ("plain-baseline", "REPRODUCED its validation probabilities")


def test_a_plain_baseline_with_other_probabilities_than_in_the_search_differs(study: Path, made: Path) -> None:
    """As with another version of scikit-learn."""
    path = study / "probabilities" / "plain_baseline.npz"
    with np.load(path) as content:
        log_odds = content["log_odds"].copy()
    log_odds[0] += 1
    np.savez_compressed(path, log_odds=log_odds)
    corpus = load_corpus(**data_of(made / "tickets.csv"), cache_dir=made / "cache")
    found = members.fit_plain_member(study, corpus, "accuracy", 1.0, both=False)
    assert found.verdict == "DIFFERS from its validation probabilities"


@pytest.mark.slow
def test_the_plain_baseline_is_fitted_after_ray_has_ended(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another thread imports Ray, threadpoolctl and that import can wait for each other for ever."""
    ended: list[str] = []

    class Session(NoRay):
        @contextmanager
        def _session(self, say: Callable[[str], None] = print) -> Iterator[NoRay]:
            yield self
            ended.append("Ray")

    def fit(*_: object, **__: object) -> None:
        assert ended == ["Ray"]
        raise InterruptedError

    monkeypatch.setattr("tuning.ensemble.command.fit_plain_member", fit)
    with patch("tuning.ensemble.command.BackgroundRay", Session), pytest.raises(InterruptedError):
        ensemble(study, made)
