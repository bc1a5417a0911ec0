"""Training that is validated in folds: one learner for each fold, and one result for all of them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config import TrialConfig
from core.data.corpus import TEST, TRAIN, VAL
from core.errors import StopTraining
from core.training.loop import train
from core.training.refit import refit
from tests.support.corpora import in_folds, tiny_corpus
from tests.support.trainings import assert_bit_identical, dying_after

CONFIG = TrialConfig(hidden_dim=5, epochs=4, learning_rate=1e-2, batch_size=16)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"weight_dropout": 0.3}, {"freeze_embedding": False, "ema_decay": 0.9}])
def test_each_fold_is_predicted_by_the_model_of_the_other_folds(changes: dict[str, Any]) -> None:
    corpus, config = in_folds(tiny_corpus(n_classes=3), 3), CONFIG.replace(**changes, epochs=1)
    whole = train(config, corpus)
    losses, sizes = [], []
    for fold, member in enumerate(corpus.fold_corpora()):
        alone = train(config, member)
        here = corpus.folds[corpus.validation()] == fold  # type: ignore[index]
        assert np.array_equal(whole.val_predictions[here], alone.val_predictions)
        losses.append((alone.best_val_loss, alone.epochs[0].train_loss))
        sizes.append((len(member.indices(VAL)), len(member.indices(TRAIN))))
    means = np.average(losses, axis=0, weights=np.array(sizes, dtype=float))
    assert (whole.best_val_loss, whole.epochs[0].train_loss) == pytest.approx(means.tolist(), rel=1e-12)
    right = whole.val_predictions == corpus.labels[corpus.validation()]
    assert whole.best_val_accuracy == right.mean()


def test_members_share_the_data_and_validate_each_sentence_once() -> None:
    corpus = in_folds(tiny_corpus(), 3)
    members = corpus.fold_corpora()
    assert len(members) == 3
    assert sorted(np.concatenate([member.indices(VAL) for member in members])) == corpus.validation().tolist()
    for member in members:
        assert member.tokens is corpus.tokens
        assert np.array_equal(member.indices(TEST), corpus.indices(TEST))
        assert len(member.indices(TRAIN)) + len(member.indices(VAL)) == len(corpus.indices(TRAIN))


def test_without_folds_a_corpus_is_its_only_member() -> None:
    corpus = tiny_corpus()
    assert corpus.fold_corpora() == [corpus]
    assert np.array_equal(corpus.validation(), corpus.indices(VAL))


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "epoch_sentences"), [(3, None), (1, 25), (3, 100)])
def test_a_resumed_training_has_the_same_results(tmp_path: Path, stop: int, epoch_sentences: int | None) -> None:
    corpus = in_folds(tiny_corpus(), 3)
    config = CONFIG.replace(freeze_embedding=False, weight_dropout=0.3, epoch_sentences=epoch_sentences)

    straight = train(config, corpus)
    train(config, corpus, report=dying_after(stop, StopTraining), checkpoint_dir=tmp_path)
    assert_bit_identical(train(config, corpus, checkpoint_dir=tmp_path), straight)


@pytest.mark.slow
@pytest.mark.parametrize("epoch_sentences", [None, 25, 100])
def test_the_model_is_trained_on_all_folds_for_the_steps_of_one_of_them(epoch_sentences: int | None) -> None:
    corpus, config = in_folds(tiny_corpus(), 3), CONFIG.replace(epoch_sentences=epoch_sentences)
    result = train(config, corpus)
    again = refit(config, corpus, result.epochs)
    in_a_fold = len(corpus.fold_corpora()[0].indices(TRAIN))
    passes = 1.0 if epoch_sentences is None else epoch_sentences / in_a_fold
    steps = math.ceil(-(-in_a_fold // CONFIG.batch_size) * passes)
    assert again.steps == result.best_epoch * steps
    assert again.sentences == len(corpus.indices(TRAIN))
    assert all("fold" not in name for name in again.weights)
