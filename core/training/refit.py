"""Training on train and validation together, step for step as long as a training on train alone took to its best epoch.

Nothing is left to judge an epoch by, so how long is taken from that training: the same number of optimizer steps, each
with the learning rate that the step of that number had there. Only the last pass over the data is cut short.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import TrainingError
from core.nn.environment import runtime_environment
from core.nn.runtime import deterministic_kernels, retain_freed_memory, torch_threads
from core.nn.seeding import Dropout, seeded_generator
from core.training.batching import batch_source, shuffled_batches
from core.training.learner import Learner, make_learner
from core.training.optim import lr_multiplier
from core.training.result import EpochResult, best_epoch, weights_digest


@dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """A training on both splits."""

    weights: dict[str, Tensor]
    """After the last step, by the model's names: on the CPU, contiguous."""
    weights_sha256: str
    steps: int
    """Optimizer steps; as many as the other training took to its best epoch."""
    sentences: int
    """Of both splits."""
    losses: tuple[float, ...]
    """Mean training loss a sentence of each pass over the data; the last pass may be a part of one."""
    environment: dict[str, Any]
    """As in core.training.result.TrainResult."""


def refit(
    config: TrialConfig,
    corpus: Corpus,
    epochs: Sequence[EpochResult],
    *,
    report: Callable[[int, float], None],
    threads: int = 1,
    device: str = "cpu",
) -> Refit:
    """Train on train and validation together.

    Args:
        config: of the training on train alone.
        corpus: the same; the vocabulary stays that of its train split.
        epochs: what that training brought.
        report: told each pass, from 1, and its mean training loss.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    both = dataclasses.replace(corpus, split=np.where(corpus.split == VAL, TRAIN, corpus.split).astype(np.uint8))
    steps_an_epoch = math.ceil(len(corpus.indices(TRAIN)) / config.batch_size)
    steps = best_epoch(epochs).epoch * steps_an_epoch
    val_losses = [epoch.val_loss for epoch in epochs]

    def rate(step: int) -> float:
        done = step / (steps_an_epoch * config.epochs)
        return config.learning_rate * lr_multiplier(config.lr_schedule, done, val_losses[: step // steps_an_epoch])

    with torch_threads(threads), retain_freed_memory(), deterministic_kernels(device):
        learner = make_learner(config, both, device)
        losses = _learn(learner, config, both, steps, rate, report, device)
        found = learner.evaluation_weights()
        weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}
        return Refit(
            weights=weights,
            weights_sha256=weights_digest(weights),
            steps=steps,
            sentences=len(both.indices(TRAIN)),
            losses=losses,
            environment=runtime_environment(config.precision, threads, device),
        )


def _learn(
    learner: Learner,
    config: TrialConfig,
    corpus: Corpus,
    steps: int,
    rate: Callable[[int], float],
    report: Callable[[int, float], None],
    device: str,
) -> tuple[float, ...]:
    """Take the steps; return each pass's mean loss."""
    sentences, source = corpus.indices(TRAIN), batch_source(corpus, device)
    lengths = corpus.lengths()[sentences]
    means: list[float] = []
    done = 0
    while done < steps:
        number = len(means) + 1
        dropout = Dropout(seeded_generator(config.seed, "dropout", number, device))
        batches = shuffled_batches(lengths, config.batch_size, seeded_generator(config.seed, "order", number))[
            : steps - done
        ]
        losses = [
            learner.step(source.batch(sentences[places]), rate(done + at), dropout) for at, places in enumerate(batches)
        ]
        sizes = torch.tensor([len(places) for places in batches], dtype=torch.float64)
        mean = float(torch.stack(losses).cpu().double() @ sizes / sizes.sum())
        if not math.isfinite(mean):
            raise TrainingError(f"the loss is {mean} in pass {number} over train and validation")
        means.append(mean)
        done += len(batches)
        report(number, mean)
    return tuple(means)
