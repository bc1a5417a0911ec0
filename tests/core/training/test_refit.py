"""core.training.refit: train and validation together, for as many steps as train alone took to its best epoch."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.errors import TrainingError
from core.training.loop import train
from core.training.refit import refit
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.trainings import small


def without_validation(corpus: Corpus) -> Corpus:
    return dataclasses.replace(corpus, split=np.where(corpus.split == VAL, TEST, corpus.split).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"lr_schedule": "cosine", "optimizer": "adadelta", "learning_rate": 0.5},
        {"lr_schedule": "plateau", "learning_rate": 0.05},
        {"ema_decay": 0.8, "weight_decay": 0.01, "optimizer": "adamw"},
        {"freeze_embedding": True, "label_smoothing": 0.1, "weight_dropout": 0.3},
        {"epoch_sentences": 30, "lr_schedule": "cosine", "fc_dropout": 0.0, "epochs": 8},
    ],
)
def test_where_validation_adds_nothing_every_bit_is_that_of_the_best_epoch(changes: dict[str, Any]) -> None:
    """So each step, its batch, its masks and its learning rate are those of the training on train alone.

    With `epoch_sentences` the masks differ: those of the other training change with the epoch, not with the pass.
    """
    corpus, config = tiny_corpus(), small(**changes)
    result = train(config, corpus)
    assert refit(config, without_validation(corpus), result.epochs).weights_sha256 == result.weights_sha256


@pytest.mark.slow
def test_it_takes_the_best_epochs_number_of_steps_over_both_splits() -> None:
    corpus, config = tiny_corpus(), small()
    result = train(config, corpus)
    heard: list[tuple[int, float]] = []
    found = refit(config, corpus, result.epochs, report=lambda number, loss: heard.append((number, loss)))
    sizes = {split: len(corpus.indices(split)) for split in (TRAIN, VAL)}
    assert found.steps == result.best_epoch * -(-sizes[TRAIN] // 16)
    assert found.sentences == sizes[TRAIN] + sizes[VAL]
    assert len(found.losses) == -(-found.steps // -(-found.sentences // 16))
    assert heard == list(enumerate(found.losses, 1))
    assert found.weights_sha256 != refit(config, without_validation(corpus), result.epochs).weights_sha256


def test_it_never_sees_the_test_split() -> None:
    corpus, config = tiny_corpus(), small()
    epochs = train(config, corpus).epochs
    other = corpus.labels.copy()
    other[corpus.split == TEST] = 1 - other[corpus.split == TEST]
    changed = refit(config, dataclasses.replace(corpus, labels=other), epochs)
    assert changed.weights_sha256 == refit(config, corpus, epochs).weights_sha256


def test_a_loss_that_is_no_number_ends_it() -> None:
    corpus = tiny_corpus()
    epochs = train(small(), corpus).epochs
    explosive = small(optimizer="adamw", learning_rate=9e15, weight_decay=9e15)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in pass \d+ over train and validation"):
        refit(explosive, corpus, epochs)


def test_threads_and_modes_of_the_caller_have_no_effect() -> None:
    corpus, config, inside = tiny_corpus(), small(epochs=1), list[int]()
    epochs = train(config, corpus).epochs
    expected = refit(config, corpus, epochs).weights_sha256
    torch.set_num_threads(2)
    with torch.no_grad():
        found = refit(config, corpus, epochs, report=lambda *_: inside.append(torch.get_num_threads()), threads=1)
    assert (found.weights_sha256, set(inside), torch.get_num_threads()) == (expected, {1}, 2)


def test_each_step_has_the_learning_rate_after_the_epochs_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last pass over both splits is cut short."""
    heard: list[list[float]] = []

    def multiplier(schedule: str, done: float, losses: list[float]) -> float:
        heard.append(losses)
        return 1.0

    monkeypatch.setattr("core.training.refit.lr_multiplier", multiplier)
    corpus, losses = tiny_corpus(), [0.5, 0.6, 0.4]
    refit(small(), corpus, [epoch(n, n / 10, val_loss=loss) for n, loss in enumerate(losses, 1)])
    an_epoch = small().steps_per_epoch(len(corpus.indices(TRAIN)))
    assert heard == [losses[:n] for n in range(3) for _ in range(an_epoch)]
