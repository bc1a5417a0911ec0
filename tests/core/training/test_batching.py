"""Which sentences make a batch, and what it holds."""

import numpy as np
import pytest
import torch

from core.data.corpus import TRAIN
from core.nn.seeding import seeded
from core.training.batching import by_length, gather, shuffled
from tests.support.corpora import tiny_corpus


def lengths(count: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 60, count)


def test_every_sentence_comes_once_an_epoch() -> None:
    batches = shuffled(lengths(), 50, seeded(1, "order"))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))


@pytest.mark.parametrize(("count", "sizes"), [(1000, [50] * 20), (1001, [1, *[50] * 20]), (7, [7])])
def test_every_batch_but_one_is_full(count: int, sizes: list[int]) -> None:
    assert sorted(len(batch) for batch in shuffled(lengths(count), 50, seeded(1, "order"))) == sizes


def test_padding_is_not_worth_naming() -> None:
    long = lengths(8000)
    padded = sum(long[batch].max() * len(batch) for batch in shuffled(long, 50, seeded(1, "order")))
    assert padded < 1.01 * long.sum()


def test_company_and_order_change_from_epoch_to_epoch() -> None:
    first, second = (shuffled(lengths(), 50, seeded(1, "order", epoch)) for epoch in (1, 2))
    companies = [{frozenset(batch.tolist()) for batch in batches} for batches in (first, second)]
    assert not companies[0] & companies[1]
    means = [lengths()[batch].mean() for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5  # short and long ones are mixed


def test_the_same_generator_gives_the_same_batches() -> None:
    first, second = (shuffled(lengths(), 50, seeded(1, "order")) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_batches_of_bounded_size_hold_every_sentence_longest_first() -> None:
    batches = list(by_length(lengths(), 500))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert all(lengths()[batch].max() * len(batch) <= 500 for batch in batches)
    firsts = [lengths()[batch].max() for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


def test_a_sentence_longer_than_the_bound_makes_a_batch_of_its_own() -> None:
    assert [batch.tolist() for batch in by_length(np.array([3, 900, 2]), 10)] == [[1], [0, 2]]


def test_a_batch_holds_its_sentences_words_lengths_and_labels() -> None:
    corpus = tiny_corpus()
    sentences = corpus.indices(TRAIN)[:9]
    batch = gather(corpus, sentences)
    words = batch.rows[batch.tokens]  # (T, B)
    for column, sentence in enumerate(sentences):
        expected = corpus.tokens[corpus.offsets[sentence] : corpus.offsets[sentence + 1]]
        assert words[: len(expected), column].tolist() == expected.tolist()
        assert torch.count_nonzero(words[len(expected) :, column]) == 0
    assert batch.lengths.tolist() == corpus.lengths()[sentences].tolist()
    assert len(batch.tokens) == max(batch.lengths)
    assert batch.labels.tolist() == corpus.labels[sentences].tolist()


def test_a_batchs_words_are_distinct_and_begin_with_padding() -> None:
    """Also where all sentences are of one length and nothing is padded."""
    corpus = tiny_corpus()
    alike = np.flatnonzero(corpus.lengths() == corpus.lengths()[0])
    rows = gather(corpus, alike).rows
    assert rows[0] == 0
    assert rows.tolist() == sorted(set(rows.tolist()))
