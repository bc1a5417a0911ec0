"""train(config, corpus): run epochs, keep the best one, stop early, and resume exactly."""

import math
import os
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
from core.data.corpus import TRAIN, Corpus
from core.errors import DataError, StopTraining, TrainingError
from core.io.atomic import expand_user
from core.log_odds import LogOdds
from core.metrics import METRICS
from core.nn.environment import check_precision, runtime_environment
from core.nn.model_size import count_trainable_parameters
from core.nn.runtime import check_device, default_modes, deterministic_kernels, torch_threads, training_memory
from core.training.checkpoint import Checkpoint, load_latest, save
from core.training.learner import notable_settings
from core.training.lockstep import WORDS, Lockstep, unprefixed
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
    checkpoint_dir: str | os.PathLike[str] | None = None,
    threads: int = 1,
    device: str = "cpu",
    reported: int = 0,
) -> TrainResult:
    """Train one classifier.

    The same config, corpus, thread count and machine give bit-identical results. Interruptions and earlier
    computations in the process have no effect. torch's global generators are neither read nor changed.

    Args:
        config: The settings.
        corpus: The data. Each epoch trains on the TRAIN split and evaluates the VAL split. With `corpus.folds`, a
            model for each fold trains on the other folds and evaluates that fold.
        report: Called after each epoch, once its checkpoint is on disk. It may raise StopTraining to end cleanly;
            any other exception passes through and leaves a whole checkpoint. After a resume, it is first called
            again for the epochs in the checkpoint but the first `reported`, so it must be idempotent.
        on_validation: Called before `report` for each epoch with its number, its predicted classes (n,) and its
            log-odds (core.log_odds). The order is that of `corpus.validation()`. The log-odds are None unless the epoch
            is the best so far. After a resume, only the best epoch of the checkpoint has them.
        checkpoint_dir: Folder for the state after each epoch; a whole checkpoint in it is resumed.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.
        reported: Number of epochs, from the first on, whose reports the caller has kept.

    Raises:
        DataError: The corpus has no training or no validation sentences, or the metric is undefined on their labels.
        ConfigError: The precision is bf16 on a GPU, or there is no such number of threads or device.
        RuntimeError: CUDA does not start, for example because of an old driver; the message is torch's.
        TrainingError: The loss is not a finite number.
        UserError: The checkpoint belongs to another training, or cannot be read or written.
    """
    check_precision(config.precision, device)
    check_device(device)
    for name, sentences in (("training", corpus.indices(TRAIN)), ("validation", corpus.validation())):
        if not len(sentences):
            raise DataError(f"the corpus has no {name} sentences; choose another split rule")
    METRICS[config.metric].remark(corpus.labels[corpus.validation()], corpus.classes)  # refuses an undefined metric
    with torch_threads(threads), training_memory(), default_modes(device), deterministic_kernels(device):
        run = _TrainingRun(config, corpus, runtime_environment(config.precision, threads, device), device)
        folder = None if checkpoint_dir is None else expand_user(os.fspath(checkpoint_dir))
        if folder is not None:
            run.resume(folder)
        stopped = run.run(report or (lambda epoch: None), on_validation or (lambda *_: None), folder, reported)
        return run.result(stopped)


class _TrainingRun:
    """A training in progress."""

    def __init__(self, config: TrialConfig, corpus: Corpus, environment: dict[str, Any], device: str) -> None:
        self.config, self.corpus, self.environment, self.device = config, corpus, environment, device
        self.identity = {**config.to_dict(), "corpus": corpus.fingerprint, "embedding_dim": corpus.embedding_dim}
        self.lockstep = Lockstep(config, corpus, device)
        self.epochs: list[EpochResult] = []
        self.best_weights: dict[str, Tensor] = {}
        """Those of the best epoch that training changes, on the CPU: of word vectors, (T, E) for the trained words."""
        self.predictions: list[NDArray[np.integer]] = []  # (n,) of each epoch
        self.best_log_odds = np.empty((0, len(corpus.classes) - 1), dtype=np.int16)
        self.label_type = np.uint8 if len(corpus.classes) <= 256 else np.int32  # what safetensors can hold

    def run(
        self,
        report: Callable[[EpochResult], None],
        on_validation: OnValidation,
        checkpoint_dir: Path | None,
        reported: int,
    ) -> str:
        """Train until there is a reason to stop, and return this reason."""

        def announce(epoch: EpochResult) -> None:
            is_best = epoch is best_epoch(self.epochs)
            on_validation(epoch.epoch, self.predictions[epoch.epoch - 1], self.best_log_odds if is_best else None)
            report(epoch)

        try:
            for epoch in tuple(self.epochs[reported:]):
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

        def lr(fraction: float) -> float:
            done = (number - 1 + fraction) / config.epochs
            return config.learning_rate * lr_multiplier(config.lr_schedule, done, val_losses)

        train_loss = self.lockstep.train_epoch(number, lr)
        weights = self.lockstep.evaluation_weights()
        evaluation = self.lockstep.evaluate(weights)
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
        """Keep copies of the weights that training changes."""
        self.best_weights = {}  # otherwise the old and the new ones would be in memory together
        for name, tensor in weights.items():
            if not name.endswith(WORDS):
                self.best_weights[name] = tensor.detach().to("cpu", copy=True).contiguous()
            elif not self.config.freeze_embedding:
                self.best_weights[name] = tensor.detach()[: self.corpus.trained_words].to("cpu", copy=True)

    def _save(self, folder: Path) -> None:
        state = {
            "environment": self.environment,
            "step_counts": self.lockstep.step_counts,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        tensors = {f"learner.{name}": tensor.cpu() for name, tensor in self.lockstep.state_tensors().items()}
        if not self._newest_is_best():  # else the learners determine them
            tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
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
        self.lockstep.load_state(unprefixed("learner.", found.tensors), found.state["step_counts"])
        # What is kept is copied: a part of the file's memory would keep the whole file open.
        if self._newest_is_best():
            self._keep_best(self.lockstep.evaluation_weights())
        else:
            best = unprefixed("best.", found.tensors)
            self.best_weights = {name: tensor.clone() for name, tensor in best.items()}
        self.predictions = list(found.tensors["predictions"].clone().numpy())
        self.best_log_odds = found.tensors["best_log_odds"].clone().numpy()

    def _newest_is_best(self) -> bool:
        return best_epoch(self.epochs) is self.epochs[-1]

    def result(self, stopped: str) -> TrainResult:
        """Return the result of the epochs so far, at least one; the training cannot continue afterwards."""
        best, corpus, weights = best_epoch(self.epochs), self.corpus, self._whole_best_weights()
        shape = (corpus.trained_words, corpus.embedding_dim, len(corpus.classes))
        return TrainResult(
            config=self.config,
            epochs=tuple(self.epochs),
            best_epoch=best.epoch,
            best_score=best.score,
            best_val_accuracy=best.val_accuracy,
            best_val_loss=best.val_loss,
            weights=weights,
            weights_sha256=weights_digest(weights),
            val_predictions=self.predictions[best.epoch - 1].astype(np.int64),
            val_log_odds=self.best_log_odds,
            n_parameters=count_trainable_parameters(self.config, *shape),
            environment=self.environment,
            stopped=stopped,
        )

    def _whole_best_weights(self) -> dict[str, Tensor]:
        """Return all weights of the best epoch: a copy of the word vectors would need as much memory again."""
        weights = self.lockstep.words()
        for name, tensor in self.best_weights.items():
            if name.endswith(WORDS):
                weights[name][: len(tensor)] = tensor  # in the learner's memory, which is of no more use
            else:
                weights[name] = tensor
        return weights
