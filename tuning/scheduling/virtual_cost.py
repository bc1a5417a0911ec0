"""The virtual cost of an epoch: the relative training time of a configuration. Computed, never measured.

The virtual clock is a function of the study's inputs, so the cost follows from the shapes of the configuration and the
corpus alone. It need not be exact: an error makes real workers wait, and changes no decision that was made. The
constants were fitted once to recorded seconds, by `python -m benchmarks.simulation.fit_cost`; the script prints how far
the cost is from each recorded machine.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.model_size import count_trainable_parameters
from tuning.resources.profiling import EVALUATION_COST
from tuning.scheduling.samplers import random_params
from tuning.space.space import Space

MEDIAN_DRAWS = 101
"""Number of random configurations whose median cost is the unit of virtual time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusShape:
    """Properties of a corpus on which the cost depends."""

    sentences: float
    """Number of sentences that an epoch trains on: the training split, or for each fold the other folds."""
    words: float
    """Number of tokens that an epoch trains on, and EVALUATION_COST times those that it is validated on."""
    vocabulary: int
    embedding_dim: int
    classes: int

    @classmethod
    def of(cls, corpus: Corpus, epoch_sentences: int | None = None) -> "CorpusShape":
        """Return the shape of a corpus; `epoch_sentences` is that of the trials."""
        sentences, train, val = corpus.epoch_size(epoch_sentences)
        return cls(
            sentences=sentences,
            words=train + EVALUATION_COST * val,
            vocabulary=corpus.trained_words,
            embedding_dim=corpus.embedding_dim,
            classes=len(corpus.classes),
        )


WEIGHTS = (2.49e-3, 8.09e-5, 6.26e-5, 1.33e-2, 4.11e-3, 6.32e-2, 1.18e-6)
"""Seconds of one unit of each term of `cost_terms` on one core, fitted by benchmarks.simulation.fit_cost."""


def cost_terms(config: TrialConfig, shape: CorpusShape) -> tuple[float, ...]:
    """Return the terms of an epoch's cost, in the order of WEIGHTS.

    They are the number of batches; millions of multiplications of the LSTM layers; steps in time, one after the other;
    millions of weights that the optimizer updates, without word vectors, and of word vectors that it updates in full;
    millions of state values; and words.
    """
    directions = config.directions
    batches, steps = shape.sentences / config.batch_size, shape.words / config.batch_size
    weights = count_trainable_parameters(
        config.replace(freeze_embedding=True), shape.vocabulary, shape.embedding_dim, shape.classes
    )
    in_full = config.weight_decay > 0 or (config.optimizer in ("adam", "adamw") and not config.inexact_lazy_adam)
    vectors = shape.vocabulary * shape.embedding_dim if in_full and not config.freeze_embedding else 0
    layers = directions * config.n_layers
    return (
        batches,
        shape.words * weights / 1e6,
        steps * layers,
        batches * weights / 1e6,
        batches * vectors / 1e6,
        shape.words * layers * config.hidden_dim / 1e6,
        shape.words,
    )


def epoch_cost(config: TrialConfig, shape: CorpusShape) -> float:
    """Return the cost of an epoch: about its seconds on one core of the machines that the constants were fitted to."""
    # The last bit of `sum` depends on the version of Python, and with it the order of trials that cost the same.
    return math.fsum(weight * term for weight, term in zip(WEIGHTS, cost_terms(config, shape), strict=True))


def virtual_cost(space: Space, shared: Mapping[str, Any], shape: CorpusShape) -> Callable[[TrialConfig], float]:
    """Return the function that gives the virtual cost of an epoch.

    Its unit is an epoch of the median configuration: of MEDIAN_DRAWS random ones.

    Args:
        space: Space of the study.
        shared: Settings that all its trials share.
        shape: Shape of its corpus.
    """
    configs = [space.to_config(params, **shared) for params in random_params(space, 0, MEDIAN_DRAWS)]
    unit = median(epoch_cost(config, shape) for config in configs)
    return lambda config: epoch_cost(config, shape) / unit
