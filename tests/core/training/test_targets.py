"""Training on probabilities instead of labels: `Corpus.targets`."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from core.config import TrialConfig
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.training.loop import train
from core.training.refit import refit
from tests.support.corpora import in_folds, tiny_corpus

CONFIG = TrialConfig(hidden_dim=4, epochs=3, batch_size=16, learning_rate=1e-2)


def one_hot(corpus: Corpus) -> NDArray[np.float32]:
    return np.eye(len(corpus.classes), dtype=np.float32)[corpus.labels]


def with_targets(corpus: Corpus, *splits: int, folds: int | None = None) -> Corpus:
    """Return the corpus with uniform targets for the sentences of these splits or of a fold, else labels."""
    targets = one_hot(corpus)
    soft = np.isin(corpus.split, splits) if folds is None else corpus.folds == folds
    targets[soft] = 1 / len(corpus.classes)
    return dataclasses.replace(corpus, targets=targets)


@pytest.mark.slow
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_one_hot_targets_train_as_the_labels_do(class_weight: str | None) -> None:
    corpus = tiny_corpus(n_classes=3)
    config = CONFIG.replace(class_weight=class_weight, label_smoothing=0.1)
    labels, targets = (train(config, each) for each in (corpus, with_targets(corpus)))
    losses = [epoch.train_loss for epoch in labels.epochs]
    assert [epoch.train_loss for epoch in targets.epochs] == pytest.approx(losses, rel=1e-5)
    assert np.array_equal(targets.val_predictions, labels.val_predictions)


def test_targets_of_validation_and_test_change_nothing() -> None:
    corpus = tiny_corpus()
    plain, other = (train(CONFIG, with_targets(corpus, *splits)) for splits in ((), (VAL, TEST)))
    assert other.weights_sha256 == plain.weights_sha256
    assert [epoch.val_loss for epoch in other.epochs] == [epoch.val_loss for epoch in plain.epochs]


def test_a_model_learns_the_targets_and_not_the_labels() -> None:
    """All targets say class 1, so the labels of class 0 are predicted wrongly."""
    corpus = tiny_corpus()
    targets = np.tile(np.float32([0.1, 0.9]), (len(corpus.labels), 1))
    result = train(CONFIG.replace(epochs=6), dataclasses.replace(corpus, targets=targets))
    assert set(result.val_predictions.tolist()) == {1}
    assert result.best_val_accuracy == (corpus.labels[corpus.indices(VAL)] == 1).mean()


@pytest.mark.slow
def test_a_fold_is_validated_with_labels_while_the_other_learners_train_on_its_targets() -> None:
    corpus = in_folds(tiny_corpus(), 3)
    soft = with_targets(corpus, folds=0)
    plain = with_targets(corpus)
    results = [[train(CONFIG, member) for member in each.fold_corpora()] for each in (soft, plain)]
    equal = [one.weights_sha256 == other.weights_sha256 for one, other in zip(*results, strict=True)]
    assert equal == [True, False, False]
    whole = train(CONFIG, soft)
    assert not np.array_equal(whole.val_log_odds, train(CONFIG, plain).val_log_odds)
    right = whole.val_predictions == corpus.labels[corpus.validation()]
    assert whole.best_val_accuracy == right.mean()


def test_a_refit_trains_on_the_targets_of_both_splits() -> None:
    corpus = tiny_corpus()
    epochs = train(CONFIG, corpus).epochs
    digests = [
        refit(CONFIG, with_targets(corpus, *splits), epochs).weights_sha256
        for splits in ((), (TEST,), (VAL,), (TRAIN,))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
