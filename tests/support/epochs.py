"""Epochs as a training reports them."""

from core.training.result import EpochResult


def epoch(
    number: int, accuracy: float, *, train_loss: float = 0.1 + 0.2, val_loss: float = 0.5, seconds: float = 0.5
) -> EpochResult:
    return EpochResult(
        epoch=number,
        train_loss=train_loss,
        val_loss=val_loss,
        val_accuracy=accuracy,
        score=accuracy,
        seconds=seconds,
    )
