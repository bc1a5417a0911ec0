"""A training as its epochs, each with the weights that are evaluated."""

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.runtime import deterministic_kernels, torch_threads, training_memory
from core.training.evaluate import Evaluation
from core.training.lockstep import Lockstep
from core.training.optim import lr_multiplier


def trained_epochs(config: TrialConfig, corpus: Corpus) -> Iterator[tuple[Mapping[str, Tensor], Evaluation]]:
    """Train on one thread; yield the weights and the validation results of each epoch, until the loss is not finite.

    The epochs are those of core.training.loop.train, which shows no weights before its end.
    """
    losses: list[float] = []
    with torch_threads(1), training_memory(), deterministic_kernels("cpu"):
        lockstep = Lockstep(config, corpus, "cpu")
        for epoch in range(config.epochs):

            def lr(fraction: float, epoch: int = epoch) -> float:
                done = (epoch + fraction) / config.epochs
                return config.learning_rate * lr_multiplier(config.lr_schedule, done, losses)

            lockstep.train_epoch(epoch + 1, lr)
            weights = lockstep.evaluation_weights()
            found = lockstep.evaluate(weights)
            if not math.isfinite(found.loss):
                return
            losses.append(found.loss)
            yield weights, found
