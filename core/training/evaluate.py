"""Loss, accuracy and predictions on one split, without gradients, in large batches of similar lengths."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import SPLIT_NAMES, Corpus
from core.errors import DataError
from core.log_odds import LogOdds, round_log_odds, to_probabilities
from core.metrics import METRICS, Metric
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast, check_device, default_modes, deterministic_kernels, torch_threads
from core.training.batching import CpuBatchSource, GpuBatchSource, batch_source, length_sorted_batches

TOKENS_AT_ONCE = 4096
"""Tokens in one batch of evaluation, padding included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A model's results on the n sentences of a split, in the order of `corpus.indices(split)`."""

    loss: float
    """Mean cross-entropy, without label smoothing."""
    loss_standard_error: float
    """Standard error of that mean, from the losses of the single sentences."""
    accuracy: float
    """Correct / total."""
    score: float
    """The configuration's metric; larger is better, so log_loss is negated. NaN if it is undefined on these labels."""
    predictions: NDArray[np.int64]
    """(n,) the most probable class; the first one in a tie."""
    log_odds: LogOdds
    """(n, C - 1) of the classes, see core.log_odds."""

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(n, C), as rounded in `log_odds`."""
        return to_probabilities(self.log_odds)


def evaluate(
    config: TrialConfig,
    weights: Mapping[str, Tensor],
    corpus: Corpus,
    split: int,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Evaluation:
    """Evaluate trained weights on one split of a corpus.

    Args:
        config: The settings that the weights were trained with.
        weights: `TrainResult.weights`.
        corpus: A corpus with the vocabulary that the weights were trained with.
        split: TRAIN, VAL or TEST of core.data.corpus.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        DataError: The split is empty.
        ConfigError: This machine has no such device.
    """
    check_device(device)
    with torch_threads(threads), default_modes(device), deterministic_kernels(device):
        logits = split_logits(config, weights, batch_source(corpus, device), split, device)
        return evaluate_logits(logits, corpus.labels[corpus.indices(split)], METRICS[config.metric])


@torch.no_grad()
def split_logits(
    config: TrialConfig,
    weights: Mapping[str, Tensor],
    source: CpuBatchSource | GpuBatchSource,
    split: int,
    device: str,
) -> Tensor:
    """Return float (n, C), on the device: the outputs for the n sentences of a split, in their order."""
    corpus = source.corpus
    sentences = corpus.indices(split)
    if not len(sentences):
        raise DataError(f"the corpus has no {SPLIT_NAMES[split]} sentences; choose another split rule")
    model = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes))
    model.load_state_dict(weights, assign=True)
    model.to(device)
    batches = list(length_sorted_batches(corpus.lengths()[sentences], TOKENS_AT_ONCE))
    scored = []
    for places in batches:
        batch = source.batch(sentences[places])
        vectors = model.embedding.weight.index_select(0, batch.rows)
        with autocast(config.precision, device):
            scored.append(model.forward_batch(vectors, batch.tokens, batch.lengths).float())
    back = np.argsort(np.concatenate(batches))  # to the order of the sentences
    return torch.cat(scored)[torch.from_numpy(back).to(device)]


def evaluate_logits(logits: Tensor, labels: NDArray[np.int64], metric: Metric) -> Evaluation:
    """Evaluate outputs (n, C) against the labels (n,)."""
    expected = torch.from_numpy(labels).to(logits.device)
    predictions = logits.argmax(dim=1)
    classes, log_odds = predictions.cpu().numpy(), round_log_odds(logits.cpu().numpy())
    probabilities = to_probabilities(log_odds)
    each = F.cross_entropy(logits.double(), expected, reduction="none")  # (n,)
    return Evaluation(
        loss=F.cross_entropy(logits.double(), expected).item(),
        loss_standard_error=(each.std(correction=0) / len(labels) ** 0.5).item(),
        accuracy=int((predictions == expected).sum()) / len(labels),
        score=metric.oriented(metric.value(labels, classes, probabilities, logits.shape[1])),
        predictions=classes,
        log_odds=log_odds,
    )
