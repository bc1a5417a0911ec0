"""The verb `distill`: the student's targets, the comparison with an earlier run, and errors."""

import dataclasses
import os
import re
import shutil
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from core.config import TrialConfig
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.data.load import load_corpus
from core.data.tokenizer import tokenize
from core.errors import ConfigError, DataError, UserError
from core.inference.predictor import load_model
from core.nn.runtime import TRAINING_KERNELS
from tests.support.contents import metrics
from tests.support.corpora import tiny_corpus
from tests.support.models import lstm, plain, predictor, saved
from tests.support.studies import data_of, epoch_record, make_study, setting, tamper, write_sentences
from tuning.analysis.assessment import held_out_results
from tuning.distill.command import (
    LABEL_SHARE,
    _record_key,
    add_sentences,
    distill_model,
    mixed_targets,
    new_sentences,
    scale_epoch,
    teacher_probabilities,
)
from tuning.journal.records import Spec, evaluations_on_test, rank_trials, read_study, study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.retrain.command import retrain_trial
from tuning.retrain.models import RetrainContext
from tuning.retrain.reproduction import Reproduction
from tuning.study_options import DistillOptions, RetrainOptions

TEACHER: dict[str, Any] = {
    "classes": ("bug", "praise"),
    "words": ("<pad>", "<unk>", "crash", "error", "great", "thanks"),
    "temperature": 2.0,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache, sentences, a study of two trials, and a teacher that knows the words of the classes."""
    root = tmp_path_factory.mktemp("studies")
    file = write_sentences(root / "tickets.csv")
    make_study(root / "s", file, root / "cache", setting(), setting(hidden_dim=12))
    saved(root, plain(ngrams=((2, 0), (3, 0), (4, 0), (5, 0))), **TEACHER)
    return root


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of the study, to be changed."""
    shutil.copytree(made / "s", tmp_path / "s")
    return tmp_path / "s"


def distil(study: Path, made: Path, model: Path | None = None, **changes: Any) -> Reproduction | None:
    options: dict[str, Any] = {
        "study": str(study), "trial": "1", "out": study / "small", "cache_dir": made / "cache",
    }  # fmt: skip
    return distill_model(model or made / "model", DistillOptions(**(options | changes)))


@pytest.mark.slow
def test_the_first_run_is_recorded_and_the_same_command_is_compared_with_it(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    assert distil(study, made) is None
    # The first limit decides, and the teacher's is lower.
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == str(TRAINING_KERNELS)
    out = capsys.readouterr().out
    assert f"teacher: {made / 'model'} (plain-baseline 1)\n" in out
    assert re.search("^training with the settings of trial 1: .*hidden_dim=12 ", out, re.MULTILINE)
    assert out.endswith("\nRECORDED 3 epochs, with which the same command will compare its epochs\n")
    first = metrics(study, "small")
    assert (first["trial"], first["on"], first["teacher_members"]) == (1, "train", {"plain-baseline": 1.0})
    assert "verdict" not in first
    card = (study / "small" / "card.md").read_text()
    assert "teacher members" in card
    assert first["teacher_digest"] in card
    verdict = distil(study, made)
    assert str(verdict) == "REPRODUCED 3/3 epochs and the final weights"
    assert metrics(study, "small")["verdict"] == str(verdict)
    assert metrics(study, "small")["weights_sha256"] == first["weights_sha256"]
    assert load_model(study / "small").classes == ("bug", "praise")
    assert list((study / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_first_run_that_ended_after_its_training_is_not_compared_with_itself(study: Path, made: Path) -> None:
    """The same command resumes from its last checkpoint, and trains nothing."""
    with patch("tuning.distill.command._measured", side_effect=InterruptedError), pytest.raises(InterruptedError):
        distil(study, made)
    assert distil(study, made) is None
    assert "verdict" not in metrics(study, "small")
    assert str(distil(study, made)) == "REPRODUCED 3/3 epochs and the final weights"


@pytest.mark.slow
def test_another_result_differs_from_the_first_run(study: Path, made: Path) -> None:
    distil(study, made)

    def change(line: dict[str, Any]) -> None:
        for key, value in line.get("user_attr", {}).items():
            if key.startswith("distill:"):
                value["epochs"][1]["train_loss"] = 0.5
                value["epochs"][1]["of_a_later_version"] = 1
                value["environment"]["cpu"] = "another"

    tamper(study, change)
    verdict = str(distil(study, made))
    assert verdict.startswith("DIFFERS: 1/3 epochs reproduced, then epoch 2 has train_loss ")
    assert " where the first run recorded 0.5 " in verdict
    assert "; changed since the first run: CPU another, now " in verdict


@pytest.mark.slow
def test_unlabelled_sentences_join_the_training_sentences(
    study: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distil(study, made)
    without = metrics(study, "small")
    lines = (made / "tickets.csv").read_text().splitlines()
    in_study = [line.rpartition(",")[0] for line in lines[1:4]]
    more = ["a great page", "", "A GREAT page!", f"{in_study[0].upper()}.", *in_study[1:], "an error on a page"]
    (tmp_path / "more.txt").write_text("\n".join(more))
    capsys.readouterr()
    assert distil(study, made, unlabelled=str(tmp_path / "more.txt")) is None
    assert "unlabelled: 2 sentences; 5 left out, which are blank, repeated or in the study\n" in capsys.readouterr().out
    found = metrics(study, "small")
    assert found["unlabelled_sentences"] == 2
    assert found["weights_sha256"] != without["weights_sha256"]
    assert (found["val_sentences"], found["test_sentences"]) == (without["val_sentences"], without["test_sentences"])
    logged = evaluations_on_test(study_attributes(study))[-1]
    assert [logged[name] for name in ("verb", "trial", "on", "split")] == ["distill", None, "train", "80/10/10"]
    assert held_out_results([logged], logged["split"], read_study(study)[1]) == {}  # it is no result of the trial
    corpus = load_corpus(**data_of(made / "tickets.csv"), cache_dir=made / "cache")
    assert logged["test_fingerprint"] == corpus.test_fingerprint()
    (tmp_path / "more.csv").write_text("n,body\n1,an error on a page\n2,a great page\n")
    verdict = distil(study, made, unlabelled=str(tmp_path / "more.csv"), text_column="body")
    assert verdict is None  # the same sentences in another order
    (tmp_path / "more.csv").write_text("n,body\n1,a great page\n2,an error on a page\n")
    verdict = distil(study, made, unlabelled=str(tmp_path / "more.csv"), text_column="body")
    assert str(verdict) == "REPRODUCED 3/3 epochs and the final weights"


@pytest.mark.slow
def test_a_sentence_that_is_too_long_is_named_by_its_line(study: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("\na great page\n" + "word " * 50_001)
    with pytest.raises(DataError, match=r"--unlabelled .*more\.txt, line 3 has 50,001 words, more than 50,000; split"):
        distil(study, made, unlabelled=str(tmp_path / "more.txt"))
    (tmp_path / "more.csv").write_text("n,body\n1,a great page\n2," + "! " * 50_001)
    with pytest.raises(DataError, match=r"more\.csv, line 3 has 50,001 words, more than 50,000; split"):
        distil(study, made, unlabelled=str(tmp_path / "more.csv"), text_column="body")
    (tmp_path / "none.txt").touch()
    with pytest.raises(DataError, match=r"--unlabelled .*none.txt: no sentence; write at least one, or leave out"):
        distil(study, made, unlabelled=str(tmp_path / "none.txt"))


@pytest.mark.slow
def test_train_and_validation_together(study: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distil(study, made, on="train+val")
    assert "training on train and validation together, for the number of steps of" in capsys.readouterr().out
    assert metrics(study, "small")["train_and_val_sentences"] == 216
    assert [each["on"] for each in evaluations_on_test(study_attributes(study))] == ["train+val"]
    distil(study, made, model=study / "small", out=study / "smaller")
    assert "of the teacher, which was trained on train and val\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_teacher_of_another_test_split_is_pointed_out(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "the teacher was trained with another test split, so it may know sentences of this one"
    distil(study, made)
    out = capsys.readouterr().out
    assert note in out
    assert "of the teacher, which may have learned from val: its data, " in out
    made_of = metrics(study, "small")
    assert made_of["teacher_test_fingerprint"] != made_of["test_fingerprint"]
    with patch("tuning.distill.command.train_seed", side_effect=InterruptedError), pytest.raises(InterruptedError):
        distil(study, made, model=study / "small", out=study / "smaller")
    assert " of the teacher\n" in capsys.readouterr().out  # a student of the same study
    retrain_trial(RetrainOptions(study=str(study), trial="0", cache_dir=made / "cache"))
    distil(study, made, model=study / "model")
    out = capsys.readouterr().out
    assert note not in out
    assert f"teacher: {study / 'model'} (model 1)" in out
    (best,) = [each["val_accuracy"] for each in evaluations_on_test(study_attributes(study)) if each["trial"] == 0]
    assert f"val  accuracy {best:.4f} of the teacher\n" in out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"encoding": "utf-8"}, "--encoding must be given with --unlabelled only, got 'utf-8'"),
        ({"unlabelled": "words.xlsx"}, r"--unlabelled must be lines of text or a table .*, got words\.xlsx; save it"),
        ({"unlabelled": "gone.txt"}, "gone.txt: no such file; check the path"),
        (
            {"unlabelled": "words.csv"},
            r"--unlabelled words\.csv is a table; pass --text-column, or rename it to end in \.txt if each line is a",
        ),
        (
            {"unlabelled": "words.doc", "text_column": "body"},
            r"--text-column needs a file ending in \.csv, .* \(\.gz too\), got --unlabelled words\.doc",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(study: Path, made: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        distil(study, made, **changes)
    assert not (study / "small").exists()


def test_a_circle_of_links_is_no_model(study: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for changes in ({"out": tmp_path / "circle"}, {"model": tmp_path / "circle"}):
        with pytest.raises(UserError, match="circle"):
            distil(study, made, **changes)


def test_a_teacher_with_other_classes_is_refused(study: Path, made: Path, tmp_path: Path) -> None:
    other = saved(tmp_path, **(TEACHER | {"members": [plain()], "classes": ("good", "bad")}))
    with pytest.raises(ConfigError, match=r"same classes: .* has 'good', 'bad', the data have 'bug', 'praise'; choose"):
        distil(study, made, model=other)
    (tmp_path / "part").mkdir()
    part = saved(tmp_path / "part", **(TEACHER | {"members": [plain()], "classes": ("bug", "good")}))
    with pytest.raises(ConfigError, match=r"where they differ, .* has 'good', the data have 'praise'; choose"):
        distil(study, made, model=part)


def test_changed_data_are_named_before_the_training(
    study: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "tickets.csv"
    other.write_text((made / "tickets.csv").read_text().replace("the crash 0 of", "the storm 0 of", 1))
    figures = {"on": "train", "verified_val_accuracy": 0.9}  # as of a study in folds
    teacher = saved(tmp_path, plain(ngrams=((2, 0), (3, 0), (4, 0), (5, 0))), **TEACHER, metrics=figures)
    with patch("tuning.distill.command.train_seed", side_effect=InterruptedError), pytest.raises(InterruptedError):
        distil(study, made, model=teacher, dataset=str(other))
    out = capsys.readouterr().out
    assert "changed since the search: data sha256 " in out
    assert "of the teacher, which was trained on train and val\n" in out


def test_a_trial_that_another_process_has_just_trained_is_selected(
    study: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends after this command has read the journal, and before this command locks the study."""
    best = rank_trials(read_study(study)[1])[0].number

    def opened(folder: Path, spec: Spec) -> AbstractContextManager[StudyJournal]:
        tamper(folder, epoch_record(1 - best, 3, score=2.0))
        return open_study(folder, spec)

    with (
        patch("tuning.distill.command.open_study", opened),
        patch("tuning.distill.command.train_seed", side_effect=InterruptedError),
        pytest.raises(InterruptedError),
    ):
        distil(study, made, trial="best")
    assert f"training with the settings of trial {1 - best}: " in capsys.readouterr().out


def test_a_teacher_with_another_tokenizer_is_refused(study: Path, made: Path, tmp_path: Path) -> None:
    other = saved(tmp_path, **TEACHER, tokenizer="regex-2026/unicode/lower")
    with pytest.raises(ConfigError, match=r"same tokenizer: .*model has unicode, the study has english; choose"):
        distil(study, made, model=other)


def test_a_study_in_folds_is_refused(study: Path, made: Path) -> None:
    def change(line: dict[str, Any]) -> None:
        if "spec" in line.get("user_attr", {}):
            line["user_attr"]["spec"]["data"]["validation"] = "folds:5"

    tamper(study, change)
    with pytest.raises(ConfigError, match="study 's' is validated in folds; choose a study with a validation split"):
        distil(study, made)


def test_a_target_is_the_mean_of_teacher_and_label() -> None:
    corpus = tiny_corpus(n_classes=3)
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], len(corpus.labels))
    found = mixed_targets(corpus, soft)
    assert found.dtype == np.float32
    labels = np.eye(3)[corpus.labels]
    assert np.array_equal(found[corpus.split == TEST], labels[corpus.split == TEST])
    for split in (TRAIN, VAL):
        here = corpus.split == split
        assert found[here] == pytest.approx((1 - LABEL_SHARE) * soft[here] + LABEL_SHARE * labels[here], abs=1e-6)
    given = np.random.default_rng(1).dirichlet([1, 1, 1], len(corpus.labels)).astype(np.float32)
    found = mixed_targets(dataclasses.replace(corpus, targets=given), soft)
    assert found[here] == pytest.approx((1 - LABEL_SHARE) * soft[here] + LABEL_SHARE * given[here], abs=1e-6)


def test_an_unlabelled_sentence_has_the_probabilities_of_the_teacher(study: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a great page")
    corpora: list[Corpus] = []
    configs: list[TrialConfig] = []

    def keep(context: RetrainContext, *_: object) -> None:
        corpora.append(context.corpus)
        configs.append(context.config)
        raise InterruptedError

    def scaled(config: TrialConfig, before: int, after: int) -> TrialConfig:
        return config.replace(epoch_sentences=after - before)

    with (
        patch("tuning.distill.command.train_seed", keep),
        patch("tuning.distill.command.scale_epoch", scaled),
        pytest.raises(InterruptedError),
    ):
        distil(study, made, unlabelled=str(tmp_path / "more.txt"))
    (corpus,) = corpora
    assert [config.epoch_sentences for config in configs] == [1]
    words = [corpus.words[token] for token in corpus.tokens[corpus.offsets[240] :]]
    assert (len(corpus.offsets), words) == (242, ["<unk>", "great", "page"])
    teacher = load_model(made / "model")
    soft = teacher.calibrate(teacher.log_probabilities([teacher.vocabulary.encode(words)]))
    assert corpus.targets is not None
    assert corpus.targets[240:] == pytest.approx(soft, abs=1e-6)
    sentences = [[corpus.words[token] for token in each] for each in np.split(corpus.tokens, corpus.offsets[1:-1])]
    taught, labels = teacher_probabilities(teacher, sentences[:240], 1), np.eye(2)[corpus.labels[:240]]
    mixed = np.where(corpus.split[:240, None] == TEST, labels, (taught + labels) / 2)
    assert corpus.targets[:240] == pytest.approx(mixed, abs=1e-6)


def test_the_threads_of_the_process_do_not_change_the_teachers_probabilities() -> None:
    """Torch's products of this size depend on them."""
    teacher = predictor(lstm(config=TrialConfig(hidden_dim=64, pooling="attention")))
    sentences = np.random.default_rng(0).choice(["good", "bad", "naïve", "odd"], (20, 20)).tolist()
    found = []
    for process in (1, 2):
        torch.set_num_threads(process)
        found.append(teacher_probabilities(teacher, sentences, threads=1))
        assert torch.get_num_threads() == process
    assert np.array_equal(*found)


def test_added_sentences_have_the_vocabulary_of_the_study() -> None:
    corpus = tiny_corpus()
    corpus = dataclasses.replace(corpus, targets=mixed_targets(corpus, np.full((120, 2), 0.5)))
    sentences, soft = [["w7", "unseen", "w9"], [], ["w2"]], np.array([[0.25, 0.75], [0.5, 0.5], [1, 0]])
    found = add_sentences(corpus, sentences, soft)
    added = [found.tokens[found.offsets[at] : found.offsets[at + 1]].tolist() for at in range(120, 123)]
    assert added == [[7, 1, 9], [1], [2]]
    assert found.labels[120:].tolist() == [1, 0, 0]
    assert found.split[120:].tolist() == [TRAIN] * 3
    assert found.targets is not None
    assert found.targets[120:].tolist() == soft.tolist()
    assert np.array_equal(found.offsets[:121], corpus.offsets)
    assert found.test_fingerprint() == corpus.test_fingerprint()
    other = add_sentences(corpus, sentences, soft[::-1])
    assert len({corpus.fingerprint, found.fingerprint, other.fingerprint}) == 3


def test_an_epoch_is_the_same_part_of_a_longer_pass() -> None:
    third = TrialConfig(epoch_sentences=100)
    assert scale_epoch(third, 300, 1200) == third.replace(epoch_sentences=400)
    assert scale_epoch(third, 300, 301).epoch_sentences == 101
    assert scale_epoch(TrialConfig(), 300, 1200) == TrialConfig()


def test_new_sentences_keep_their_order() -> None:
    assert new_sentences(["b", "a!", "B.", " ", "c", "A"], ["C"]) == ["b", "a!"]


@pytest.mark.slow
def test_without_a_test_split_the_teachers_is_of_no_interest(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.studies.data_of", lambda file: {**data_of(file), "split": "90/10/0"})
    make_study(tmp_path / "s", made / "tickets.csv", made / "cache", setting())
    distil(tmp_path / "s", made, trial="0")
    out = capsys.readouterr().out
    assert "another test split" not in out
    assert "the study has no test split, so there is no test figure" in out


def test_a_link_to_the_teacher_is_the_teacher(study: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made / "model")
    with (
        patch("tuning.distill.command.train_seed", side_effect=InterruptedError),
        pytest.raises(ConfigError, match="--out must be another folder than MODEL, got "),
    ):
        distil(study, made, out=tmp_path / "link")


def test_a_place_that_holds_something_else_is_refused_before_the_training(study: Path, made: Path) -> None:
    (study / "small").mkdir()
    (study / "small" / "thesis.tex").touch()
    with (
        patch("tuning.distill.command.train_seed", side_effect=InterruptedError),
        pytest.raises(UserError, match=r"is no saved model, because it contains 'thesis\.tex'"),
    ):
        distil(study, made)


def test_a_run_is_compared_with_that_of_the_same_settings_and_inputs_wherever_the_teacher_is() -> None:
    def key(hidden_dim: int = 6, **changes: str) -> str:
        context: Any = SimpleNamespace(config=setting(hidden_dim=hidden_dim))
        return _record_key(context, {"teacher": "a", "teacher_digest": "1", "study_fingerprint": "2"} | changes)

    assert key(teacher="b") == key()
    others = key(12), key(teacher_digest="3"), key(study_fingerprint="3"), key(unlabelled_digest="4")
    assert len({key(), *others}) == 5


@pytest.mark.parametrize(("name", "start", "column"), [("more.txt", "", None), ("more.csv", "n,body\n1,", "body")])
def test_unlabelled_sentences_are_read_in_the_given_encoding(
    study: Path, made: Path, tmp_path: Path, name: str, start: str, column: str | None
) -> None:
    (tmp_path / name).write_text(f"{start}naïve\n", encoding="cp437")
    with (
        patch("tuning.distill.command.new_sentences", side_effect=InterruptedError) as asked,
        pytest.raises(InterruptedError),
    ):
        distil(study, made, unlabelled=str(tmp_path / name), text_column=column, encoding="cp437")
    assert asked.call_args.args[0] == ["naïve"]


def test_a_newer_setting_does_not_hide_the_record_of_the_first_run() -> None:
    newer = setting(hidden_dim=6).to_dict()
    older = {name: value for name, value in newer.items() if name != "inexact_lazy_adam"}
    found = [SimpleNamespace(config=SimpleNamespace(to_dict=partial(dict, each))) for each in (newer, older)]
    one, two = (_record_key(context, {}) for context in found)  # type: ignore[arg-type]
    assert one == two


def test_an_unlabelled_sentence_is_split_into_words_once(study: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a great page")
    split: list[str] = []

    def counted(text: str, tokenizer: str) -> list[str]:
        split.append(text)
        return tokenize(text, tokenizer)

    with (
        patch("tuning.distill.command.tokenize", counted),
        patch("core.inference.predictor.tokenize", counted),
        patch("tuning.distill.command.train_seed", side_effect=InterruptedError),
        pytest.raises(InterruptedError),
    ):
        distil(study, made, unlabelled=str(tmp_path / "more.txt"))
    assert split.count("a great page") == 1
