"""Learner: a model with all training state, one step of it, and train_epoch: the steps of one epoch."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, from_numpy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from core.config import TrialConfig
from core.data.corpus import TRAIN, Corpus
from core.errors import TrainingError
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast, subnormals_as_zero
from core.nn.seeding import Dropout, seeded_generator
from core.training.batching import Batch, CpuBatchSource, GpuBatchSource, epoch_batches
from core.training.ema import ExponentialMovingAverage
from core.training.optim import Optimizer


class _Writable:
    """An array's memory without its read-only flag, through numpy's array interface."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def as_tensor(array: NDArray[np.float32], *, copy: bool) -> Tensor:
    """Return the array as a tensor.

    Without a copy, many processes share one memory-mapped matrix. torch has no read-only tensors and warns about such
    arrays, so the read-only flag is hidden from it. The caller must not write: if the memory is mapped read-only, the
    kernel kills a process that writes.
    """
    return from_numpy(np.array(array) if copy else np.asarray(_Writable(array)))


class Learner:
    """Weights, optimizer and average, which `step` updates.

    All weights but the word vectors are in one flat vector, and the model's parameters are views of it. One operation
    then updates, clips or averages all of them.
    """

    def __init__(
        self,
        model: SentenceClassifier,
        *,
        frozen_words: int = 0,
        max_norm: float | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Store an initialised model.

        Args:
            model: The model on its device; its parameters become views.
            frozen_words: Number of words at the end of the vocabulary whose vectors stay as they are.
            max_norm: Largest norm of a word vector when it is looked up; None for no limit.
            class_weights: float (C,) on the model's device: the weight of a sentence in the loss, by its label.
        """
        self.model = model
        self.config = model.config
        self.max_norm = max_norm
        self.class_weights = class_weights
        self.device = model.embedding.weight.device
        self.names = [name for name in dict(model.named_parameters()) if name != "embedding.weight"]
        self.parameters = [model.get_parameter(name) for name in self.names]
        self.flat = parameters_to_vector(self.parameters).detach()
        vector_to_parameters(self.flat, self.parameters)  # now they are views of it
        self.words = model.embedding.weight.detach()  # (V, E)
        self.trains_words = model.embedding.weight.requires_grad
        if max_norm is not None and not self.trains_words:
            self.words.copy_(clip_row_norms(self.words, max_norm))
        self.trained = self.words[: len(self.words) - frozen_words] if self.trains_words else None
        """float (T, E) the part of `words` that `step` updates; None if they are all frozen."""
        self.optimizer = Optimizer(self.config, self.flat, self.trained)
        decay = self.config.ema_decay
        self.average = None if decay is None else ExponentialMovingAverage(decay, self.optimizer)

    def step(self, batch: Batch, lr: float, dropout: Dropout | None) -> Tensor:
        """Take one training step.

        Args:
            batch: Sentences on the model's device.
            lr: The learning rate.
            dropout: Source of the masks; None to drop nothing.

        Returns:
            float (), on the device: the mean loss of the batch before the step.
        """
        vectors = self._look_up(batch)
        with autocast(self.config.precision, self.device.type):
            logits = self.model.forward_batch(vectors, batch.tokens, batch.lengths, dropout)
        logits = logits if logits.dtype == self.flat.dtype else logits.to(self.flat.dtype)
        loss = self._loss(logits, batch)
        parameters = [*self.parameters, vectors] if self.trains_words else self.parameters
        gradients = torch.autograd.grad(loss, parameters)
        flat_gradient = torch.cat([gradient.reshape(-1) for gradient in gradients[: len(self.parameters)]])
        rows, vectors = batch.rows[: batch.trained_rows], vectors.detach()[: batch.trained_rows]
        word_gradients = gradients[-1][: batch.trained_rows] if self.trains_words else None
        if word_gradients is not None:
            word_gradients[0] = 0  # `<pad>` stays zero, although embedding dropout replaces words by it
        self._clip(flat_gradient, word_gradients)
        self.optimizer.step(lr, flat_gradient, rows, vectors, word_gradients)
        if self.average:
            self.average.update(rows)
        return loss.detach()

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return () the mean loss of the sentences, each with the weight of its class.

        With targets, it is the expected loss of a label that is drawn from them.
        """
        smoothing, targets = self.config.label_smoothing, batch.targets
        if self.class_weights is None:
            return F.cross_entropy(logits, batch.labels if targets is None else targets, label_smoothing=smoothing)
        if targets is None:
            weights, expected = self.class_weights[batch.labels], batch.labels
        else:
            weighted = targets * self.class_weights  # (B, C)
            weights = weighted.sum(dim=1)
            expected = weighted / weights[:, None]
        each = F.cross_entropy(logits, expected, label_smoothing=smoothing, reduction="none")  # (B,)
        return (each * weights).mean()

    def _look_up(self, batch: Batch) -> Tensor:
        """Return float (U, E): the vectors of the words, clipped to `max_norm`, as a leaf for autograd."""
        if self.average:
            self.average.catch_up(batch.rows[: batch.trained_rows])
        vectors: Tensor = self.words.index_select(0, batch.rows)
        if self.max_norm is not None and self.trains_words:
            vectors = clip_row_norms(vectors, self.max_norm)  # the optimizer's step starts from them
        return vectors.requires_grad_(self.trains_words)

    def _clip(self, *gradients: Tensor | None) -> None:
        """Scale gradients down to a common norm of at most `clip_norm`, as `torch.nn.utils.clip_grad_norm_` does."""
        if self.config.clip_norm is None:
            return
        present = [gradient for gradient in gradients if gradient is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in present]))
        factor = torch.clamp(self.config.clip_norm / (norm + 1e-6), max=1)
        for gradient in present:
            gradient.mul_(factor)

    def evaluation_weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and save, by the model's names: averaged and clipped as configured.

        They share memory with the learner if nothing had to be computed.
        """
        flat, words = self.flat, self.words
        if self.average:
            flat, averaged = self.average.averaged()
            words = words if averaged is None else torch.cat([averaged, words[len(averaged) :]])
        if self.max_norm is not None and self.trains_words:
            words = clip_row_norms(words, self.max_norm)
        pieces = torch.split_with_sizes(flat, [parameter.numel() for parameter in self.parameters])
        named = zip(self.names, pieces, self.parameters, strict=True)
        return {"embedding.weight": words, **{name: piece.view_as(parameter) for name, piece, parameter in named}}

    def state_tensors(self) -> dict[str, Tensor]:
        """Return by name, without a copy, all state of the next step; frozen word vectors are in the corpus."""
        named = {"flat": self.flat} | ({} if self.trained is None else {"words": self.trained})
        named |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors().items()}
        if self.average:
            named |= {f"average.{name}": tensor for name, tensor in self.average.tensors().items()}
        return named

    def load_state(self, tensors: Mapping[str, Tensor], step_count: int) -> None:
        """Continue from `tensors` of an equal learner after `step_count` steps."""
        for name, tensor in self.state_tensors().items():
            tensor.copy_(tensors[name])
        self.optimizer.step_count = step_count


def make_learner(config: TrialConfig, corpus: Corpus, device: str) -> Learner:
    """Return a learner before its first step; on a CPU, frozen pretrained vectors are the corpus's own memory."""
    vectors = None if corpus.vectors is None else as_tensor(corpus.vectors, copy=not config.freeze_embedding)
    model = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes), vectors)
    model.initialize(seeded_generator(config.seed, "weights"))
    weights = None
    if config.class_weight == "balanced":
        weights = torch.from_numpy(balanced_weights(corpus.class_counts())).to(device)
    max_norm = config.embedding_max_norm if vectors is None else None
    return Learner(model.to(device), frozen_words=corpus.frozen_words, max_norm=max_norm, class_weights=weights)


def balanced_weights(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (C,) weights with which all classes have the same sum over their sentences, and a mean of 1.

    They are those of scikit-learn's `class_weight="balanced"` for the numbers of sentences (C,). A class without a
    sentence has 0, and one with a part of a sentence counts as one sentence.
    """
    shares = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, shares, 0).astype(np.float32)


def train_epoch(
    learner: Learner,
    source: CpuBatchSource | GpuBatchSource,
    epoch: int,
    lr: Callable[[int], float],
    *,
    max_steps: int | None = None,
    title: str = "epoch {}",
) -> float:
    """Train for one epoch on the TRAIN split; batches and dropout masks depend on configuration and epoch alone.

    Args:
        learner: The model and its state.
        source: The corpus, on the learner's device.
        epoch: Number of the epoch, from 1.
        lr: Called before each step with its number within the epoch, from 0. Returns the learning rate.
        max_steps: Number of batches after which the epoch is cut short; None for all.
        title: Name of the epoch in an error, with {} for its number.

    Returns:
        The mean loss per sentence.

    Raises:
        TrainingError: The loss is not a finite number.
    """
    config, sentences = learner.config, source.corpus.indices(TRAIN)
    dropout = Dropout(seeded_generator(config.seed, "dropout", epoch, str(learner.device)))
    batches = epoch_batches(source.corpus.lengths()[sentences], config, epoch)[:max_steps]
    losses = torch.zeros(len(batches), device=learner.device)
    with subnormals_as_zero():
        for step, places in enumerate(batches):
            losses[step] = learner.step(source.batch(sentences[places]), lr(step), dropout)
            if losses.is_cpu and not math.isfinite(losses[step]):  # on a GPU, reading it would wait for each step
                break
    for step, loss in enumerate(losses.tolist(), start=1):
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} in {title.format(epoch)}, step {step}, {notable_settings(config)}")
    sizes = torch.tensor([len(places) for places in batches], dtype=torch.float64)
    return float(losses.cpu().double() @ sizes / sizes.sum())


def notable_settings(config: TrialConfig) -> str:
    """Return "with NAME VALUE, ...": settings unlike the default, and those that often make a loss diverge."""
    default = TrialConfig().to_dict()
    always = ("optimizer", "learning_rate", "clip_norm", "precision")
    named = {name: value for name, value in config.to_dict().items() if name in always or value != default[name]}
    return "with " + ", ".join(f"{name} {value}" for name, value in named.items())


def clip_row_norms(vectors: Tensor, max_norm: float) -> Tensor:
    """Return (U, E) with the norm of each row clipped to `max_norm`, as `torch.nn.Embedding` does."""
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors * torch.where(norms > max_norm, max_norm / (norms + 1e-7), 1)
