"""The classifier as a scikit-learn estimator: texts and labels in lists, no files and no search."""

import os
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from core.config import MAX_EMBEDDING_DIM, MAX_THREADS, TrialConfig
from core.data import splits
from core.data.corpus import Corpus
from core.data.load import build_arrays
from core.data.tokenizer import AUTO, choose_tokenizer, count_letters, tokenizer_rule, tokenizer_version
from core.data.vectors import resolve_vectors
from core.data.vocabulary import Vocabulary
from core.errors import check_rules, whole
from core.inference.members import LstmMember
from core.inference.predictor import Predictor, as_texts, load_model
from core.inference.saved_model import ModelParts
from core.io import cache
from core.io.atomic import expand_user
from core.training.loop import train


class SentenceEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train one classifier. A tenth of the texts decides which epoch is used, as the validation split in a search."""

    def __init__(
        self,
        config: TrialConfig | None = None,
        *,
        vectors: str | os.PathLike[str] = "none",
        tokenizer: str = AUTO,
        embedding_dim: int = 100,
        cache_dir: str | os.PathLike[str] | None = None,
        threads: int = 1,
    ) -> None:
        """Store the settings: `config` includes the seed; the others are those of load_corpus and train.

        `vectors` has no `auto` here. `embedding_dim` is the width of random vectors.
        """
        self.config = config
        self.vectors = vectors
        self.tokenizer = tokenizer
        self.embedding_dim = embedding_dim
        self.cache_dir = cache_dir
        self.threads = threads

    def fit(self, X: Sequence[str], y: ArrayLike) -> Self:  # noqa: N803 - scikit-learn's names
        """Train on texts X (n,) and their labels y (n,).

        Raises:
            ValueError: y has another length than X, fewer than two classes, a missing label, or values that are no
                classes, such as 0.5; or it is no list.
            ConfigError: A setting breaks its rule.
            DataError: X is no list of texts, a class has fewer than two different texts, or a file of vectors cannot
                be used.
            TrainingError: The loss is not finite.
            UserError: Vectors cannot be fetched.
        """
        texts = as_texts(X)
        _require_labels(y)
        labels = column_or_1d(y, warn=True)
        check_consistent_length(texts, labels)
        try:
            check_classification_targets(labels)
            classes, places = np.unique(labels, return_inverse=True)
        except TypeError as error:  # such as numbers among texts, which have no order
            raise ValueError(f"y must hold labels of one type, texts or numbers: {error}") from error
        if len(classes) < 2:
            found = f"one class: {classes.tolist()}" if len(classes) else "no labels"
            raise ValueError(f"y must hold at least two classes, got {found}")
        self._check_settings()
        config = self.config or TrialConfig()
        corpus = self._corpus(texts, places.astype(np.int64), tuple(map(str, classes)), config.seed)
        result = train(config, corpus, threads=self.threads)
        member = LstmMember(name="model", weight=1.0, config=config, weights=result.weights)
        parts = ModelParts(
            members=[member],
            vocabulary=Vocabulary(corpus.words),
            classes=corpus.classes,
            embedding_dim=corpus.embedding_dim,
            tokenizer=corpus.source["tokenizer"],
        )
        # Together, at the end: after a fit that fails, the estimator is as it was before.
        self.classes_, self.model_, self.epochs_ = classes, Predictor(parts), result.epochs
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return a fitted estimator that predicts with the model in a folder; `classes_` are its labels, as text.

        `fit` on it trains a new model, with default settings.

        Raises:
            UserError: There is no model at `path`, or it is damaged.
        """
        loaded = cls()
        loaded.model_ = load_model(path, notify=partial(warnings.warn, stacklevel=3))  # names the caller of this method
        loaded.classes_ = np.array(loaded.model_.classes)
        return loaded

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Return probabilities (n, C) of texts X (n,), columns in the order of `classes_`.

        Raises:
            NotFittedError: `fit` has not been called.
            DataError, CorruptionError: As core.inference.predictor.Predictor.predict.
        """
        check_is_fitted(self)
        return self.model_.probabilities(X)

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803
        """Return labels (n,) of texts X (n,).

        Raises:
            NotFittedError, DataError, CorruptionError: As `predict_proba`.
        """
        check_is_fitted(self)
        best = self.model_.log_probabilities(self.model_.encode(X)).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _check_settings(self) -> None:
        folder = self.cache_dir
        check_rules(
            {
                "config": (self.config, "a TrialConfig or None", isinstance(self.config, TrialConfig | None)),
                "vectors": (self.vectors, "a text or a path", isinstance(self.vectors, str | os.PathLike)),
                "tokenizer": tokenizer_rule(self.tokenizer),
                "embedding_dim": whole(self.embedding_dim, 1, MAX_EMBEDDING_DIM),
                "cache_dir": (folder, "a text, a path or None", isinstance(folder, str | os.PathLike | None)),
                "threads": whole(self.threads, 1, MAX_THREADS),
            }
        )

    def _corpus(self, texts: list[str], labels: NDArray[np.int64], classes: tuple[str, ...], seed: int) -> Corpus:
        split = splits.stratified_split(texts, labels, classes, seed, percent=(10, 0))
        folder = cache.default_dir() if self.cache_dir is None else expand_user(os.fspath(self.cache_dir))
        tokenizer = choose_tokenizer(count_letters(texts)) if self.tokenizer == AUTO else self.tokenizer
        table = resolve_vectors(os.fspath(self.vectors), folder, self.embedding_dim)
        arrays, words, frozen, _ = build_arrays(texts, split, table, tokenizer)
        vectors = arrays.pop("vectors", None)
        width = self.embedding_dim if vectors is None else vectors.shape[1]
        source = {"tokenizer": tokenizer_version(tokenizer)}
        return Corpus(
            **arrays, labels=labels, vectors=vectors, embedding_dim=width,
            words=tuple(words), frozen_words=frozen, classes=classes, fingerprint="", source=source,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags


def _require_labels(y: ArrayLike) -> None:
    """Raise ValueError if a label is None, NaN, or the NA of pandas. NumPy would make NaN among texts a text."""
    from pandas import isna

    labels = np.asarray(y, dtype=object)
    missing = np.flatnonzero(isna(labels))
    if labels.ndim and len(missing):
        raise ValueError(f"y has no label at place {missing[0]}; add it, or leave out this text")
