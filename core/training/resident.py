"""Where a training gets its batches from: on a CPU the corpus itself, on a GPU a copy that moves there once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.corpus import Corpus
from core.nn.runtime import is_gpu
from core.training.batching import Batch, gather, padded


class Resident:
    """A corpus in a GPU's memory. A batch costs one copy of its sentences' places, and nothing waits for it."""

    def __init__(self, corpus: Corpus, device: str) -> None:
        self.corpus, self.device = corpus, device
        self.tokens = _moved(corpus.tokens, device)
        self.offsets = _moved(corpus.offsets, device)
        self.labels = _moved(corpus.labels, device)

    def batch(self, sentences: NDArray[np.int64]) -> Batch:
        """What `gather` makes of these sentences, put together on the device.

        The host only counts: how long the longest sentence is and how many words differ, since a kernel whose
        output's size is not known beforehand would make the host wait for it.

        Args:
            sentences: int64 (B,) their places in the corpus, at least one.
        """
        words_here = padded(self.corpus, sentences)  # (T, B)
        n_steps, n_rows = len(words_here), len(np.unique(np.append(0, words_here)))
        places = _moved(sentences, self.device)
        starts = self.offsets[places]
        lengths = self.offsets[places + 1] - starts
        steps = torch.arange(n_steps, device=self.device)[:, None]  # (T, 1)
        inside = (starts + steps).clamp(max=len(self.tokens) - 1)  # (T, B)
        words = torch.where(steps < lengths, self.tokens[inside], 0)
        ordered = torch.cat([words.new_zeros(1), words.flatten()]).sort().values  # (1 + T * B,)
        changes = torch.cat([words.new_zeros(1), (ordered[1:] != ordered[:-1]).long()])
        ranks = changes.cumsum(0)  # of each word among the distinct ones
        rows = ordered[torch.searchsorted(ranks, torch.arange(n_rows, device=self.device))]
        return Batch(rows=rows, tokens=torch.searchsorted(rows, words), lengths=lengths, labels=self.labels[places])


class Reader:
    """The corpus where it is: for a CPU."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def batch(self, sentences: NDArray[np.int64]) -> Batch:
        """`gather` of these sentences."""
        return gather(self.corpus, sentences)


def batches_of(corpus: Corpus, device: str) -> Reader | Resident:
    """The source of batches on a device."""
    return Resident(corpus, device) if is_gpu(device) else Reader(corpus)


def _moved(array: NDArray[np.integer], device: str) -> Tensor:
    """An int64 copy on the device; from pinned memory, so that the host need not wait."""
    tensor = torch.from_numpy(array.astype(np.int64))
    return tensor.pin_memory().to(device, non_blocking=True) if is_gpu(device) else tensor
