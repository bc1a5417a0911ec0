"""Corpus: one dataset, tokenised, split and with its word vectors, ready for training."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = 0, 1, 2
"""Codes in `Corpus.split`."""
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
SPLIT_NAMES = tuple(SPLITS)
"""Name of each split, by code."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Corpus:
    """A dataset as arrays, which may be read-only and memory-mapped: never write to them."""

    tokens: NDArray[np.int32]
    """(n_tokens,) word ids of all sentences, end to end; each in 1..len(words) - 1 (0 is `<pad>` and never occurs)."""
    offsets: NDArray[np.int64]
    """(n_sentences + 1,) sentence i is tokens[offsets[i]:offsets[i + 1]], never empty."""
    labels: NDArray[np.int64]
    """(n_sentences,) each in 0..len(classes) - 1."""
    split: NDArray[np.uint8]
    """(n_sentences,) TRAIN, VAL or TEST."""
    words: tuple[str, ...] = dataclasses.field(repr=False)
    """(V,) the vocabulary: words[0] is `<pad>`, words[1] is `<unk>`, then the words of the train split, then
    `frozen_words` more words of the file of word vectors."""
    vectors: NDArray[np.float32] | None
    """(V, embedding_dim) pretrained, row 0 all zero; None if the model draws its own."""
    embedding_dim: int
    """Width of a word vector."""
    classes: tuple[str, ...]
    """Class names in label order."""
    fingerprint: str
    """The cache key: sha256 (hex) of everything that shapes the arrays above."""
    source: Mapping[str, Any]
    """Origin of the corpus, for JSON: dataset, licence, vectors, split rule and seed, tokenizer, audit."""
    frozen_words: int = 0
    """Number of words at the end of `words` that the train split does not have. No training changes their vectors."""
    folds: NDArray[np.uint8] | None = None
    """(n_sentences,) fold of each TRAIN sentence, from 0, if the training is validated in folds: the VAL split is
    empty, and each fold is evaluated by a model that was trained on the others. None with a validation split."""
    targets: NDArray[np.float32] | None = None
    """(n_sentences, C) the probabilities of the classes that a TRAIN sentence is trained on instead of its label; each
    row has the sum 1, and one-hot rows are labels. None to train on the labels. Evaluation always uses labels."""

    def indices(self, split: int) -> NDArray[np.int64]:
        """Return (n,) the indices of the sentences of one split, ascending."""
        return np.flatnonzero(self.split == split).astype(np.int64)

    def validation(self) -> NDArray[np.int64]:
        """Return (n,) the sentences that a training is validated on, ascending: the VAL split, or with folds TRAIN."""
        return self.indices(VAL if self.folds is None else TRAIN)

    def fold_corpora(self) -> "list[Corpus]":
        """Return the corpora that a trial is trained on in lockstep: itself, or for each fold one that validates on it.

        The arrays are shared, except `split`.
        """
        if self.folds is None:
            return [self]
        count = int(self.folds[self.split == TRAIN].max()) + 1
        splits = [np.where(self.folds == fold, VAL, self.split).astype(np.uint8) for fold in range(count)]
        return [dataclasses.replace(self, split=split, folds=None) for split in splits]

    def class_counts(self) -> NDArray[np.float64]:
        """Return (C,) the number of TRAIN sentences of each class; with `targets` the expected number."""
        sentences = self.indices(TRAIN)
        if self.targets is None:
            return np.bincount(self.labels[sentences], minlength=len(self.classes)).astype(np.float64)
        expected: NDArray[np.float64] = self.targets[sentences].sum(axis=0, dtype=np.float64)
        return expected

    def pass_sentences(self) -> int:
        """Return the number of sentences that one model is trained on: with folds, all folds but the first."""
        return len(self.fold_corpora()[0].indices(TRAIN))

    def epoch_size(self, epoch_sentences: int | None) -> tuple[float, float, float]:
        """Return the number of sentences and tokens that an epoch trains on, and of tokens that it is validated on.

        The numbers are over all members, and means over the epochs if an epoch is not a whole pass.

        Args:
            epoch_sentences: As in core.config.TrialConfig.
        """
        lengths, sentences, train, val = self.lengths(), 0.0, 0.0, 0.0
        for member in self.fold_corpora():
            own = lengths[member.indices(TRAIN)]
            passes = 1 if epoch_sentences is None else epoch_sentences / len(own)
            sentences += passes * len(own)
            train += passes * float(own.sum())
            val += float(lengths[member.indices(VAL)].sum())
        return sentences, train, val

    def test_fingerprint(self) -> str:
        """Return a hash (hex) of the test split: places, labels and numbers of tokens of its sentences."""
        sentences = self.indices(TEST)
        parts = self.labels[sentences], self.lengths()[sentences], sentences
        return hashlib.sha256(b"".join(np.asarray(each, dtype="<i8").tobytes() for each in parts)).hexdigest()[:16]

    @property
    def trained_words(self) -> int:
        """Number of words whose vectors a training may change: the first ones of `words`."""
        return len(self.words) - self.frozen_words

    @property
    def n_bytes(self) -> int:
        """Size of all arrays."""
        arrays = (self.tokens, self.offsets, self.labels, self.split, self.vectors, self.folds, self.targets)
        return sum(each.nbytes for each in arrays if each is not None)

    def lengths(self) -> NDArray[np.int64]:
        """Return (n_sentences,) the number of tokens in each sentence."""
        return np.diff(self.offsets)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """Options for reading a file; the built-in datasets take none."""

    text_column: str | None = None
    """Name of the column; None to find it."""
    label_column: str | None = None
    """Name of the column; None to find it."""
    split_column: str | None = None
    """Name of the column with the split; None if the file has none."""
    encoding: str | None = None
    """Encoding of a text file; None to detect it."""
    probability_columns: str | None = None
    """Names of the columns with the probability of each class, as one row of CSV; None to train on labels."""
    drop_missing: bool = False
    """Whether to leave out the rows without a text or a label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Sentences with labels, in the source's order."""

    texts: list[str]
    labels: NDArray[np.int64]
    """(n,) places in `classes`."""
    classes: tuple[str, ...]
    split: NDArray[np.uint8] | None = None
    """(n,) TRAIN, VAL or TEST by the split column; None without one."""
    targets: NDArray[np.float32] | None = None
    """(n, C) as `Corpus.targets`; None to train on the labels."""
    notes: Mapping[str, Any]
    """Facts found while reading, for JSON: the licence; columns chosen; rows dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSource:
    """A dataset that is found and identified, but not read."""

    inputs: Mapping[str, Any]
    """Everything that decides what `read` returns; part of the cache key."""
    read: Callable[[], Dataset]
