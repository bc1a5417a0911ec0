"""Corpora and files that need no download, or only the rated snippets."""

import csv
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import Corpus, Dataset, ReadOptions
from core.data.datasets import resolve_dataset
from core.io.cache import default_dir


def tiny_corpus(
    *,
    n_sentences: int = 120,
    n_words: int = 40,
    dim: int = 8,
    n_classes: int = 2,
    pretrained: bool = True,
    seed: int = 0,
) -> Corpus:
    """Return a learnable corpus: each class prefers its own words; 70/20/10 split."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_sentences) % n_classes
    lengths = rng.integers(1, 15, n_sentences)
    sentences = []
    for label, length in zip(labels, lengths, strict=True):
        own = rng.random(length) < 0.5
        words = rng.integers(2, n_words, length)
        words[own] = 2 + label
        sentences.append(words)
    vectors = rng.normal(0, 0.5, (n_words, dim)).astype(np.float32)
    vectors[0] = 0
    return Corpus(
        tokens=np.concatenate(sentences).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=labels.astype(np.int64),
        split=rng.choice(3, n_sentences, p=[0.7, 0.2, 0.1]).astype(np.uint8),
        words=("<pad>", "<unk>", *(f"w{i}" for i in range(2, n_words))),
        vectors=vectors if pretrained else None,
        embedding_dim=dim,
        classes=tuple(f"class {c}" for c in range(n_classes)),
        fingerprint="0" * 64,
        source={"dataset": "tiny", "tokenizer": "none"},
    )


def part_of_corpus(corpus: Corpus, sentences: NDArray[np.int64]) -> Corpus:
    """Return a corpus of some sentences of another, with a vocabulary of the words in them."""
    lengths = corpus.lengths()[sentences]
    tokens = np.concatenate([corpus.tokens[corpus.offsets[i] : corpus.offsets[i + 1]] for i in sentences])
    words = np.union1d(tokens, [0, 1])  # <pad> and <unk> stay first
    return dataclasses.replace(
        corpus,
        tokens=np.searchsorted(words, tokens).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=corpus.labels[sentences],
        split=corpus.split[sentences],
        words=tuple(corpus.words[i] for i in words),
        frozen_words=int((words >= corpus.trained_words).sum()),
        vectors=None if corpus.vectors is None else np.array(corpus.vectors[words]),
        fingerprint=f"{corpus.fingerprint}, {len(sentences)} sentences",
    )


def snippets() -> Dataset:
    """Return the rated snippets, which pip fetches once."""
    return resolve_dataset("snippets", ReadOptions(), default_dir()).read()


def part_of_snippets(path: Path, sentences: int) -> None:
    """Write a CSV of this many rated snippets, spread evenly over the whole file."""
    dataset = snippets()
    step = len(dataset.texts) // sentences
    rows = list(zip(dataset.texts, dataset.labels.tolist(), strict=True))[::step][:sentences]
    write_csv(path, ("text", "label"), rows)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(itertools.chain([columns], rows))
