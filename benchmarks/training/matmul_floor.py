"""Compute the least time that an epoch's matrix products can take on this core."""

import time

import numpy as np
import torch

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.training.batching import make_batch, shuffled_batches


def flops(config: TrialConfig, corpus: Corpus) -> float:
    """Floating-point operations of an epoch's matrix products: forward and backward (twice the forward) on train,
    forward on validation; the first layer's input projection counted once for each distinct word of a batch."""
    sentences = corpus.indices(TRAIN)
    lengths = corpus.lengths()
    batches = [
        make_batch(corpus, sentences[places])
        for places in shuffled_batches(lengths[sentences], config.batch_size, torch.Generator().manual_seed(0))
    ]
    distinct = sum(len(batch.rows) for batch in batches)
    trained = float(lengths[sentences].sum())
    judged = float(lengths[corpus.indices(VAL)].sum())
    directions = 2 if config.bidirectional else 1
    hidden = config.hidden_dim
    gate = 8.0 * hidden * directions  # four gates, multiply and add
    recurrent = gate * hidden * config.n_layers + gate * hidden * directions * (config.n_layers - 1)
    first = gate * corpus.embedding_dim
    # A frozen table needs no gradient of its own: two products instead of three.
    return recurrent * (3 * trained + judged) + first * ((2 if config.freeze_embedding else 3) * distinct + judged)


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a large square matrix product on one thread."""
    size = 1024
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / np.median(seconds[5:]) / 1e9)
