"""Batches of similar lengths: which sentences make a step, and their word ids without padding worth naming."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.corpus import Corpus


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Batch:
    """One step's sentences, time first, as the recurrent layers want them."""

    rows: Tensor
    """int64 (U,) the distinct word ids, ascending; row 0 (`<pad>`) is among them only where there is padding."""
    tokens: Tensor
    """int64 (T, B) places in `rows`: `rows[tokens]` are the word ids, `<pad>` after a sentence's end."""
    lengths: Tensor
    """int64 (B,) each in 1..T, and one of them is T."""
    labels: Tensor
    """int64 (B,)."""


def seeded(seed: int, purpose: str, epoch: int, device: str = "cpu") -> torch.Generator:
    """A generator that depends on nothing but its arguments: two purposes or epochs share no stream."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def shuffled(lengths: NDArray[np.int64], batch_size: int, generator: torch.Generator) -> list[NDArray[np.int64]]:
    """Cut sentences into batches of nearly equal lengths, in random order and company.

    Args:
        lengths: (n,) tokens in each sentence.
        batch_size: sentences in every batch but one.
        generator: source of the order; on the CPU.

    Returns:
        Positions in `lengths`, each in exactly one batch.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def by_length(lengths: NDArray[np.int64], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Cut sentences, longest first, into batches that hold at most `max_tokens` with padding (or one sentence)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, max_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def gather(corpus: Corpus, sentences: NDArray[np.int64], device: str = "cpu") -> Batch:
    """Read the words of some sentences.

    Args:
        corpus: where they stand.
        sentences: (B,) their places in the corpus, at least one.
        device: where the batch goes.
    """
    starts, ends = corpus.offsets[sentences], corpus.offsets[sentences + 1]
    lengths = ends - starts
    steps = np.arange(lengths.max())[:, None]  # (T, 1)
    places = np.minimum(starts + steps, len(corpus.tokens) - 1)  # (T, B)
    words = np.where(steps < lengths, corpus.tokens[places], 0)
    rows, tokens = np.unique(words, return_inverse=True)
    return Batch(
        rows=torch.from_numpy(rows.astype(np.int64)).to(device),
        tokens=torch.from_numpy(tokens.reshape(words.shape).astype(np.int64)).to(device),
        lengths=torch.from_numpy(lengths).to(device),
        labels=torch.from_numpy(corpus.labels[sentences]).to(device),
    )
