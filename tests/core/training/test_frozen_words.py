"""Words that only the file of word vectors has: models know them, and no training changes them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.config import OPTIMIZERS
from core.data.corpus import VAL, Corpus
from core.errors import StopTraining
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.refit import refit
from core.training.result import EpochResult
from tests.support.corpora import tiny_corpus
from tests.support.trainings import small

MORE = 3
WORDS = "embedding.weight"
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"optimizer": name, "weight_decay": 0.01} for name in OPTIMIZERS),
    {"optimizer": "rmsprop"},
    {"optimizer": "adam", "ema_decay": 0.9},
    {"optimizer": "adam", "freeze_embedding": True},
    {"optimizer": "adam", "inexact_lazy_adam": True, "ema_decay": 0.9},
)


def corpora() -> tuple[Corpus, Corpus]:
    """A corpus with vectors, and the same with more words, each in one validation sentence."""
    plain = tiny_corpus()
    drawn = np.random.default_rng(0).normal(size=(len(plain.words) + MORE, plain.embedding_dim)).astype(np.float32)
    drawn[0] = 0
    plain = dataclasses.replace(plain, vectors=drawn[:-MORE])
    tokens = plain.tokens.copy()
    tokens[plain.offsets[plain.indices(VAL)[:MORE]]] = len(plain.words) + np.arange(MORE)
    more = dataclasses.replace(
        plain,
        tokens=tokens,
        words=(*plain.words, *(f"more {n}" for n in range(MORE))),
        vectors=drawn,
        frozen_words=MORE,
        fingerprint="with more words",
    )
    return plain, more


@pytest.mark.slow
@pytest.mark.parametrize("changes", SETTINGS)
def test_training_is_the_same_and_their_vectors_stay(changes: dict[str, Any]) -> None:
    plain, more = corpora()
    config = small(**changes, epochs=1)  # of several, validation chooses the best, and it reads them
    one, other = (train(config, corpus) for corpus in (plain, more))

    assert torch.equal(other.weights[WORDS][-MORE:], torch.from_numpy(more.vectors)[-MORE:])
    assert torch.equal(other.weights[WORDS][:-MORE], one.weights[WORDS])
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights if name != WORDS)
    assert one.n_parameters == other.n_parameters
    assert one.best_val_loss != other.best_val_loss


@pytest.mark.slow
@pytest.mark.parametrize("changes", SETTINGS)
def test_frozen_words_may_be_in_the_sentences_that_a_refit_adds(changes: dict[str, Any]) -> None:
    _, more = corpora()
    config = small(**changes)
    result = train(config, more)
    again = refit(config, more, result.epochs)

    assert torch.equal(again.weights[WORDS][-MORE:], torch.from_numpy(more.vectors)[-MORE:])
    moved = again.weights[WORDS][2:-MORE] != torch.from_numpy(more.vectors)[2:-MORE]
    assert moved.any() != config.freeze_embedding
    evaluate(config, again.weights, more, VAL)


@pytest.mark.slow
@pytest.mark.parametrize("changes", SETTINGS[-3:])
def test_a_resumed_training_knows_them(changes: dict[str, Any], tmp_path: Path) -> None:
    _, more = corpora()
    config = small(**changes, epochs=6, learning_rate=0.2)
    whole = train(config, more)
    for stop in (1, 5):

        def end(epoch: EpochResult, stop: int = stop) -> None:
            if epoch.epoch == stop:
                raise StopTraining

        folder = tmp_path / str(stop)
        train(config, more, report=end, checkpoint_dir=folder)
        assert train(config, more, checkpoint_dir=folder).weights_sha256 == whole.weights_sha256
    assert whole.best_epoch < 5  # else no checkpoint holds older best weights


def test_a_checkpoint_does_not_hold_them(tmp_path: Path) -> None:
    sizes = []
    for name, corpus in zip(("plain", "more"), corpora(), strict=True):
        train(small(epochs=1, optimizer="adam"), corpus, checkpoint_dir=tmp_path / name)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors")))
    assert sizes[0] == sizes[1] > 0
