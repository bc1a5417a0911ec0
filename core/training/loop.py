"""train(config, corpus): run epochs, keep the best one, stop early, and resume exactly."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import DataError, StopTraining, TrainingError
from core.log_odds import LogOdds
from core.nn.environment import runtime_environment
from core.nn.runtime import deterministic_kernels, retain_freed_memory, torch_threads
from core.training.batching import batch_source
from core.training.checkpoint import Checkpoint, load_latest, save
from core.training.evaluate import evaluate_split
from core.training.learner import make_learner, notable_settings, train_epoch
from core.training.optim import lr_multiplier
from core.training.result import EpochResult, TrainResult, best_epoch, patience_exhausted, weights_digest

OnValidation = Callable[[int, NDArray[np.integer], LogOdds | None], None]
"""Called with an epoch's number, its validation predictions, and its log-odds if it is the best so far."""


def train(
    config: TrialConfig,
    corpus: Corpus,
    *,
    report: Callable[[EpochResult], None] | None = None,
    on_validation: OnValidation | None = None,
    checkpoint_dir: Path | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> TrainResult:
    """Train one classifier.

    The same config, corpus, thread count and machine give bit-identical results. Interruptions and earlier
    computations in the process have no effect. torch's global generators are neither read nor changed.

    Args:
        config: The settings.
        corpus: The data; the TRAIN split is trained on, the VAL split is evaluated after each epoch.
        report: Called after each epoch, once its checkpoint is on disk. It may raise StopTraining to end cleanly;
            any other exception passes through and leaves a whole checkpoint. After a resume, it is first called
            again for the epochs in the checkpoint, so it must be idempotent.
        on_validation: Called before `report` for each epoch with its number, its predicted classes (n,) in the order
            of `corpus.indices(VAL)`, and its log-odds (core.log_odds) if it is the best so far, else None.
        checkpoint_dir: Folder for the state after each epoch; a whole checkpoint in it is resumed.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        DataError: The corpus has no training or no validation sentences.
        ConfigError: The checkpoint belongs to another training.
        TrainingError: The loss is not a finite number.
        UserError: The checkpoint cannot be written.
    """
    for name, split in (("training", TRAIN), ("validation", VAL)):
        if not len(corpus.indices(split)):
            raise DataError(f"the corpus has no {name} sentences; choose another split rule")
    with torch_threads(threads), retain_freed_memory(), deterministic_kernels(device):
        run = _TrainingRun(config, corpus, runtime_environment(config.precision, threads, device), device)
        if checkpoint_dir is not None:
            run.resume(checkpoint_dir)
        stopped = run.run(report or (lambda epoch: None), on_validation or (lambda *_: None), checkpoint_dir)
        return run.result(stopped)


class _TrainingRun:
    """A training in progress."""

    def __init__(self, config: TrialConfig, corpus: Corpus, environment: dict[str, Any], device: str) -> None:
        self.config, self.corpus, self.environment, self.device = config, corpus, environment, device
        self.identity = {**config.to_dict(), "corpus": corpus.fingerprint, "embedding_dim": corpus.embedding_dim}
        self.steps_an_epoch = math.ceil(len(corpus.indices(TRAIN)) / config.batch_size)
        self.source = batch_source(corpus, device)
        self.learner = make_learner(config, corpus, device)
        self.epochs: list[EpochResult] = []
        self.best_weights: dict[str, Tensor] = {}
        self.predictions: list[NDArray[np.integer]] = []  # (n,) of each epoch
        self.best_log_odds = np.empty((0, len(corpus.classes) - 1), dtype=np.int16)
        self.label_type = np.uint8 if len(corpus.classes) <= 256 else np.int32  # what safetensors can hold

    def run(
        self,
        report: Callable[[EpochResult], None],
        on_validation: OnValidation,
        checkpoint_dir: Path | None,
    ) -> str:
        """Train until there is a reason to stop; return it."""

        def announce(epoch: EpochResult) -> None:
            is_best = epoch is best_epoch(self.epochs)
            on_validation(epoch.epoch, self.predictions[epoch.epoch - 1], self.best_log_odds if is_best else None)
            report(epoch)

        try:
            for epoch in tuple(self.epochs):
                announce(epoch)
            while len(self.epochs) < self.config.epochs:
                if self.config.patience is not None and patience_exhausted(self.epochs, self.config.patience):
                    return "patience"
                epoch = self._run_epoch()
                if checkpoint_dir is not None:
                    self._save(checkpoint_dir)
                announce(epoch)
        except StopTraining:
            return "report"
        return "epochs"

    def _run_epoch(self) -> EpochResult:
        start = time.perf_counter()
        config, number = self.config, len(self.epochs) + 1
        val_losses = [epoch.val_loss for epoch in self.epochs]

        def lr(step: int) -> float:
            done = (number - 1 + step / self.steps_an_epoch) / config.epochs
            return config.learning_rate * lr_multiplier(config.lr_schedule, done, val_losses)

        train_loss = train_epoch(self.learner, self.source, number, lr)
        weights = self.learner.evaluation_weights()
        evaluation = evaluate_split(config, weights, self.source, VAL, self.device)
        for name, value in (("the validation loss", evaluation.loss), (config.metric, evaluation.score)):
            if not math.isfinite(value):
                raise TrainingError(f"{name} is {value} after epoch {number}, {notable_settings(config)}")
        epoch = EpochResult(
            epoch=number,
            train_loss=train_loss,
            val_loss=evaluation.loss,
            val_accuracy=evaluation.accuracy,
            score=evaluation.score,
            seconds=time.perf_counter() - start,
        )
        self.epochs.append(epoch)
        self.predictions.append(evaluation.predictions.astype(self.label_type))
        if best_epoch(self.epochs) is epoch:
            self._keep_best(weights)
            self.best_log_odds = evaluation.log_odds
        return epoch

    def _keep_best(self, weights: Mapping[str, Tensor]) -> None:
        self.best_weights = {name: self._to_cpu(name, tensor) for name, tensor in weights.items()}

    def _to_cpu(self, name: str, tensor: Tensor) -> Tensor:
        """Return a copy on the CPU; frozen word vectors that are already there are not copied."""
        frozen = name == "embedding.weight" and self.config.freeze_embedding
        return tensor.detach().to("cpu", copy=not frozen).contiguous()

    def _save(self, folder: Path) -> None:
        state = {
            "environment": self.environment,
            "step_count": self.learner.optimizer.step_count,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        tensors = {f"learner.{name}": tensor.cpu() for name, tensor in self.learner.state_tensors().items()}
        if not self._newest_is_best():  # else the learner determines them
            tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items() if self._trained(name)}
        tensors["predictions"] = torch.from_numpy(np.stack(self.predictions))  # (E, n)
        tensors["best_log_odds"] = torch.from_numpy(self.best_log_odds)
        save(folder, Checkpoint(epoch=len(self.epochs), fingerprint=self.identity, state=state, tensors=tensors))

    def resume(self, folder: Path) -> None:
        """Continue from the newest whole checkpoint in a folder, if there is one."""
        found = load_latest(folder, self.identity)
        if found is None:
            return
        before = found.state["environment"]
        if self.environment == {name: value for name, value in before.items() if name != "before_resume"}:
            self.environment = before
        else:
            self.environment = {**self.environment, "before_resume": before}
        self.epochs = [EpochResult(**epoch) for epoch in found.state["epochs"]]
        self.learner.load_state(_under("learner.", found.tensors), found.state["step_count"])
        if self._newest_is_best():
            self._keep_best(self.learner.evaluation_weights())
        else:
            self.best_weights = {"embedding.weight": self.learner.words.cpu(), **_under("best.", found.tensors)}
        self.predictions = list(found.tensors["predictions"].numpy())
        self.best_log_odds = found.tensors["best_log_odds"].numpy()

    def _newest_is_best(self) -> bool:
        return best_epoch(self.epochs) is self.epochs[-1]

    def _trained(self, name: str) -> bool:
        return name != "embedding.weight" or not self.config.freeze_embedding

    def result(self, stopped: str) -> TrainResult:
        """Return the result of the epochs so far, at least one."""
        best = best_epoch(self.epochs)
        return TrainResult(
            config=self.config,
            epochs=tuple(self.epochs),
            best_epoch=best.epoch,
            best_score=best.score,
            best_val_accuracy=best.val_accuracy,
            best_val_loss=best.val_loss,
            weights=self.best_weights,
            weights_sha256=weights_digest(self.best_weights),
            val_predictions=self.predictions[best.epoch - 1].astype(np.int64),
            val_log_odds=self.best_log_odds,
            n_parameters=sum(p.numel() for p in self.learner.model.parameters() if p.requires_grad),
            environment=self.environment,
            stopped=stopped,
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
