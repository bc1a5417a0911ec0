"""core.plain_baseline: TF-IDF of words and pairs with logistic regression, as scikit-learn defines both."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from core import plain_baseline
from core.data.corpus import TRAIN, VAL, Corpus
from core.log_odds import to_probabilities
from core.metrics import METRICS
from core.plain_baseline import (
    PlainBaseline,
    evaluate_plain,
    fit_plain_baseline,
    max_fit_bytes,
    tokens_of,
    train_part,
    validate_plain,
)
from tests.support.corpora import in_folds, tiny_corpus


def fitted(corpus: Corpus) -> PlainBaseline:
    return fit_plain_baseline(corpus, corpus.indices(TRAIN))


def on_validation(baseline: PlainBaseline, corpus: Corpus) -> np.ndarray:
    return to_probabilities(baseline.log_odds(*tokens_of(corpus, corpus.indices(VAL))))


def as_texts(corpus: Corpus, split: int) -> list[str]:
    ids = np.split(corpus.tokens, corpus.offsets[1:-1])
    return [" ".join(map(str, ids[place])) for place in corpus.indices(split)]


def relabelled(corpus: Corpus, labels: np.ndarray, classes: int) -> Corpus:
    return dataclasses.replace(corpus, labels=labels, classes=tuple(map(str, range(classes))))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn_on_the_same_words(n_classes: int) -> None:
    corpus = tiny_corpus(n_classes=n_classes)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    features = vectorizer.fit_transform(as_texts(corpus, TRAIN))
    model = LogisticRegression(C=10).fit(features, corpus.labels[corpus.indices(TRAIN)])
    expected = model.predict_proba(vectorizer.transform(as_texts(corpus, VAL)))
    np.testing.assert_allclose(on_validation(fitted(corpus), corpus), expected, atol=2e-3)  # it stops at a gradient


@pytest.mark.parametrize("at_once", [1, 7, 84])
def test_bit_identical_with_any_number_of_sentences_counted_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny_corpus(n_classes=3)
    whole = on_validation(fitted(corpus), corpus)
    monkeypatch.setattr(plain_baseline, "SENTENCES_AT_ONCE", at_once)
    np.testing.assert_array_equal(whole, on_validation(fitted(corpus), corpus))


def test_the_memory_of_a_fit_is_bounded_and_that_of_few_tokens_is_small() -> None:
    assert max_fit_bytes(0, 0, 2) == 250_000_000
    assert max_fit_bytes(10**6, 0, 2) == 400_000_000
    assert max_fit_bytes(10**8, 0, 2) == max_fit_bytes(10**9, 0, 2) < 1_600_000_000


def test_the_memory_of_a_fit_includes_the_outputs_of_many_classes() -> None:
    corpus = relabelled(tiny_corpus(), tiny_corpus().labels, 2_000)
    baseline, split = fitted(corpus), corpus.indices(VAL)
    tracemalloc.start()
    evaluate_plain(baseline, corpus, VAL, METRICS["accuracy"])
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max_fit_bytes(0, len(split), 2_000) - max_fit_bytes(0, 0, 2_000) == pytest.approx(found, rel=0.05)


def test_bit_identical_with_any_number_of_threads() -> None:
    corpus = tiny_corpus(n_classes=3)
    with threadpool_limits(2):
        first = on_validation(fitted(corpus), corpus)
    np.testing.assert_array_equal(first, on_validation(fitted(corpus), corpus))


def test_unknown_words_and_their_pairs_count_for_nothing() -> None:
    """An empty training sentence is one unknown word."""
    corpus = tiny_corpus()
    tokens = corpus.tokens.copy()
    tokens[corpus.offsets[:-1][corpus.split == TRAIN][:4]] = 1
    baseline = fitted(dataclasses.replace(corpus, tokens=tokens))
    assert not (baseline.ngrams == 1).any()
    known, unknown = np.array([5], np.int32), np.array([1, 5, 1], np.int32)
    np.testing.assert_array_equal(
        baseline.log_odds(known, np.array([0, 1])), baseline.log_odds(unknown, np.array([0, 3]))
    )


def test_a_sentence_without_a_known_feature_gets_the_intercepts() -> None:
    baseline = fitted(tiny_corpus(n_classes=3))
    found = to_probabilities(baseline.log_odds(np.array([1, 1], np.int32), np.array([0, 1, 2])))
    expected = np.exp(baseline.intercepts) / np.exp(baseline.intercepts).sum()
    np.testing.assert_allclose(found, [expected, expected], rtol=2e-3)


def test_a_class_without_a_training_sentence_is_never_predicted() -> None:
    corpus = relabelled(tiny_corpus(n_classes=2), tiny_corpus(n_classes=2).labels * 2, 4)
    found = on_validation(fitted(corpus), corpus)
    assert (found[:, [1, 3]] < 1e-6).all()  # as little as rounded log-odds can hold
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_a_single_class_in_train_is_always_predicted() -> None:
    corpus = tiny_corpus()
    corpus = relabelled(corpus, np.ones_like(corpus.labels), 2)
    assert (on_validation(fitted(corpus), corpus)[:, 1] > 1 - 1e-6).all()


def test_no_known_word_in_train_gives_the_shares_of_the_classes() -> None:
    corpus = tiny_corpus()
    corpus = dataclasses.replace(corpus, tokens=np.ones_like(corpus.tokens))
    share = corpus.labels[corpus.indices(TRAIN)].mean()
    np.testing.assert_allclose(on_validation(fitted(corpus), corpus)[0], [1 - share, share], rtol=2e-3)


def test_large_data_are_bounded_by_features_and_by_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent features stay, and an evenly spaced part of each class."""
    corpus = tiny_corpus(n_sentences=300)
    whole = fitted(corpus)
    monkeypatch.setattr(plain_baseline, "MAX_WEIGHTS", 20)
    few = fitted(corpus)
    assert few.coefficients.shape == (2, 10)
    assert {(2, 0), (3, 0)} <= set(map(tuple, few.ngrams.tolist()))  # the words that each class prefers
    tokens = int(corpus.lengths()[corpus.indices(TRAIN)].sum())
    monkeypatch.undo()
    monkeypatch.setattr(plain_baseline, "MAX_FEATURES", 7)
    assert fitted(corpus).coefficients.shape == (2, 7)
    monkeypatch.undo()
    monkeypatch.setattr(plain_baseline, "MAX_WORK", 2)
    np.testing.assert_array_equal(fitted(corpus).coefficients, whole.coefficients)  # MIN_TOKENS are always used
    train = corpus.indices(TRAIN)
    part = np.sort(np.concatenate([train[corpus.labels[train] == k][::3] for k in (0, 1)]))
    third = fit_plain_baseline(corpus, part)
    assert train_part(corpus) == {}
    monkeypatch.setattr(plain_baseline, "MIN_TOKENS", int(tokens * 0.4))
    np.testing.assert_array_equal(fitted(corpus).coefficients, third.coefficients)
    assert train_part(corpus) == {"train_sentences": len(part)}


@pytest.mark.parametrize("small", [False, True])
def test_a_part_of_large_data_has_all_classes(monkeypatch: pytest.MonkeyPatch, small: bool) -> None:
    """Although the file lists them in turn, or some have a single sentence."""
    corpus = tiny_corpus(n_sentences=300)
    train = corpus.indices(TRAIN)
    labels = corpus.labels.copy()
    labels[train] = np.maximum(np.arange(len(train)) - len(train) + 3, 0) if small else np.arange(len(train)) % 3
    corpus = relabelled(corpus, labels, 3)
    monkeypatch.setattr(plain_baseline, "MAX_WORK", 3)
    monkeypatch.setattr(plain_baseline, "MIN_TOKENS", int(corpus.lengths()[train].sum() * 0.4))  # every third sentence
    assert np.isfinite(fitted(corpus).intercepts).all()


def test_no_warning_if_the_steps_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_baseline, "MAX_STEPS", 2)
    assert np.isfinite(fitted(tiny_corpus()).intercepts).all()  # pytest would have raised the warning


def test_evaluation_gives_the_metric_of_the_stored_probabilities() -> None:
    corpus = tiny_corpus(n_classes=3)
    labels = corpus.labels[corpus.indices(VAL)]
    found = evaluate_plain(fitted(corpus), corpus, VAL, METRICS["log_loss"])
    probabilities = to_probabilities(found.log_odds)
    assert found.value == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]), abs=1e-6)
    np.testing.assert_array_equal(found.correct, probabilities.argmax(axis=1) == labels)


def test_with_folds_each_sentence_is_predicted_by_a_baseline_that_did_not_see_it() -> None:
    corpus = in_folds(tiny_corpus(n_classes=3), 3)
    found = validate_plain(corpus, METRICS["accuracy"])
    for fold, member in enumerate(corpus.fold_corpora()):
        alone = evaluate_plain(fitted(member), member, VAL, METRICS["accuracy"])
        here = corpus.folds[corpus.validation()] == fold  # type: ignore[index]
        assert np.array_equal(found.log_odds[here], alone.log_odds)
    assert found.value == (found.predictions == corpus.labels[corpus.validation()]).mean()
