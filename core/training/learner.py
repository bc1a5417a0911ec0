"""Learner: a model together with everything that one training step moves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast
from core.nn.seeding import Dropout, seeded_generator
from core.training.batching import Batch
from core.training.ema import ExponentialMovingAverage
from core.training.optim import Optimizer


class _Writable:
    """An array's memory without its read-only mark, through numpy's array interface."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def as_tensor(array: NDArray[np.float32], *, copy: bool) -> Tensor:
    """The array as a tensor.

    Without a copy many processes share one memory-mapped matrix. torch has no read-only tensors and warns of such
    arrays, so the mark is hidden from it: the caller must not write, and where the memory is mapped read-only the
    kernel ends a process that does.
    """
    return from_numpy(np.array(array) if copy else np.asarray(_Writable(array)))


class Learner:
    """Weights, optimizer and average; `step` moves them.

    All weights but the word vectors live in one flat vector, and the model's parameters are views of it: one
    operation then updates, clips or averages them all.
    """

    def __init__(self, model: SentenceClassifier, *, max_norm: float | None = None) -> None:
        """Take over an initialised model.

        Args:
            model: on its device; its parameters become views.
            max_norm: longest that a word vector may get when it is looked up; None for no limit.
        """
        self.model = model
        self.config = model.config
        self.max_norm = max_norm
        self.device = model.embedding.weight.device
        self.names = [name for name in dict(model.named_parameters()) if name != "embedding.weight"]
        self.parameters = [model.get_parameter(name) for name in self.names]
        self.flat = _flattened(self.parameters)
        self.words = model.embedding.weight.detach()  # (V, E)
        self.trains_words = model.embedding.weight.requires_grad
        if max_norm is not None and not self.trains_words:
            self.words.copy_(clip_row_norms(self.words, max_norm))
        table = self.words if self.trains_words else None
        self.optimizer = Optimizer(self.config, self.flat, table)
        self.average = (
            None
            if self.config.ema_decay is None
            else ExponentialMovingAverage(self.config.ema_decay, self.flat, table, by_row=self.optimizer.by_row)
        )

    def step(self, batch: Batch, rate: float, dropout: Dropout | None) -> Tensor:
        """Learn from one batch.

        Args:
            batch: on the model's device.
            rate: the learning rate.
            dropout: draws the masks; None to drop nothing.

        Returns:
            float (), on the device: the mean loss of the batch before the step.
        """
        vectors = self._look_up(batch.rows)
        with autocast(self.config.precision, self.device.type):
            logits = self.model.forward_batch(vectors, batch.tokens, batch.lengths, dropout)
        logits = logits if logits.dtype == self.flat.dtype else logits.to(self.flat.dtype)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.config.label_smoothing)
        wanted = [*self.parameters, vectors] if self.trains_words else self.parameters
        slopes = torch.autograd.grad(loss, wanted)
        flat_slope = torch.cat([slope.reshape(-1) for slope in slopes[: len(self.parameters)]])
        word_slopes = slopes[-1] if self.trains_words else None
        if word_slopes is not None:
            word_slopes[0] = 0  # `<pad>` stays zero, whatever embedding dropout let through it
        self._clip(flat_slope, word_slopes)
        self.optimizer.step(rate, flat_slope, batch.rows, vectors.detach(), word_slopes)
        if self.average:
            self.average.update(batch.rows)
        return loss.detach()

    def _look_up(self, rows: Tensor) -> Tensor:
        """float (U, E): the vectors of these words, shortened where they are too long, as a leaf for autograd."""
        if self.average:
            self.average.catch_up(rows)
        vectors: Tensor = self.words.index_select(0, rows)
        if self.max_norm is not None and self.trains_words:
            vectors = clip_row_norms(vectors, self.max_norm)  # the optimizer's step starts from them
        return vectors.requires_grad_(self.trains_words)

    def _clip(self, *slopes: Tensor | None) -> None:
        """Scale gradients down to a common norm of at most `clip_norm`, as `torch.nn.utils.clip_grad_norm_` does."""
        if self.config.clip_norm is None:
            return
        present = [slope for slope in slopes if slope is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(slope) for slope in present]))
        factor = torch.clamp(self.config.clip_norm / (norm + 1e-6), max=1)
        for slope in present:
            slope.mul_(factor)

    def evaluation_weights(self) -> dict[str, Tensor]:
        """The weights to judge and keep, by the model's names: averaged if they are to be, word vectors shortened.

        They share memory with the learner where nothing had to be computed.
        """
        flat, words = self.flat, self.words
        if self.average:
            flat, averaged = self.average.averaged()
            words = words if averaged is None else averaged
        if self.max_norm is not None and self.trains_words:
            words = clip_row_norms(words, self.max_norm)
        return {"embedding.weight": words, **dict(zip(self.names, _views(flat, self.parameters), strict=True))}

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name, not copied; frozen word vectors are the corpus's."""
        named = {"flat": self.flat} | ({"words": self.words} if self.trains_words else {})
        named |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors().items()}
        if self.average:
            named |= {f"average.{name}": tensor for name, tensor in self.average.tensors().items()}
        return named

    def load_state(self, tensors: Mapping[str, Tensor], step_count: int) -> None:
        """Go on from `tensors` of an equal learner after `step_count` steps."""
        for name, tensor in self.state_tensors().items():
            tensor.copy_(tensors[name])
        self.optimizer.step_count = step_count
        if self.average:
            self.average.step_count = step_count


def make_learner(config: TrialConfig, corpus: Corpus, device: str) -> Learner:
    """A learner before its first step. Frozen pretrained vectors on the CPU stay where the corpus has them."""
    vectors = None if corpus.vectors is None else as_tensor(corpus.vectors, copy=not config.freeze_embedding)
    model = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes), vectors)
    model.initialize(seeded_generator(config.seed, "weights"))
    return Learner(model.to(device), max_norm=config.embedding_max_norm if vectors is None else None)


def clip_row_norms(vectors: Tensor, max_norm: float) -> Tensor:
    """Shorten the rows of (U, E) that are longer than `max_norm`, by the rule of `torch.nn.Embedding`."""
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors * torch.where(norms > max_norm, max_norm / (norms + 1e-7), 1)


def _flattened(parameters: list[torch.nn.Parameter]) -> Tensor:
    """Move parameters into one vector (P,) and make them views of it."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    for parameter, view in zip(parameters, _views(flat, parameters), strict=True):
        parameter.data = view
    return flat


def _views(flat: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """The pieces of a flat vector (P,) in the shapes of the parameters."""
    pieces = torch.split_with_sizes(flat, [parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
