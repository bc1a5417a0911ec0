"""Batches of sentences of similar lengths, so that hardly any padding is needed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.runtime import is_gpu
from core.nn.seeding import seeded_generator


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Batch:
    """The sentences of one step, time first, as the recurrent layers read them."""

    rows: Tensor
    """int64 (U,) the distinct word ids, ascending; the first is always 0 (`<pad>`)."""
    tokens: Tensor
    """int64 (T, B) places in `rows`: `rows[tokens]` are the word ids, `<pad>` after a sentence's end."""
    lengths: Tensor
    """int64 (B,) each in 1..T, and one of them is T."""
    labels: Tensor
    """int64 (B,)."""
    trained_rows: int
    """Number of `rows` whose vectors a step may change: the first ones."""
    targets: Tensor | None = None
    """float32 (B, C) as `Corpus.targets`; None if the corpus has none."""


def shuffled_batches(
    lengths: NDArray[np.int64], batch_size: int, generator: torch.Generator
) -> list[NDArray[np.int64]]:
    """Divide sentences into random batches of nearly equal lengths, in random order.

    On MR with 50 sentences per batch, 0.8% is padding (results/LOG.md). The sizes differ by
    at most one sentence: a short last batch would hold the longest sentences in each epoch, and a step on 5 sentences
    gives each of them the weight of 10 others.

    Args:
        lengths: (n,) tokens in each sentence.
        batch_size: Maximum number of sentences in a batch; there are as few batches as possible.
        generator: Generator of the order, on the CPU.

    Returns:
        Positions in `lengths`, each in exactly one batch.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = np.array_split(order, -(-len(order) // batch_size))
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def epoch_batches(lengths: NDArray[np.int64], config: TrialConfig, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch: a segment of the endless sequence of passes over the training split.

    Each pass is shuffled by `shuffled_batches`, in an order that depends on the seed and the pass alone. An epoch may
    be a part of a pass, or longer than one; the next epoch continues where it ended.

    Args:
        lengths: (n,) tokens in each training sentence.
        config: The settings: seed, batch size and sentences in an epoch.
        epoch: Number of the epoch, from 1.

    Returns:
        Positions in `lengths`.
    """
    a_pass, steps = config.steps_per_pass(len(lengths)), config.steps_per_epoch(len(lengths))
    earlier, start = divmod((epoch - 1) * steps, a_pass)
    batches: list[NDArray[np.int64]] = []
    while len(batches) < start + steps:
        earlier += 1
        batches += shuffled_batches(lengths, config.batch_size, seeded_generator(config.seed, "order", earlier))
    return batches[start : start + steps]


def length_sorted_batches(lengths: NDArray[np.int64], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Divide sentences, longest first, into batches of at most `max_tokens` with padding (or one sentence)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, max_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pad_batch(corpus: Corpus, sentences: NDArray[np.int64]) -> NDArray[np.integer]:
    """Return (T, B): the word ids of some sentences, time first, `<pad>` after a sentence's end."""
    starts = corpus.offsets[sentences]
    lengths = corpus.offsets[sentences + 1] - starts
    steps = np.arange(lengths.max())[:, None]  # (T, 1)
    places = np.minimum(starts + steps, len(corpus.tokens) - 1)  # (T, B)
    words: NDArray[np.integer] = np.where(steps < lengths, corpus.tokens[places], 0)
    return words


def _tensor(array: NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(array.astype(np.int64, copy=False))


class GpuBatchSource:
    """A corpus in a GPU's memory: a batch copies only its sentences' indices, and the host does not wait."""

    def __init__(self, corpus: Corpus, device: str) -> None:
        self.corpus, self.device = corpus, device
        self.tokens = _to_device(corpus.tokens, device)
        self.offsets = _to_device(corpus.offsets, device)
        self.labels = _to_device(corpus.labels, device)
        self.targets = None if corpus.targets is None else torch.tensor(corpus.targets, device=device)

    def batch(self, sentences: NDArray[np.int64]) -> Batch:
        """Return what `CpuBatchSource.batch` returns, computed on the device.

        The host counts the steps and the distinct words. Otherwise the host would wait for kernels whose output's size
        is not known in advance.

        Args:
            sentences: int64 (B,) their indices in the corpus, at least one.
        """
        words_here = pad_batch(self.corpus, sentences)  # (T, B)
        distinct = np.unique(np.append(0, words_here))
        n_steps, n_rows = len(words_here), len(distinct)
        places = _to_device(sentences, self.device)
        starts = self.offsets[places]
        lengths = self.offsets[places + 1] - starts
        steps = torch.arange(n_steps, device=self.device)[:, None]  # (T, 1)
        inside = (starts + steps).clamp(max=len(self.tokens) - 1)  # (T, B)
        words = torch.where(steps < lengths, self.tokens[inside], 0)
        ordered = torch.cat([words.new_zeros(1), words.flatten()]).sort().values  # (1 + T * B,)
        changes = torch.cat([words.new_zeros(1), (ordered[1:] != ordered[:-1]).long()])
        ranks = changes.cumsum(0)  # of each word among the distinct ones
        rows = ordered[torch.searchsorted(ranks, torch.arange(n_rows, device=self.device))]
        return Batch(
            rows=rows,
            tokens=torch.searchsorted(rows, words),
            lengths=lengths,
            labels=self.labels[places],
            trained_rows=int(np.searchsorted(distinct, self.corpus.trained_words)),
            targets=None if self.targets is None else self.targets[places],
        )


class CpuBatchSource:
    """A corpus in the host's memory."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def batch(self, sentences: NDArray[np.int64]) -> Batch:
        """Return a batch of some sentences: int64 (B,) their indices in the corpus, at least one."""
        corpus, words = self.corpus, pad_batch(self.corpus, sentences)
        rows, tokens = np.unique(np.append(0, words), return_inverse=True)
        return Batch(
            rows=_tensor(rows),
            tokens=_tensor(tokens[1:].reshape(words.shape)),
            lengths=_tensor(corpus.offsets[sentences + 1] - corpus.offsets[sentences]),
            labels=_tensor(corpus.labels[sentences]),
            trained_rows=int(np.searchsorted(rows, corpus.trained_words)),
            targets=None if corpus.targets is None else torch.from_numpy(corpus.targets[sentences]),
        )


def batch_source(corpus: Corpus, device: str) -> CpuBatchSource | GpuBatchSource:
    """Return the source of batches on a device."""
    return GpuBatchSource(corpus, device) if is_gpu(device) else CpuBatchSource(corpus)


def _to_device(array: NDArray[np.integer], device: str) -> Tensor:
    """Return an int64 copy on the device, made from pinned memory so that the host need not wait."""
    tensor = torch.from_numpy(array.astype(np.int64))
    return tensor.pin_memory().to(device, non_blocking=True) if is_gpu(device) else tensor
