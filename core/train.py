"""train(config, corpus): epochs, the best of them, stopping."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.batches import gather, seeded, shuffled
from core.config import TrialConfig
from core.corpus import TRAIN, VAL, Corpus
from core.errors import DataError, StopTraining, TrainingError
from core.evaluate import Evaluation, judge
from core.model import Dropout, SentenceClassifier
from core.runtime import autocast, describe, threads_set


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch brought."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's sentences of the loss that was minimised, dropout and label smoothing included."""
    val_loss: float
    """Mean cross-entropy on the validation split, without label smoothing."""
    val_accuracy: float
    """Correct / total on the validation split, in [0, 1]."""
    seconds: float
    """Training and evaluation, without the checkpoint and `report`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """One finished training."""

    config: TrialConfig
    epochs: tuple[EpochResult, ...]
    best_epoch: int
    """The epoch of highest validation accuracy; of equals that of lower validation loss, then the earlier."""
    best_val_accuracy: float
    best_val_loss: float
    """At the best epoch."""
    weights: dict[str, Tensor]
    """The evaluated weights of the best epoch by the model's names: on the CPU, contiguous."""
    weights_sha256: str
    """Hex digest over the weights' names, types, shapes and bytes."""
    val_predictions: NDArray[np.int64]
    """(n,) at the best epoch, in the order of `corpus.indices(VAL)`."""
    n_parameters: int
    """Trained numbers."""
    environment: dict[str, Any]
    """What the bits depend on beside config and corpus: torch, threads, precision, CPU capability, device."""
    stopped: str
    """Why it ended: "epochs" (all done), "patience" or "report" (it raised StopTraining)."""


def train(
    config: TrialConfig,
    corpus: Corpus,
    *,
    report: Callable[[EpochResult], None] | None = None,
    checkpoint_dir: Path | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> TrainResult:
    """Train one classifier.

    Args:
        config: the settings.
        corpus: the data; its TRAIN split is learned, its VAL split judges each epoch.
        report: told each epoch when it is over; may raise StopTraining to end cleanly.
        checkpoint_dir: not used yet.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        DataError: the corpus has no sentence to train or to judge on.
        TrainingError: the loss is no longer a number.
    """
    for name, split in (("training", TRAIN), ("validation", VAL)):
        if not len(corpus.indices(split)):
            raise DataError(f"the corpus has no {name} sentences; choose another split rule")
    with threads_set(threads):
        return _train(config, corpus, report or (lambda epoch: None), threads, device)


def _train(
    config: TrialConfig, corpus: Corpus, report: Callable[[EpochResult], None], threads: int, device: str
) -> TrainResult:
    vectors = None if corpus.vectors is None else torch.from_numpy(np.array(corpus.vectors))
    model = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes), vectors)
    model.initialize(seeded(config.seed, "weights", 0))
    model.to(device)
    optimizer = _optimizer(config, model)
    epochs: list[EpochResult] = []
    best: tuple[EpochResult, dict[str, Tensor], Evaluation] | None = None
    stopped = "epochs"
    for number in range(1, config.epochs + 1):
        start = time.perf_counter()
        train_loss = _epoch(model, optimizer, corpus, number, device)
        judged = judge(model, corpus, VAL)
        epoch = EpochResult(
            epoch=number,
            train_loss=train_loss,
            val_loss=judged.loss,
            val_accuracy=judged.accuracy,
            seconds=time.perf_counter() - start,
        )
        epochs.append(epoch)
        if best is None or _score(epoch) > _score(best[0]):
            best = epoch, {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}, judged
        try:
            report(epoch)
        except StopTraining:
            stopped = "report"
            break
        if config.patience is not None and number - _accuracy_peak(epochs) >= config.patience:
            stopped = "patience"
            break
    assert best is not None
    return TrainResult(
        config=config,
        epochs=tuple(epochs),
        best_epoch=best[0].epoch,
        best_val_accuracy=best[0].val_accuracy,
        best_val_loss=best[0].val_loss,
        weights=best[1],
        weights_sha256=digest(best[1]),
        val_predictions=best[2].predictions,
        n_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        environment=describe(config.precision, threads, device),
        stopped=stopped,
    )


def _epoch(
    model: SentenceClassifier, optimizer: torch.optim.Optimizer, corpus: Corpus, number: int, device: str
) -> float:
    config = model.config
    sentences = corpus.indices(TRAIN)
    dropout = Dropout(seeded(config.seed, "dropout", number, device))
    total = torch.zeros((), dtype=torch.float64, device=device)
    order = shuffled(corpus.lengths()[sentences], config.batch_size, seeded(config.seed, "order", number))
    for step, places in enumerate(order, start=1):
        batch = gather(corpus, sentences[places], device)
        optimizer.zero_grad()
        with autocast(config.precision, device):
            logits = model.classify(batch.rows, batch.tokens, batch.lengths, dropout)
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=config.label_smoothing)
        torch.autograd.backward(loss)
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        with torch.no_grad():
            total += loss * len(places)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in epoch {number}, step {step}, with {config}")
    return total.item() / len(sentences)


def _optimizer(config: TrialConfig, model: SentenceClassifier) -> torch.optim.Optimizer:
    words = [p for p in model.embedding.parameters() if p.requires_grad]
    rest = [p for name, p in model.named_parameters() if not name.startswith("embedding.")]
    groups: list[dict[str, Any]] = [{"params": rest}]
    if words:
        groups.append({"params": words, "lr": config.learning_rate * config.embedding_lr_scale})
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, rho=0.95, **options)
    kinds: dict[str, type[torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[config.optimizer](groups, **options)


def _score(epoch: EpochResult) -> tuple[float, float, int]:
    return epoch.val_accuracy, -epoch.val_loss, -epoch.epoch


def _accuracy_peak(epochs: list[EpochResult]) -> int:
    return max(epochs, key=lambda e: (e.val_accuracy, -e.epoch)).epoch


def digest(weights: Mapping[str, Tensor]) -> str:
    """sha256 (hex) over names, types, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()
