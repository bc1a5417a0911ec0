"""EpochResult: what one epoch came to. Apart from `train` so that reading a study loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """One pass over the training split, and the validation split measured after it."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean cross-entropy in nats over the epoch's sentences, as trained (with dropout and smoothing)."""
    val_loss: float
    """Mean cross-entropy in nats over the validation split."""
    val_accuracy: float
    """Correct / total, in [0, 1]."""
    seconds: float
    """Wall time of training and validation together."""


def best_of(epochs: Sequence[EpochResult]) -> EpochResult:
    """The epoch that counts: highest validation accuracy; ties by lower validation loss, then the earlier."""
    return min(epochs, key=lambda e: (-e.val_accuracy, e.val_loss, e.epoch))
