"""The verb `retrain` on a real small study: comparison, cause of a difference, models and test evaluations."""

import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from core.errors import ConfigError, DataError, TrainingError, UserError
from core.inference.members import LstmMember
from core.inference.saved_model import read_model
from core.training.result import weights_digest
from tests.support.assessed_studies import attributes, trial
from tests.support.contents import metrics
from tests.support.studies import epoch_record, make_study, outcome_record, setting, tamper, write_sentences
from tests.support.trial_records import record
from tuning.journal.file import study_lock
from tuning.journal.records import Spec, evaluations_on_test, read_study, study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.retrain.command import retrain_trial, select_trial
from tuning.retrain.models import train_seed
from tuning.retrain.reproduction import Reproduction
from tuning.retrain.training import fresh_seeds
from tuning.study_options import RetrainOptions

pytestmark = pytest.mark.usefixtures("no_default_cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache, sentences, and a study: trials 0, 1 and 3 complete, trial 2 stopped."""
    root = tmp_path_factory.mktemp("studies")
    file = write_sentences(root / "tickets.csv")
    trials = setting(), setting(hidden_dim=12, lr_schedule="cosine"), setting(hidden_dim=9), setting(hidden_dim=64)
    make_study(root / "s", file, root / "cache", *trials, stopped=2)
    return root


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of the study, to be changed."""
    shutil.copytree(made / "s", tmp_path / "s")
    return tmp_path / "s"


def again(study: Path, made: Path, **changes: Any) -> Reproduction:
    options: dict[str, Any] = {"study": str(study), "trial": "1", "cache_dir": made / "cache"}
    return retrain_trial(RetrainOptions(**(options | changes)))


@pytest.mark.slow
def test_the_trial_is_reproduced_and_everything_is_reported(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = again(study, made)
    out = capsys.readouterr().out
    assert str(verdict) == "REPRODUCED 3/3 epochs and the final weights"
    assert f"\n{verdict}\nval  accuracy 0." in out
    assert "changed since" not in out
    best = read_study(study)[1][1].best
    assert best is not None
    assert (metrics(study)["val_accuracy"], metrics(study)["trial"]) == (best.val_accuracy, 1)
    assert metrics(study)["verdict"] == str(verdict)
    assert metrics(study)["test_evaluations"] == 1
    assert "not calibrated: 24 validation sentences with" in out
    assert "with predict --min-probability P, on the test split:" in out
    assert "\nclasses of the test split, with 95% intervals:\n" in out
    assert "label \\ predicted" in out
    assert "### Classes of the test split" in (study / "model" / "card.md").read_text()
    assert read_model(study / "model").temperature == metrics(study)["temperature"] == 1
    assert read_model(study / "model").text_column == "text"
    assert metrics(study)["coverage"][0]["sentences"] == 24
    (evaluation,) = evaluations_on_test(study_attributes(study))
    assert evaluation["test_accuracy"] == metrics(study)["test_accuracy"]
    assert [evaluation[n] for n in ("verb", "trial", "seed", "on", "split")] == ["retrain", 1, 7, "train", "80/10/10"]
    assert (evaluation["test_sentences"], evaluation["time"][-6:]) == (24, "+00:00")
    assert "calibration" not in {**evaluation, **metrics(study)}
    assert "### Calibration" not in (study / "model" / "card.md").read_text()
    assert "REPRODUCED 3/3 epochs" in (study / "model" / "card.md").read_text()
    assert list((study / "checkpoints").iterdir()) == []
    assert out.splitlines()[-1] == f"model saved in {study / 'model'}"
    again(study, made)
    assert capsys.readouterr().out.splitlines()[-1] == f"model saved in {study / 'model'} in place of the model there"


@pytest.mark.slow
def test_the_recommended_trial_needs_no_probabilities(study: Path, made: Path) -> None:
    """They are for the ensemble."""
    for file in (study / "probabilities").iterdir():
        file.write_bytes(b"damaged")
    assert str(again(study, made, trial="recommended")).startswith("REPRODUCED 2/2 epochs")


def test_a_stopped_trial_is_compared_by_its_epochs(study: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = again(study, made, trial="2", seeds=2)
    assert str(verdict) == "REPRODUCED 2/2 epochs; the final weights were not recorded"
    assert [each["epochs"] for each in evaluations_on_test(study_attributes(study))] == [2, 2]
    assert "trial 2 has no digest of its final weights because it was not trained to its end" in capsys.readouterr().out


@pytest.mark.slow
def test_another_precision_is_named(study: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = again(study, made, precision="bf16")
    assert verdict.difference is not None
    assert str(verdict).startswith("DIFFERS: 0/3 epochs reproduced, then epoch 1 has ")
    assert str(verdict).endswith("; changed since the search: precision fp32, now bf16")
    out = capsys.readouterr().out
    assert out.index("changed since the search: precision fp32, now bf16\ndo not expect bit-identical") < out.index(
        "epoch 1:"
    )


def test_bf16_on_a_gpu_is_refused_before_the_data_are_read(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.retrain.command.device_of", lambda spec: "cuda")
    monkeypatch.setattr("tuning.retrain.command.study_corpus", lambda *_: 1 / 0)
    with pytest.raises(ConfigError, match=r"precision bf16 is for CPUs: on a GPU, .* in fp16; choose fp32"):
        again(study, made, precision="bf16")


@pytest.mark.parametrize("in_study", [False, True])
def test_more_threads_are_named(study: Path, made: Path, in_study: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """By default they are the study's."""

    def of_two_threads(record: dict[str, Any]) -> None:
        if spec := record.get("user_attr", {}).get("spec"):
            spec["threads"] = 2

    if in_study:
        tamper(study, of_two_threads)
    stopped = patch("tuning.retrain.command.train_seed", side_effect=InterruptedError)
    with stopped as trained, pytest.raises(InterruptedError):
        again(study, made, trial="3", threads=None if in_study else 2)
    assert trained.call_args.args[0].threads == 2
    assert "changed since the search: threads 1, now 2\n" in capsys.readouterr().out


def test_one_changed_sentence_is_named(study: Path, made: Path, tmp_path: Path) -> None:
    other = tmp_path / "tickets.csv"
    other.write_text((made / "tickets.csv").read_text().replace("the crash 0 of", "the storm 0 of", 1))
    verdict = again(study, made, dataset=str(other))
    assert verdict.difference is not None
    assert "; changed since the search: data sha256 " in str(verdict)
    assert evaluations_on_test(study_attributes(study))[0]["split"] == "80/10/10 of other data"


def test_another_tokenizer_is_named(study: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.load.tokenizer_version", lambda tokenizer: "other-1.0")
    assert "changed since the search: tokenizer nltk-" in str(again(study, made))


def test_a_study_from_a_machine_with_a_gpu_retrains_on_the_cpu(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_gpu(record: dict[str, Any]) -> None:
        if "spec" in record.get("user_attr", {}):
            record["user_attr"]["spec"]["device"] = "cuda"

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    tamper(study, on_gpu)
    tamper(study, outcome_record(0, environment={"device": "NVIDIA Z9"}))
    tamper(study, outcome_record(1, environment={"device": "NVIDIA Z9"}))
    assert "device NVIDIA Z9, now cpu" in str(again(study, made))


@pytest.mark.slow
def test_train_and_val_learns_from_both_and_reports_test_alone(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again(study, made, on="train+val")
    (reading,) = evaluations_on_test(study_attributes(study))
    assert (reading["trial"], reading["on"], reading["val_accuracy"]) == (1, "train+val", None)
    out = capsys.readouterr().out
    found = metrics(study)
    assert found["train_and_val_sentences"] == 216
    assert found["steps"] == found["verified_best_epoch"] * 12
    assert "REPRODUCED 3/3 epochs" in found["verdict"]
    assert f"\n{found['steps']} steps are {found['steps'] / 14:.2f} passes over train and validation\n" in out
    assert "\nval  accuracy" not in out
    assert "\ntest accuracy 0." in out
    assert "val_accuracy" not in found
    assert found["on"] == "train+val"
    (member,) = read_model(study / "model").members
    assert isinstance(member, LstmMember)
    assert weights_digest(member.weights) == found["weights_sha256"]
    again(study, made, on="train")
    assert metrics(study)["weights_sha256"] != found["weights_sha256"]


@pytest.mark.slow
def test_several_seeds_are_all_reported_and_the_median_is_kept(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with patch("tuning.retrain.command.train_seed", wraps=train_seed) as trained:
        again(study, made, seeds=3)
    assert [call.args[2] for call in trained.call_args_list] == [3, None, None]  # with patience, seeds differ in length
    out, found = capsys.readouterr().out, metrics(study)
    assert [row["seed"] for row in found["seeds"]] == [7, *fresh_seeds(7, 2)]
    accuracies = [row["val_accuracy"] for row in found["seeds"]]
    assert found["val_accuracy"] == sorted(accuracies)[1]
    (member,) = read_model(study / "model").members
    assert isinstance(member, LstmMember)
    assert f"selected: the model of seed {member.config.seed}, the median by validation" in out
    assert f"val  accuracy over 3 seeds: {sum(accuracies) / 3:.4f} +- " in out
    assert [reading["seed"] for reading in evaluations_on_test(study_attributes(study))] == [7, *fresh_seeds(7, 2)]
    assert "REPRODUCED 3/3 epochs" in out
    rows = (study / "model" / "card.md").read_text().split("## Figures\n\n")[1].split("\n\n")[0].splitlines()[2:]
    assert any(row.startswith("| val accuracy over seeds |") for row in rows)
    assert [row for row in rows if row.endswith(" |  |")] == []  # each figure has a meaning


@pytest.mark.slow
def test_a_seed_that_cannot_be_trained_is_named_with_the_number_of_seeds_before_it(study: Path, made: Path) -> None:
    def fails_on_the_third(context: Any, seed: int, *others: Any) -> Any:
        if seed == fresh_seeds(7, 2)[1]:
            raise TrainingError("the loss is nan")
        return train_seed(context, seed, *others)

    failing = patch("tuning.retrain.command.train_seed", fails_on_the_third)
    with failing, pytest.raises(TrainingError, match=r"^seed \d+: the loss is nan; pass --seeds 2 to leave it out$"):
        again(study, made, seeds=4)


def test_when_the_study_is_being_run_nothing_is_trained(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with study_lock(study), pytest.raises(UserError, match=r"study 's' is run by process \d+ on "):
        again(study, made)
    assert capsys.readouterr().out == ""
    assert not (study / "model").exists()


def test_a_trial_that_another_process_has_just_trained_is_selected(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends after this command has read the journal, and before this command locks the study."""

    def opened(folder: Path, spec: Spec) -> AbstractContextManager[StudyJournal]:
        tamper(folder, epoch_record(3, 3, score=2.0))
        return open_study(folder, spec)

    monkeypatch.setattr("tuning.retrain.command.open_study", opened)
    with patch("tuning.retrain.command.train_seed", side_effect=InterruptedError), pytest.raises(InterruptedError):
        again(study, made, trial="best")
    shown = re.search("^training trial 3: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert shown is not None
    assert " hidden_dim=64 " in f" {shown[1]} "  # the trial has no searched value of it, as the usual baseline


def test_a_place_that_holds_something_else_is_refused_before_training(study: Path, made: Path) -> None:
    (study / "model").mkdir()
    (study / "model" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"is no saved model, because it contains 'thesis.tex'"):
        again(study, made)
    assert evaluations_on_test(study_attributes(study)) == []


def test_data_that_are_gone_are_named(study: Path, made: Path, tmp_path: Path) -> None:
    def moved(record: dict[str, Any]) -> None:
        if "spec" in record.get("user_attr", {}):
            record["user_attr"]["spec"]["data"]["dataset"] = str(tmp_path / "gone.csv")

    tamper(study, moved)
    with pytest.raises(DataError, match=r"gone\.csv.*pass --dataset"):
        again(study, made)
    assert again(study, made, dataset=str(made / "tickets.csv")).difference is None


def test_best_is_the_first_of_the_table_and_a_number_is_that_trial() -> None:
    records = [record(0, 0.7), record(1, 0.9, 0.8), record(2, 0.8)]
    assert select_trial(Path(), "best", {}, records).number == 1
    assert select_trial(Path(), "2", {}, records).number == 2


def test_if_nothing_was_learned_that_is_said_and_the_best_trial_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each trial is wrong on half of the sentences or more."""
    found = [trial(0, range(100)), trial(1, range(101))]
    assert select_trial(tmp_path, "recommended", attributes(), found).number == 0
    out = capsys.readouterr().out
    assert "nothing was learned: no trial is shown to be better than always predicting the majority class\n" in out
    assert "search with more --trials, or with another --name more --epochs" in out


def test_a_trial_that_cannot_be_retrained_is_refused() -> None:
    failed = record(1, state="FAIL", error="TrainingError: NaN")
    with pytest.raises(ConfigError, match="--trial must be recommended, best or a number from 0 to 1, got '7'"):
        select_trial(Path(), "7", {}, [record(0, 0.7), failed])
    with pytest.raises(UserError, match=r"trial 1 failed \(TrainingError: NaN\); choose another --trial"):
        select_trial(Path(), "1", {}, [record(0, 0.7), failed])
    with pytest.raises(UserError, match="trial 1 has not ended; choose another --trial"):
        select_trial(Path(), "1", {}, [record(0, 0.7), record(1, 0.8, state="RUNNING")])
    with pytest.raises(UserError, match="no trial of this study has ended with a value; run the study first"):
        select_trial(Path(), "best", {}, [])


def test_other_splits_to_train_on_are_refused() -> None:
    """From Python; the command line has choices."""
    with pytest.raises(ConfigError, match=r"--on must be train or train\+val, got 'both'"):
        RetrainOptions(study="s", on="both")
