"""The tiny corpus of the tests, which the benchmarks use too, and the same in folds."""

import dataclasses

import numpy as np

from benchmarks.inputs.corpora import tiny_corpus
from core.data.corpus import TRAIN, VAL, Corpus

__all__ = ["in_folds", "tiny_corpus"]


def in_folds(corpus: Corpus, count: int) -> Corpus:
    """Return the corpus with its validation sentences in train, and this many folds of different sizes."""
    split = np.where(corpus.split == VAL, TRAIN, corpus.split).astype(np.uint8)
    places = np.arange(len(split)) % (count + 1) % count
    folds = np.where(split == TRAIN, places, 255).astype(np.uint8)
    return dataclasses.replace(corpus, split=split, folds=folds, fingerprint="in folds")
