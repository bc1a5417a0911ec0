"""tuning.scheduling.virtual_cost: the cost of an epoch depends only on shapes."""

import math
from dataclasses import replace
from statistics import median
from typing import Any

import pytest

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL
from tests.support.corpora import tiny_corpus
from tests.support.study_configs import plan
from tuning.scheduling.samplers import random_params
from tuning.scheduling.virtual_cost import (
    EVALUATION_COST,
    MEDIAN_DRAWS,
    WEIGHTS,
    CorpusShape,
    cost_terms,
    epoch_cost,
    virtual_cost,
)
from tuning.space.load import load_space

SHAPE = CorpusShape(sentences=9000, words=190_000.0, vocabulary=18_000, embedding_dim=300, classes=2)


def config(**changes: Any) -> TrialConfig:
    settings: dict[str, Any] = {
        "n_layers": 1,
        "hidden_dim": 64,
        "batch_size": 50,
        "freeze_embedding": True,
        "bidirectional": False,
    }
    return TrialConfig(**(settings | changes))


@pytest.mark.parametrize("changes", [{"n_layers": 2}, {"hidden_dim": 65}, {"batch_size": 49}, {"bidirectional": True}])
def test_more_layers_states_batches_or_directions_cost_more(changes: dict[str, Any]) -> None:
    assert epoch_cost(config(**changes), SHAPE) > epoch_cost(config(), SHAPE)


@pytest.mark.parametrize("name", ["sentences", "words", "embedding_dim"])
def test_a_larger_corpus_costs_more(name: str) -> None:
    assert epoch_cost(config(), replace(SHAPE, **{name: 2 * getattr(SHAPE, name)})) > epoch_cost(config(), SHAPE)


@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 0.5}, {"fc_dropout": 0.1}, {"embedding_dropout": 0.4}, {"seed": 3}, {"weight_dropout": 0.3}],
)
def test_settings_without_a_shape_cost_nothing(changes: dict[str, Any]) -> None:
    assert epoch_cost(config(**changes), SHAPE) == epoch_cost(config(), SHAPE)


@pytest.mark.parametrize(
    ("changes", "in_full"),
    [
        ({"optimizer": "adam", "freeze_embedding": False}, True),
        ({"optimizer": "adadelta", "freeze_embedding": False, "weight_decay": 0.1}, True),
        ({"optimizer": "adadelta", "freeze_embedding": False}, False),
        ({"optimizer": "adam", "freeze_embedding": False, "inexact_lazy_adam": True}, False),
        ({"optimizer": "adam", "freeze_embedding": True}, False),
    ],
)
def test_word_vectors_that_the_optimizer_updates_in_full_cost_more(changes: dict[str, Any], in_full: bool) -> None:
    """A batch updates all of them, 5.4 million weights; without that the vocabulary has no cost."""
    vectors = cost_terms(config(**changes), SHAPE)[4]
    assert vectors == pytest.approx(9000 / 50 * 5.4 if in_full else 0.0)


def test_the_cost_is_the_weighted_sum_of_the_terms() -> None:
    """Rounded once: the last bit of `sum` is another one from Python 3.12 on."""
    terms = cost_terms(config(hidden_dim=10, bidirectional=True, n_layers=2), SHAPE)
    assert (terms[0], terms[2]) == (180.0, pytest.approx(190_000 / 50 * 4))
    assert (terms[5], terms[6]) == (pytest.approx(190_000 * 4 * 10 / 1e6), 190_000.0)
    for hidden_dim in range(60, 80):
        each = config(hidden_dim=hidden_dim)
        products = [weight * term for weight, term in zip(WEIGHTS, cost_terms(each, SHAPE), strict=True)]
        assert epoch_cost(each, SHAPE) == math.fsum(products)


@pytest.mark.slow
@pytest.mark.parametrize("space", ["quick", "default", "notebook"])
def test_the_median_configuration_has_the_cost_1(space: str) -> None:
    the_plan = plan(space=load_space(space))
    cost = virtual_cost(the_plan.space, the_plan.shared_settings, SHAPE)

    def costs(seed: int, count: int) -> list[float]:
        draws = random_params(the_plan.space, seed, count)
        return [cost(the_plan.space.to_config(params, **the_plan.shared_settings)) for params in draws]

    assert median(costs(0, MEDIAN_DRAWS)) == pytest.approx(1.0)
    assert 0.7 < median(costs(1, 200)) < 1.4


def test_costs_of_one_study_have_the_ratio_of_their_epochs() -> None:
    the_plan = plan()
    cost = virtual_cost(the_plan.space, the_plan.shared_settings, SHAPE)
    one, other = config(), config(hidden_dim=128, n_layers=2)
    assert cost(other) / cost(one) == pytest.approx(epoch_cost(other, SHAPE) / epoch_cost(one, SHAPE))


def test_an_epoch_of_half_the_sentences_trains_on_half_of_them_and_evaluates_all() -> None:
    corpus = tiny_corpus(n_words=12, dim=3)
    whole, half = CorpusShape.of(corpus), CorpusShape.of(corpus, len(corpus.indices(TRAIN)) // 2)
    assert CorpusShape.of(corpus, len(corpus.indices(TRAIN))) == whole
    assert half.sentences == len(corpus.indices(TRAIN)) // 2
    trained = whole.words - EVALUATION_COST * corpus.lengths()[corpus.indices(VAL)].sum()
    assert whole.words - half.words == pytest.approx(trained * (1 - half.sentences / whole.sentences))


def test_the_shape_of_a_corpus_counts_what_is_trained_and_what_is_evaluated() -> None:
    corpus = tiny_corpus(n_words=12, dim=3)
    shape = CorpusShape.of(corpus)
    words = {split: corpus.lengths()[corpus.indices(split)].sum() for split in (TRAIN, VAL)}
    assert shape.words == pytest.approx(words[TRAIN] + EVALUATION_COST * words[VAL])
    assert (shape.sentences, shape.embedding_dim) == (len(corpus.indices(TRAIN)), 3)
    assert (shape.vocabulary, shape.classes) == (len(corpus.words), len(corpus.classes))
    assert CorpusShape.of(replace(corpus, frozen_words=5)).vocabulary == len(corpus.words) - 5
