"""Lockstep: the learners of one training as a single object.

A training has one learner, or with validation in folds one for each fold. After each epoch, every fold is evaluated by
the learner that was trained on the others. The results of all sentences together are the results of the epoch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.metrics import METRICS
from core.training.batching import CpuBatchSource, GpuBatchSource, batch_source
from core.training.evaluate import Evaluation, evaluate_logits, split_logits
from core.training.learner import Learner, make_learner, train_epoch

WORDS = "embedding.weight"
"""Name of the word vectors in a model."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Member:
    prefix: str
    """Prefix of the tensors' names: `fold0.`; empty without folds."""
    source: CpuBatchSource | GpuBatchSource
    learner: Learner
    steps_per_epoch: int


class Lockstep:
    """The learners of one training. Tensors have the model's names, with folds after `fold0.`, `fold1.`, ..."""

    def __init__(self, config: TrialConfig, corpus: Corpus, device: str) -> None:
        """Create the learners on a device, before the first step."""
        self.config, self.corpus, self.device = config, corpus, device
        self._members = [
            _Member(
                prefix="" if corpus.folds is None else f"fold{number}.",
                source=batch_source(member, device),
                learner=make_learner(config, member, device),
                steps_per_epoch=config.steps_per_epoch(len(member.indices(TRAIN))),
            )
            for number, member in enumerate(corpus.fold_corpora())
        ]

    def train_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Train each learner for an epoch, see core.training.learner.train_epoch.

        Args:
            epoch: Number of the epoch, from 1.
            lr: Called for each step, before the first one, with its fraction of the epoch; returns the learning rate.

        Returns:
            The mean loss per sentence.
        """
        losses, sizes = [], []
        for member in self._members:
            rates = [lr(step / member.steps_per_epoch) for step in range(member.steps_per_epoch)]
            losses.append(train_epoch(member.learner, member.source, epoch, rates.__getitem__))
            sizes.append(len(member.source.corpus.indices(TRAIN)))
        return losses[0] if len(losses) == 1 else float(np.average(losses, weights=sizes))

    def evaluation_weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and save."""
        return self._named(member.learner.evaluation_weights() for member in self._members)

    def evaluate(self, weights: Mapping[str, Tensor]) -> Evaluation:
        """Evaluate weights on `corpus.validation()`."""
        logits, places = [], []
        for member in self._members:
            own = unprefixed(member.prefix, weights)
            logits.append(split_logits(self.config, own, member.source, VAL, self.device))
            places.append(member.source.corpus.indices(VAL))
        order = torch.from_numpy(np.argsort(np.concatenate(places))).to(self.device)
        labels = self.corpus.labels[self.corpus.validation()]
        return evaluate_logits(torch.cat(logits)[order], labels, METRICS[self.config.metric])

    def state_tensors(self) -> dict[str, Tensor]:
        """Return, without a copy, all state of the next step; frozen word vectors are in the corpus."""
        return self._named(member.learner.state_tensors() for member in self._members)

    @property
    def step_counts(self) -> list[int]:
        """Number of steps of each learner so far."""
        return [member.learner.optimizer.step_count for member in self._members]

    def load_state(self, tensors: Mapping[str, Tensor], step_counts: Sequence[int]) -> None:
        """Continue from the tensors and steps of an equal training."""
        for member, count in zip(self._members, step_counts, strict=True):
            member.learner.load_state(unprefixed(member.prefix, tensors), count)

    def words(self) -> dict[str, Tensor]:
        """Return the present word vectors by name, on the CPU."""
        return self._named({WORDS: member.learner.words.cpu()} for member in self._members)

    def _named(self, tensors: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        pairs = zip(self._members, tensors, strict=True)
        return {f"{member.prefix}{name}": tensor for member, own in pairs for name, tensor in own.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
