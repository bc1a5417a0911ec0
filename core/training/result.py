"""EpochResult and TrainResult: the results of a training. Importing this module loads neither torch nor numpy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from core.config import TrialConfig
    from core.log_odds import LogOdds


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """Results of the training of one epoch and of the evaluation after it."""

    epoch: int
    """Number of the epoch, from 1."""
    train_loss: float
    """Mean cross-entropy in nats over the epoch's sentences, as trained (with dropout, smoothing and class weights)."""
    val_loss: float
    """Mean cross-entropy in nats over the sentences of `corpus.validation()`."""
    val_accuracy: float
    """Correct / total, in [0, 1]."""
    score: float
    """The configuration's metric on the same sentences. Larger is better: log_loss is negated."""
    seconds: float
    """Wall time of training and validation together."""


def epoch_order(epoch: EpochResult) -> tuple[float, float]:
    """Return the key that sorts epochs best first: higher score, then lower validation loss."""
    return -epoch.score, epoch.val_loss


def best_epoch(epochs: Sequence[EpochResult]) -> EpochResult:
    """Return the epoch with the highest score; ties go to lower validation loss, then to the earlier."""
    return min(epochs, key=lambda e: (*epoch_order(e), e.epoch))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """One finished training."""

    config: "TrialConfig"
    epochs: tuple[EpochResult, ...]
    """All epochs, including those before a resume."""
    best_epoch: int
    """Number of the epoch that the function `best_epoch` returns."""
    best_score: float
    best_val_accuracy: float
    best_val_loss: float
    """Score, validation accuracy and validation loss of the best epoch."""
    weights: "dict[str, Tensor]"
    """The evaluated weights of the best epoch by the model's names: on the CPU, contiguous. With folds, the names
    follow `fold0.`, `fold1.`, ... Frozen pretrained vectors are the corpus's own memory, which may be read-only: copy
    before writing."""
    weights_sha256: str
    """Hex digest over the weights' names, types, shapes and bytes."""
    val_predictions: "NDArray[np.int64]"
    """(n,) at the best epoch, in the order of `corpus.validation()`."""
    val_log_odds: "LogOdds"
    """(n, C - 1) at the best epoch, see core.log_odds."""
    n_parameters: int
    """Number of trained parameters."""
    environment: dict[str, Any]
    """The runtime environment (core.nn.environment). `before_resume` in it is that of earlier epochs, if it differs."""
    stopped: str
    """Reason for the end: "epochs" (all done), "patience" or "report" (it raised StopTraining)."""


def patience_exhausted(epochs: Sequence[EpochResult], patience: int) -> bool:
    """Return whether the last `patience` epochs have no better score than those before them."""
    before, last = epochs[:-patience], epochs[-patience:]
    return bool(before) and max(e.score for e in last) <= max(e.score for e in before)


def weights_digest(weights: "Mapping[str, Tensor]") -> str:
    """Return the sha256 (hex) over names, types, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.numpy().data)
    return total.hexdigest()
