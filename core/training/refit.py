"""Refit: train on the train and validation splits together, for as many steps as the training on train alone.

No split is left to choose an epoch with. The number of optimizer steps is therefore that of the other training up to
its best epoch, each step with the same learning rate as there. Only the last pass may be cut short. That is
the same for every `epoch_sentences`: an epoch only determines after which step the other training was evaluated.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.nn.environment import runtime_environment
from core.nn.runtime import default_modes, deterministic_kernels, torch_threads, training_memory
from core.training.batching import batch_source
from core.training.learner import make_learner, train_epoch
from core.training.optim import lr_multiplier
from core.training.result import EpochResult, best_epoch, weights_digest

TITLE = "pass {} over train and validation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """The result of a training on both splits."""

    weights: dict[str, Tensor]
    """Weights after the last step, by the model's names: on the CPU, contiguous."""
    weights_sha256: str
    steps: int
    """Number of optimizer steps: as many as the other training took up to its best epoch."""
    sentences: int
    """Number of sentences of both splits."""
    losses: tuple[float, ...]
    """Mean training loss per sentence in each pass over the data; the last pass may be cut short."""
    environment: dict[str, Any]
    """As in core.training.result.TrainResult."""


def refit(
    config: TrialConfig,
    corpus: Corpus,
    epochs: Sequence[EpochResult],
    *,
    report: Callable[[int, float], None] = lambda number, loss: None,
    threads: int = 1,
    device: str = "cpu",
) -> Refit:
    """Train on train and validation together.

    Args:
        config: Settings of the training on train alone.
        corpus: Corpus of that training; the vocabulary remains that of the train split.
        epochs: Results of that training.
        report: Called after each pass with its number, from 1, and its mean training loss.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        TrainingError: The loss is not a finite number.
    """
    split = np.where(corpus.split == VAL, TRAIN, corpus.split).astype(np.uint8)
    both = dataclasses.replace(corpus, split=split, folds=None)
    steps_an_epoch = config.steps_per_epoch(corpus.pass_sentences())
    steps = best_epoch(epochs).epoch * steps_an_epoch
    val_losses = [epoch.val_loss for epoch in epochs]

    def lr(_: int) -> float:
        step = learner.optimizer.step_count
        done = step / (steps_an_epoch * config.epochs)
        return config.learning_rate * lr_multiplier(config.lr_schedule, done, val_losses[: step // steps_an_epoch])

    losses: list[float] = []
    with torch_threads(threads), training_memory(), default_modes(device), deterministic_kernels(device):
        learner, source = make_learner(config.replace(epoch_sentences=None), both, device), batch_source(both, device)
        while (done := learner.optimizer.step_count) < steps:
            number = len(losses) + 1
            losses.append(train_epoch(learner, source, number, lr, max_steps=steps - done, title=TITLE))
            report(number, losses[-1])
        found = learner.evaluation_weights()
        weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}
        return Refit(
            weights=weights,
            weights_sha256=weights_digest(weights),
            steps=steps,
            sentences=len(both.indices(TRAIN)),
            losses=tuple(losses),
            environment=runtime_environment(config.precision, threads, device),
        )
