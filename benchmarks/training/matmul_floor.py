"""Compute the least time that an epoch's matrix products can take on this core."""

import time

import numpy as np
import torch

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.training.batching import make_batch, shuffled_batches


def flops(config: TrialConfig, corpus: Corpus) -> float:
    """Return the floating-point operations of an epoch's matrix products.

    Training counts the forward pass and the backward pass (twice the forward), validation the forward pass. The first
    layer's input projection counts once for each distinct word of a batch.
    """
    sentences = corpus.indices(TRAIN)
    lengths = corpus.lengths()
    batches = [
        make_batch(corpus, sentences[places])
        for places in shuffled_batches(lengths[sentences], config.batch_size, torch.Generator().manual_seed(0))
    ]
    distinct = sum(len(batch.rows) for batch in batches)
    trained = float(lengths[sentences].sum())
    evaluated = float(lengths[corpus.indices(VAL)].sum())
    directions = 2 if config.bidirectional else 1
    hidden = config.hidden_dim
    gate = 8.0 * hidden * directions  # four gates, multiply and add
    recurrent = gate * hidden * config.n_layers + gate * hidden * directions * (config.n_layers - 1)
    first = gate * corpus.embedding_dim
    passes = 2 if config.freeze_embedding else 3  # a frozen table needs no gradient
    return recurrent * (3 * trained + evaluated) + first * (passes * distinct + evaluated)


def peak(dtype: torch.dtype) -> float:
    """Return the GFLOP/s of a large square matrix product on one thread."""
    size = 1024
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / np.median(seconds[5:]) / 1e9)
