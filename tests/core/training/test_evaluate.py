"""evaluate(): the results of one split, in its order, for any batches."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.config import POOLINGS, TrialConfig
from core.data.corpus import TEST, TRAIN, VAL
from core.errors import DataError
from core.nn.classifier import SentenceClassifier
from core.nn.seeding import seeded_generator
from core.training import evaluate as module
from core.training.evaluate import evaluate
from tests.support.corpora import tiny_corpus


def trained(config: TrialConfig, dim: int = 8, n_classes: int = 3) -> dict[str, torch.Tensor]:
    model = SentenceClassifier(config, 40, dim, n_classes)
    model.initialize(seeded_generator(0, "weights"))
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_figures_are_those_of_the_plain_forward_pass(pooling: str, bidirectional: bool) -> None:
    corpus = tiny_corpus(n_classes=3)
    config = TrialConfig(hidden_dim=6, n_layers=2, pooling=pooling, bidirectional=bidirectional)
    weights = trained(config)
    judged = evaluate(config, weights, corpus, VAL)
    model = SentenceClassifier(config, 40, 8, 3)
    model.load_state_dict(weights, assign=True)
    sentences = corpus.indices(VAL)
    logits = []
    for sentence in sentences:  # one by one, so nothing is padded
        words = corpus.tokens[corpus.offsets[sentence] : corpus.offsets[sentence + 1]].astype(np.int64)
        logits.append(model(torch.from_numpy(words)[None], torch.tensor([len(words)])).detach())
    expected, labels = torch.cat(logits), torch.from_numpy(corpus.labels[sentences])
    assert np.allclose(judged.probabilities, expected.softmax(dim=1).numpy(), rtol=1e-3)  # rounded (core.log_odds)
    assert judged.predictions.tolist() == expected.argmax(dim=1).tolist()
    assert judged.loss == pytest.approx(F.cross_entropy(expected, labels).item(), abs=1e-6)
    assert judged.accuracy == (expected.argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize("tokens_at_once", [1, 50, 10**6])
def test_figures_hardly_depend_on_the_batches(tokens_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus(n_classes=3)
    config = TrialConfig(hidden_dim=6)
    before = evaluate(config, trained(config), corpus, TRAIN)
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", tokens_at_once)
    after = evaluate(config, trained(config), corpus, TRAIN)
    assert np.abs(before.log_odds - after.log_odds).max() <= 1
    assert np.array_equal(before.predictions, after.predictions)


def test_shapes_types_and_order() -> None:
    corpus = tiny_corpus(n_classes=3)
    config = TrialConfig(hidden_dim=6)
    judged = evaluate(config, trained(config), corpus, TEST)
    n = len(corpus.indices(TEST))
    assert (judged.predictions.shape, judged.predictions.dtype) == ((n,), np.dtype(np.int64))
    assert (judged.probabilities.shape, judged.probabilities.dtype) == ((n, 3), np.dtype(np.float32))
    assert np.allclose(judged.probabilities.sum(axis=1), 1, atol=1e-6)
    chosen = judged.probabilities[np.arange(n), judged.predictions]
    assert (chosen >= judged.probabilities.max(axis=1) * 0.999).all()  # rounding may make a tie of them


def test_dropout_plays_no_part() -> None:
    corpus = tiny_corpus(n_classes=3)
    settings: dict[str, Any] = {"hidden_dim": 6, "n_layers": 2}
    plain = TrialConfig(**settings, fc_dropout=0.0)
    dropping = TrialConfig(**settings, fc_dropout=0.9, embedding_dropout=0.5, lstm_dropout=0.5, weight_dropout=0.5)
    one, other = (evaluate(config, trained(plain), corpus, VAL) for config in (plain, dropping))
    assert np.array_equal(one.probabilities, other.probabilities)


def test_the_threads_are_given_back() -> None:
    torch.set_num_threads(2)
    evaluate(TrialConfig(hidden_dim=6), trained(TrialConfig(hidden_dim=6)), tiny_corpus(n_classes=3), VAL, threads=1)
    assert torch.get_num_threads() == 2


def test_an_empty_split_is_refused() -> None:
    corpus = tiny_corpus(n_classes=3)
    without = dataclasses.replace(corpus, split=np.zeros_like(corpus.split))
    with pytest.raises(DataError, match="the corpus has no test sentences; choose another split rule"):
        evaluate(TrialConfig(hidden_dim=6), trained(TrialConfig(hidden_dim=6)), without, TEST)
