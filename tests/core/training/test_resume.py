"""train() with checkpoints: a training that was interrupted ends as one that was not."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.config import OPTIMIZERS
from core.errors import StopTraining, UserError
from core.training.loop import train
from core.training.result import EpochResult, best_epoch
from tests.support.corpora import tiny_corpus
from tests.support.trainings import Died, assert_bit_identical, dying_after, small


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("adadelta", "bf16"), ("adamw", "bf16"), *((name, "fp32") for name in OPTIMIZERS)],
)
def test_six_epochs_are_three_a_death_and_three_more(optimizer: str, precision: str, tmp_path: Path) -> None:
    corpus = tiny_corpus(pretrained=False, n_sentences=60)
    config = small(
        optimizer=optimizer,
        precision=precision,
        epochs=6,
        n_layers=2,
        embedding_dropout=0.1,
        lstm_dropout=0.2,
        embedding_max_norm=2.0,
    )
    with pytest.raises(Died):
        train(config, corpus, report=dying_after(3), checkpoint_dir=tmp_path)
    torch.rand(5)  # what else happens in the second process
    resumed = train(config, corpus, checkpoint_dir=tmp_path)
    assert_bit_identical(resumed, train(config, corpus))
    assert "before_resume" not in resumed.environment


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pretrained", "changes"),
    [
        (True, {"freeze_embedding": True, "embedding_max_norm": 1.0}),
        (True, {"inexact_lazy_adam": True, "weight_decay": 0.01}),
        (False, {"ema_decay": 0.8, "lr_schedule": "plateau"}),
        (False, {"ema_decay": 0.8, "optimizer": "adadelta", "lr_schedule": "cosine"}),
        (False, {"freeze_embedding": True, "embedding_max_norm": 1.0}),
        (False, {"inexact_lazy_adam": True, "weight_decay": 0.01}),
        (False, {"patience": 2, "learning_rate": 0.05}),
        (False, {"weight_dropout": 0.5, "n_layers": 2, "precision": "bf16"}),
        (False, {"epoch_sentences": 30, "ema_decay": 0.8, "lr_schedule": "cosine"}),
        (False, {"epoch_sentences": 150, "optimizer": "adadelta", "weight_dropout": 0.3}),
    ],
)
def test_a_resume_restores_whatever_a_setting_needs(pretrained: bool, changes: dict[str, Any], tmp_path: Path) -> None:
    corpus = tiny_corpus(pretrained=pretrained)
    config = small(epochs=5, **changes) if "learning_rate" not in changes else small(**{"epochs": 9, **changes})
    with pytest.raises(Died):
        train(config, corpus, report=dying_after(3), checkpoint_dir=tmp_path)
    whole = train(config, corpus)
    resumed = train(config, corpus, checkpoint_dir=tmp_path)
    assert_bit_identical(resumed, whole)
    assert resumed.stopped == whole.stopped


def test_a_finished_training_is_only_read_again(tmp_path: Path) -> None:
    first = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    again = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert again.epochs == first.epochs  # seconds too: nothing was trained
    assert_bit_identical(again, first)


def test_the_checkpoints_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    train(small(epochs=1), tiny_corpus(), checkpoint_dir="~/checkpoints")
    assert (tmp_path / "checkpoints" / "epoch-00001").is_dir()


def test_a_listener_may_stop_at_an_epoch_that_it_hears_again(tmp_path: Path) -> None:
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(2), checkpoint_dir=tmp_path)
    result = train(small(), tiny_corpus(), report=dying_after(2, StopTraining), checkpoint_dir=tmp_path)
    assert result.stopped == "report"
    assert len(result.epochs) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what a process maps")
def test_a_resumed_training_does_not_keep_its_checkpoint_open(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(small(), tiny_corpus(), report=dying_after(2, KeyboardInterrupt), checkpoint_dir=tmp_path)
    kept: list[bool] = []

    def report(_: EpochResult) -> None:
        kept.append(str(tmp_path) in Path("/proc/self/maps").read_text())

    train(small(), tiny_corpus(), report=report, checkpoint_dir=tmp_path, reported=2)
    assert kept == [False] * (small().epochs - 2)  # it resumes from the checkpoint that the interrupt left


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"embedding_max_norm": 1.0}])
def test_a_checkpoint_holds_the_best_weights_only_where_they_are_older(changes: dict[str, Any], tmp_path: Path) -> None:
    config = small(epochs=8, learning_rate=0.05, **changes)
    whole = train(config, tiny_corpus(pretrained=False))
    held = []
    for epoch in range(1, 9):
        with pytest.raises(Died):
            train(config, tiny_corpus(pretrained=False), report=dying_after(epoch), checkpoint_dir=tmp_path)
        names = load_file(tmp_path / f"epoch-{epoch:05d}" / "tensors.safetensors").keys()
        held.append(any(name.startswith("best.") for name in names))
    assert held == [best_epoch(whole.epochs[:epoch]).epoch < epoch for epoch in range(1, 9)]
    assert set(held) == {True, False}
    assert_bit_identical(train(config, tiny_corpus(pretrained=False), checkpoint_dir=tmp_path), whole)


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    train(small(epochs=1), tiny_corpus(), checkpoint_dir=tmp_path)
    with pytest.raises(UserError, match=r"belongs to another training \(hidden_dim 5, now 6\); remove this folder"):
        train(small(epochs=1, hidden_dim=6), tiny_corpus(), checkpoint_dir=tmp_path)
    other = dataclasses.replace(tiny_corpus(), fingerprint="1" * 64)
    with pytest.raises(UserError, match=r"\(corpus 0{64}, now 1{64}\)"):
        train(small(epochs=1), other, checkpoint_dir=tmp_path)
    wider = dataclasses.replace(tiny_corpus(pretrained=False), fingerprint=tiny_corpus().fingerprint, embedding_dim=77)
    with pytest.raises(UserError, match=r"\(embedding_dim \d+, now 77\)"):
        train(small(epochs=1), wider, checkpoint_dir=tmp_path)


def test_epochs_whose_reports_are_kept_are_not_reported_again(tmp_path: Path) -> None:
    config, corpus = small(epochs=4), tiny_corpus()
    with pytest.raises(Died):
        train(config, corpus, report=dying_after(3), checkpoint_dir=tmp_path)
    seen: list[int] = []
    resumed = train(config, corpus, report=lambda e: seen.append(e.epoch), checkpoint_dir=tmp_path, reported=2)
    assert seen == [3, 4]
    assert_bit_identical(resumed, train(config, corpus))


def test_a_resume_elsewhere_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(2), checkpoint_dir=tmp_path)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    resumed = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert resumed.environment["cpu_capability"] == "another"
    assert resumed.environment["before_resume"]["cpu_capability"] != "another"
    again = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert again.environment == resumed.environment  # nothing has changed since
