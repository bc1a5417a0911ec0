"""The plain baseline: TF-IDF of words and word pairs with logistic regression, for comparison with a search.

It needs the corpus' word ids only, so it sees the same tokens as the LSTM, in any language. The features, their
weighting and the classifier are scikit-learn's: `TfidfVectorizer(ngram_range=(1, 2))` and `LogisticRegression(C=10)`.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import TRAIN, VAL, Corpus
from core.data.vocabulary import UNK_ID
from core.log_odds import LogOdds, round_log_odds, to_probabilities
from core.metrics import Metric, constant_value

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_FEATURES = 2**18
"""Number of most frequent n-grams that are used; fewer with more than 8 classes, because of MAX_WEIGHTS."""
MAX_WEIGHTS = 2**21
"""Maximum number of coefficients; L-BFGS needs 200 bytes for each."""
MAX_WORK = 2**24
"""Maximum number of training tokens times classes, to which the time of the fit is proportional: about a minute."""
MIN_TOKENS = 2**18
"""Number of training tokens that are used with any number of classes."""
SENTENCES_AT_ONCE = 2**16
"""Number of sentences whose n-grams are counted at once: those of a million sentences take 400 MB."""
MAX_STEPS = 100
"""Maximum number of steps of L-BFGS: scikit-learn's default; TREC takes 94."""
C = 10.0
"""Inverse strength of the L2 penalty: better on TREC than scikit-learn's default of 1."""
FIT_BYTES, FIT_BYTES_A_TOKEN = 250_000_000, 150
"""Memory in bytes of a process that fits a baseline: its imports, and the addition per training token used."""
EVALUATION_BYTES = 40
"""Addition in bytes per validation sentence and class: the logits, and their rounding in float64."""


def used_tokens(n_tokens: int, n_classes: int) -> int:
    """Return the maximum number of training tokens that are used, of `n_tokens`."""
    return min(n_tokens, max(MIN_TOKENS, MAX_WORK // n_classes))


def max_fit_bytes(n_tokens: int, n_validation: int, n_classes: int) -> int:
    """Return an upper bound of the memory of a process that fits a baseline and evaluates it.

    Args:
        n_tokens: Number of training tokens.
        n_validation: Number of validation sentences.
        n_classes: Number of classes.
    """
    fit = FIT_BYTES_A_TOKEN * used_tokens(n_tokens, n_classes)
    return FIT_BYTES + fit + EVALUATION_BYTES * n_validation * n_classes


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PlainBaseline:
    """A fitted baseline with F features for C classes, as plain arrays."""

    ngrams: NDArray[np.int32]
    """(F, 2) ids of the words of each feature, in ascending order; the second one is 0 for a single word."""
    idf: NDArray[np.float32]
    """(F,) inverse document frequency."""
    coefficients: NDArray[np.float32]
    """(C, F)."""
    intercepts: NDArray[np.float32]
    """(C,); minus infinity for a class without a training sentence."""

    def fits(self, n_words: int) -> bool:
        """Return whether the features are in order, and of the words of a vocabulary of `n_words`."""
        first, second = self.ngrams.T
        known = (first > UNK_ID) & (first < n_words) & ((second > UNK_ID) | (second == 0)) & (second < n_words)
        return bool(known.all() and (np.diff(_pack(first, second)) > 0).all())

    def logits(self, tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the logits (n, C) of the sentences tokens[offsets[i]:offsets[i + 1]]. Does not load scipy."""
        n_sentences = len(offsets) - 1
        counts = _count(tokens, offsets, _pack(*self.ngrams.T))
        values = _tf_idf(counts, self.idf, n_sentences)
        found = [
            np.bincount(counts.rows, values * each[counts.columns], minlength=n_sentences) for each in self.coefficients
        ]
        return np.asarray(np.stack(found, axis=1) + self.intercepts, np.float64)

    def log_odds(self, tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> LogOdds:
        """Return the rounded log-odds (n, C - 1) of the sentences tokens[offsets[i]:offsets[i + 1]]."""
        return round_log_odds(self.logits(tokens, offsets))


def _used_sentences(corpus: Corpus, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those that a fit uses: an evenly spaced part of each class if they have too many tokens (MAX_WORK)."""
    n_tokens = int(corpus.lengths()[sentences].sum())
    # Evenly spaced in the file, they would miss small classes, and classes that the file lists in turn.
    order = np.argsort(corpus.labels[sentences], kind="stable")
    by_class = corpus.labels[sentences[order]]
    place = np.arange(len(order)) - np.searchsorted(by_class, by_class)  # of each sentence within its class
    return np.sort(sentences[order[place % -(-n_tokens // used_tokens(n_tokens, len(corpus.classes))) == 0]])


def train_part(corpus: Corpus) -> dict[str, int]:
    """Return `train_sentences`, the number that a fit uses, if that is a part of the train split; else nothing.

    With validation in folds, they are those of the first fold.
    """
    member = corpus.fold_corpora()[0]
    train = member.indices(TRAIN)
    used = len(_used_sentences(member, train))
    return {"train_sentences": used} if used < len(train) else {}


def fit_plain_baseline(corpus: Corpus, sentences: NDArray[np.int64]) -> PlainBaseline:
    """Fit the baseline; on one machine, the same arguments give bit-identical results.

    Args:
        corpus: The data.
        sentences: (n,) indices of the training sentences, ascending. Of large data, a part of each class is used.
    """
    from scipy.sparse import csr_matrix

    n_classes = len(corpus.classes)
    sentences = _used_sentences(corpus, sentences)
    tokens, offsets = tokens_of(corpus, sentences)
    keys, frequencies = np.unique(_ngrams(tokens, offsets)[0], return_counts=True)
    most = np.argsort(-frequencies, kind="stable")[: min(MAX_FEATURES, MAX_WEIGHTS // n_classes)]
    keys = keys[np.sort(most)]
    counts = _count(tokens, offsets, keys)
    found_in = np.bincount(counts.columns, minlength=len(keys))  # (F,) sentences
    idf = (np.log((1 + len(sentences)) / (1 + found_in)) + 1).astype(np.float32)
    coefficients = np.zeros((n_classes, len(keys)), np.float32)
    intercepts = np.full(n_classes, -np.inf, np.float32)
    labels = corpus.labels[sentences]
    present = np.unique(labels)
    cells = (_tf_idf(counts, idf, len(sentences)), (counts.rows, counts.columns))
    features = csr_matrix(cells, shape=(len(sentences), len(keys)))
    coefficients[present], intercepts[present] = _regress(features, labels)
    ngrams = np.stack([keys >> 32, keys & (2**32 - 1)], axis=1).astype(np.int32)
    return PlainBaseline(ngrams=ngrams, idf=idf, coefficients=coefficients, intercepts=intercepts)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PlainResult:
    """Results of a baseline on the n sentences of a split."""

    value: float
    """Value of the metric, in its own direction; NaN if it is undefined on these labels."""
    predictions: NDArray[np.int64]
    """(n,)."""
    correct: NDArray[np.bool_]
    """(n,) whether each prediction is right."""
    log_odds: LogOdds
    """(n, C - 1)."""


def evaluate_plain(baseline: PlainBaseline, corpus: Corpus, split: int, metric: Metric) -> PlainResult:
    """Evaluate a baseline on a split, which has at least one sentence."""
    sentences = corpus.indices(split)
    return _plain_result(baseline.log_odds(*tokens_of(corpus, sentences)), corpus.labels[sentences], metric)


def validate_plain(corpus: Corpus, metric: Metric) -> PlainResult:
    """Evaluate the validation sentences by a baseline that did not see them: with folds, one for each fold."""
    found, places = [], []
    for member in corpus.fold_corpora():
        baseline, sentences = fit_plain_baseline(member, member.indices(TRAIN)), member.indices(VAL)
        found.append(baseline.log_odds(*tokens_of(member, sentences)))
        places.append(sentences)
    order = np.argsort(np.concatenate(places))
    return _plain_result(np.concatenate(found)[order], corpus.labels[corpus.validation()], metric)


def majority_value(corpus: Corpus, sentences: NDArray[np.int64], metric: Metric) -> float:
    """Return `constant_value` for the classes of the train split."""
    counts = np.bincount(corpus.labels[corpus.indices(TRAIN)], minlength=len(corpus.classes))
    return constant_value(metric, corpus.labels[sentences], counts / counts.sum())


def _plain_result(log_odds: LogOdds, labels: NDArray[np.int64], metric: Metric) -> PlainResult:
    probabilities = to_probabilities(log_odds)
    predictions = probabilities.argmax(axis=1)
    value = metric.value(labels, predictions, probabilities, probabilities.shape[1])
    return PlainResult(value=value, predictions=predictions, correct=predictions == labels, log_odds=log_odds)


def tokens_of(corpus: Corpus, sentences: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the word ids of some sentences end to end, and their offsets as in `Corpus`.

    Args:
        corpus: The data.
        sentences: (n,) indices, ascending.
    """
    lengths = corpus.lengths()
    chosen = np.zeros(len(lengths), dtype=bool)
    chosen[sentences] = True
    return corpus.tokens[np.repeat(chosen, lengths)], np.concatenate([[0], np.cumsum(lengths[sentences])])


def _regress(features: "csr_matrix", labels: NDArray[np.int64]) -> tuple[Any, Any]:
    """Return the coefficients (C, F) and the intercepts (C,) of the C classes that occur in the labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    if labels.min() == labels.max() or not features.shape[1]:
        classes, counts = np.unique(labels, return_counts=True)
        return np.zeros((len(classes), features.shape[1])), np.log(counts / len(labels))
    with threadpool_limits(1), warnings.catch_warnings():  # with several threads, results are not bit-identical
        warnings.simplefilter("ignore", ConvergenceWarning)  # MAX_STEPS limits the time; the last step is used
        model = LogisticRegression(C=C, max_iter=MAX_STEPS).fit(features, labels)
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    return np.stack([0 * model.coef_[0], model.coef_[0]]), [0, model.intercept_[0]]


def _pack(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    return first.astype(np.int64) << 32 | second


def _ngrams(tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return each word and each pair of neighbours as one number, and the sentence that it is in."""
    rows = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
    known = tokens != UNK_ID  # an empty training sentence contains it, so it would get a weight
    pair = known[:-1] & known[1:] & (rows[:-1] == rows[1:])
    keys = [_pack(tokens[known], np.zeros(1, np.int64)), _pack(tokens[:-1][pair], tokens[1:][pair])]
    return np.concatenate(keys), np.concatenate([rows[known], rows[:-1][pair]])


class _Counts(NamedTuple):
    """How often sentences have features, for each pair with a count above 0; in the order of sentence, then feature."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    counts: NDArray[np.int32]


def _count(tokens: NDArray[np.int32], offsets: NDArray[np.int64], features: NDArray[np.int64]) -> _Counts:
    """Count F features, which are ascending results of `_ngrams`."""
    parts = []
    for start in range(0, max(1, len(offsets) - 1), SENTENCES_AT_ONCE):
        here = offsets[start : start + SENTENCES_AT_ONCE + 1]
        keys, rows = _ngrams(tokens[here[0] : here[-1]], here - here[0])
        columns = np.searchsorted(features, keys)
        known = features[np.minimum(columns, len(features) - 1)] == keys if len(features) else np.zeros(len(keys), bool)
        cells, counts = np.unique(rows[known].astype(np.int64) * len(features) + columns[known], return_counts=True)
        in_block, found = np.divmod(cells, max(1, len(features)))
        parts.append([each.astype(np.int32) for each in (start + in_block, found, counts)])
    return _Counts(*map(np.concatenate, zip(*parts, strict=True)))


def _tf_idf(counts: _Counts, idf: NDArray[np.float32], n_sentences: int) -> NDArray[np.float64]:
    """Weight the counts by idf, and scale each sentence to length 1."""
    weighted = counts.counts * idf[counts.columns].astype(np.float64)
    lengths = np.sqrt(np.bincount(counts.rows, weighted * weighted, minlength=n_sentences))
    return np.asarray(weighted / lengths[counts.rows])
