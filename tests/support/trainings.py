"""Small trainings, their ends in the middle, and the comparison of their results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from core.config import TrialConfig
from core.training.result import EpochResult, TrainResult

SMALL: dict[str, Any] = {"hidden_dim": 5, "epochs": 4, "learning_rate": 1e-2, "batch_size": 16}


def small(**changes: Any) -> TrialConfig:
    return TrialConfig(**SMALL | changes)


def figures(result: TrainResult) -> list[tuple[float, ...]]:
    """Every epoch without its seconds."""
    return [(e.epoch, e.train_loss, e.val_loss, e.val_accuracy) for e in result.epochs]


def assert_bit_identical(one: TrainResult, other: TrainResult) -> None:
    assert figures(one) == figures(other)
    assert one.best_epoch == other.best_epoch
    assert one.weights_sha256 == other.weights_sha256
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert np.array_equal(one.val_predictions, other.val_predictions)
    assert np.array_equal(one.val_log_odds, other.val_log_odds)


class Died(Exception):  # noqa: N818 - not an error of ours
    """In place of a process that ends in the middle."""


def dying_after(epoch: int, error: type[BaseException] = Died) -> Callable[[EpochResult], None]:
    def report(result: EpochResult) -> None:
        if result.epoch == epoch:
            raise error

    return report
