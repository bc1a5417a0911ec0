"""train(config, corpus): epochs, the best of them, stopping, exact resume."""

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
from core.nn.environment import runtime_environment
from core.nn.runtime import deterministic_kernels, retain_freed_memory, torch_threads
from core.nn.seeding import Dropout, seeded_generator
from core.training.batching import batch_source, shuffled_batches
from core.training.checkpoint import Checkpoint, load_latest, save
from core.training.evaluate import evaluate_split
from core.training.learner import make_learner
from core.training.optim import lr_multiplier
from core.training.result import EpochResult, TrainResult, best_epoch, patience_exhausted, weights_digest


def train(
    config: TrialConfig,
    corpus: Corpus,
    *,
    report: Callable[[EpochResult], None] | None = None,
    on_best: Callable[[NDArray[np.int64]], None] | None = None,
    checkpoint_dir: Path | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> TrainResult:
    """Train one classifier.

    The same config, corpus, thread count and machine give the same bits, whatever ran before in the process and
    however often training was cut off and resumed; torch's global generators are neither read nor moved.

    Args:
        config: the settings.
        corpus: the data; its TRAIN split is learned, its VAL split judges each epoch.
        report: told each epoch when it is over and its checkpoint is written. It may raise StopTraining to end
            cleanly; any other exception passes through and leaves a whole checkpoint. After a resume it is first
            told the epochs of the checkpoint again, so a listener must bear to hear an epoch twice.
        on_best: told the validation predictions of each epoch that is the best so far, in the order of
            `corpus.indices(VAL)`, before `report` hears of the epoch.
        checkpoint_dir: where to keep the state after each epoch; a whole checkpoint in it is resumed.
        threads: CPU threads to use; the process's setting is restored.
        device: "cpu" or a CUDA device.

    Raises:
        DataError: the corpus has no sentence to train on or none to judge on.
        ConfigError: the checkpoint belongs to another training.
        TrainingError: the loss is no longer a number.
        UserError: the checkpoint cannot be written.
    """
    for name, split in (("training", TRAIN), ("validation", VAL)):
        if not len(corpus.indices(split)):
            raise DataError(f"the corpus has no {name} sentences; choose another split rule")
    with torch_threads(threads), retain_freed_memory(), deterministic_kernels(device):
        run = _TrainingRun(config, corpus, runtime_environment(config.precision, threads, device), device)
        if checkpoint_dir is not None:
            run.resume(checkpoint_dir)
        stopped = run.run(report or (lambda epoch: None), on_best or (lambda predictions: None), checkpoint_dir)
        return run.result(stopped)


class _TrainingRun:
    """A training in progress."""

    def __init__(self, config: TrialConfig, corpus: Corpus, environment: dict[str, Any], device: str) -> None:
        self.config, self.corpus, self.environment, self.device = config, corpus, environment, device
        self.identity = {**config.to_dict(), "corpus": corpus.fingerprint, "embedding_dim": corpus.embedding_dim}
        self.sentences = corpus.indices(TRAIN)
        self.lengths = corpus.lengths()[self.sentences]
        self.source = batch_source(corpus, device)
        self.learner = make_learner(config, corpus, device)
        self.epochs: list[EpochResult] = []
        self.best_weights: dict[str, Tensor] = {}
        self.best_predictions = corpus.labels[:0]  # of the best epoch, once there is one

    def run(
        self,
        report: Callable[[EpochResult], None],
        on_best: Callable[[NDArray[np.int64]], None],
        checkpoint_dir: Path | None,
    ) -> str:
        """Train until there is a reason to stop; return it."""

        def tell(epoch: EpochResult) -> None:
            if epoch is best_epoch(self.epochs):
                on_best(self.best_predictions)
            report(epoch)

        try:
            for known in tuple(self.epochs):
                tell(known)
            while len(self.epochs) < self.config.epochs:
                if self.config.patience is not None and patience_exhausted(self.epochs, self.config.patience):
                    return "patience"
                epoch = self._train_epoch()
                if checkpoint_dir is not None:
                    self._save(checkpoint_dir)
                tell(epoch)
        except StopTraining:
            return "report"
        return "epochs"

    def _train_epoch(self) -> EpochResult:
        start = time.perf_counter()
        number = len(self.epochs) + 1
        train_loss = self._train_one_epoch(number)
        weights = self.learner.evaluation_weights()
        judged = evaluate_split(self.config, weights, self.source, VAL, self.device)
        if not math.isfinite(judged.loss):
            raise TrainingError(f"the validation loss is {judged.loss} after epoch {number}{self._settings()}")
        epoch = EpochResult(
            epoch=number,
            train_loss=train_loss,
            val_loss=judged.loss,
            val_accuracy=judged.accuracy,
            seconds=time.perf_counter() - start,
        )
        self.epochs.append(epoch)
        if best_epoch(self.epochs) is epoch:
            self._keep_best(weights)
            self.best_predictions = judged.predictions
        return epoch

    def _keep_best(self, weights: Mapping[str, Tensor]) -> None:
        self.best_weights = {name: self._to_cpu(name, tensor) for name, tensor in weights.items()}

    def _train_one_epoch(self, number: int) -> float:
        """One pass over the training split; return the mean loss a sentence."""
        config = self.config
        dropout = Dropout(seeded_generator(config.seed, "dropout", number, self.device))
        batches = shuffled_batches(self.lengths, config.batch_size, seeded_generator(config.seed, "order", number))
        val_losses = [epoch.val_loss for epoch in self.epochs]
        losses = torch.zeros(len(batches), device=self.device)
        for step, places in enumerate(batches):
            done = (number - 1 + step / len(batches)) / config.epochs
            rate = config.learning_rate * lr_multiplier(config.lr_schedule, done, val_losses)
            batch = self.source.batch(self.sentences[places])
            losses[step] = self.learner.step(batch, rate, dropout)
            if losses.is_cpu:  # on a GPU looking would wait for it at each step
                self._check(losses[step : step + 1], number, step)
        self._check(losses, number, 0)
        sizes = torch.tensor([len(places) for places in batches], dtype=torch.float64)
        return float(losses.cpu().double() @ sizes / len(self.sentences))

    def _check(self, losses: Tensor, epoch: int, first_step: int) -> None:
        for step, loss in enumerate(losses.tolist(), start=first_step + 1):
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} in epoch {epoch}, step {step}{self._settings()}")

    def _settings(self) -> str:
        """What distinguishes this training from the default one, and what most often makes a loss diverge."""
        default, ours = TrialConfig().to_dict(), self.config.to_dict()
        always = ("optimizer", "learning_rate", "clip_norm", "precision")
        named = {name: value for name, value in ours.items() if name in always or value != default[name]}
        return ", with " + ", ".join(f"{name} {value}" for name, value in named.items())

    def _to_cpu(self, name: str, tensor: Tensor) -> Tensor:
        """A copy on the CPU; frozen word vectors are not copied where they are there already."""
        frozen = name == "embedding.weight" and self.config.freeze_embedding
        return tensor.detach().to("cpu", copy=not frozen).contiguous()

    def _save(self, folder: Path) -> None:
        state = {
            "environment": self.environment,
            "step_count": self.learner.optimizer.step_count,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        tensors = {f"learner.{name}": tensor.cpu() for name, tensor in self.learner.state_tensors().items()}
        if not self._newest_is_best():  # else they follow from the learner
            tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items() if self._trained(name)}
        tensors["best_predictions"] = torch.from_numpy(self.best_predictions)
        save(folder, Checkpoint(epoch=len(self.epochs), fingerprint=self.identity, state=state, tensors=tensors))

    def resume(self, folder: Path) -> None:
        """Go on from the newest whole checkpoint in a folder, if there is one."""
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
        self.best_predictions = found.tensors["best_predictions"].numpy()

    def _newest_is_best(self) -> bool:
        return best_epoch(self.epochs) is self.epochs[-1]

    def _trained(self, name: str) -> bool:
        return name != "embedding.weight" or not self.config.freeze_embedding

    def result(self, stopped: str) -> TrainResult:
        """What the epochs so far brought, at least one."""
        best = best_epoch(self.epochs)
        return TrainResult(
            config=self.config,
            epochs=tuple(self.epochs),
            best_epoch=best.epoch,
            best_val_accuracy=best.val_accuracy,
            best_val_loss=best.val_loss,
            weights=self.best_weights,
            weights_sha256=weights_digest(self.best_weights),
            val_predictions=self.best_predictions,
            n_parameters=sum(p.numel() for p in self.learner.model.parameters() if p.requires_grad),
            environment=self.environment,
            stopped=stopped,
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
