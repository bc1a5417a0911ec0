"""The sentences of a batch, and its arrays."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import TrialConfig
from core.data.corpus import TRAIN
from core.nn.seeding import seeded_generator
from core.training.batching import (
    Batch,
    CpuBatchSource,
    GpuBatchSource,
    batch_source,
    epoch_batches,
    length_sorted_batches,
    shuffled_batches,
)
from tests.support.corpora import tiny_corpus


def lengths(count: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 60, count)


def test_every_sentence_comes_once_an_epoch() -> None:
    batches = shuffled_batches(lengths(), 50, seeded_generator(1, "order"))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))


@pytest.mark.parametrize(("count", "sizes"), [(1000, [50] * 20), (1001, [47] * 7 + [48] * 14), (7, [7])])
def test_batches_have_the_same_size_so_that_each_sentence_has_the_same_weight(count: int, sizes: list[int]) -> None:
    """A short last batch always held the longest sentences."""
    assert sorted(len(batch) for batch in shuffled_batches(lengths(count), 50, seeded_generator(1, "order"))) == sizes


def test_padding_is_not_worth_naming() -> None:
    long = lengths(8000)
    padded = sum(long[batch].max() * len(batch) for batch in shuffled_batches(long, 50, seeded_generator(1, "order")))
    assert padded < 1.01 * long.sum()


def test_company_and_order_change_from_epoch_to_epoch() -> None:
    first, second = (shuffled_batches(lengths(), 50, seeded_generator(1, "order", epoch)) for epoch in (1, 2))
    companies = [{frozenset(batch.tolist()) for batch in batches} for batches in (first, second)]
    assert not companies[0] & companies[1]
    means = [lengths()[batch].mean() for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5  # short and long ones are mixed


def epochs_of(sentences: int, epoch_sentences: int | None, count: int) -> list[list[list[int]]]:
    """The batches of some epochs, with 50 sentences a batch."""
    config = TrialConfig(batch_size=50, epoch_sentences=epoch_sentences, seed=3)
    epochs = (epoch_batches(lengths(sentences), config, epoch) for epoch in range(1, count + 1))
    return [[batch.tolist() for batch in epoch] for epoch in epochs]


def test_an_epoch_without_a_length_is_a_pass() -> None:
    for number, epoch in enumerate(epochs_of(1001, None, 3), 1):
        expected = shuffled_batches(lengths(1001), 50, seeded_generator(3, "order", number))
        assert epoch == [batch.tolist() for batch in expected]
    assert epochs_of(1001, 1001, 3) == epochs_of(1001, None, 3)


@pytest.mark.parametrize("epoch_sentences", [40, 300, 999, 1000, 1500, 2000, 2700])
def test_epochs_of_any_length_continue_in_the_same_shuffle(epoch_sentences: int) -> None:
    epochs = epochs_of(1000, epoch_sentences, 12)
    assert {len(epoch) for epoch in epochs} == {-(-epoch_sentences // 50)}
    batches = [batch for epoch in epochs for batch in epoch]
    passes = [batch for each in epochs_of(1000, None, 40) for batch in each]
    assert batches == passes[: len(batches)]


def test_an_epoch_has_its_sentences_whatever_the_size_of_the_last_batch() -> None:
    """Batches of 1,001 sentences have 47 or 48, so an epoch of 500 sentences needs eleven of them."""
    for epoch in epochs_of(1001, 500, 8):
        assert 500 <= sum(map(len, epoch)) < 550
    assert [len(epoch) for epoch in epochs_of(1001, 2002, 2)] == [42, 42]


def test_batches_of_bounded_size_hold_every_sentence_longest_first() -> None:
    batches = list(length_sorted_batches(lengths(), 500))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert all(lengths()[batch].max() * len(batch) <= 500 for batch in batches)
    firsts = [lengths()[batch].max() for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


def test_a_sentence_longer_than_the_bound_makes_a_batch_of_its_own() -> None:
    assert [batch.tolist() for batch in length_sorted_batches(np.array([3, 900, 2]), 10)] == [[1], [0, 2]]


def test_a_batch_holds_its_sentences_words_lengths_and_labels() -> None:
    corpus = tiny_corpus()
    sentences = corpus.indices(TRAIN)[:9]
    batch = CpuBatchSource(corpus).batch(sentences)
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
    rows = CpuBatchSource(corpus).batch(alike).rows
    assert rows[0] == 0
    assert rows.tolist() == sorted(set(rows.tolist()))


def alike(left: Batch, right: Batch) -> bool:
    pairs = [(getattr(left, name), getattr(right, name)) for name in Batch.__slots__]
    return all(torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other for one, other in pairs)


def test_targets_come_with_their_sentences() -> None:
    targets = np.random.default_rng(0).dirichlet([1, 1], 120).astype(np.float32)
    corpus = dataclasses.replace(tiny_corpus(), targets=targets)
    chosen = corpus.indices(TRAIN)[[5, 2, 9]]
    found = CpuBatchSource(corpus).batch(chosen)
    assert found.targets is not None
    assert found.targets.tolist() == targets[chosen].tolist()
    assert alike(GpuBatchSource(corpus, "cpu").batch(chosen), found)


def test_words_that_no_step_changes_are_the_last_rows_of_a_batch() -> None:
    corpus = dataclasses.replace(tiny_corpus(), frozen_words=30)  # of 40
    chosen = corpus.indices(TRAIN)[:9]
    found = CpuBatchSource(corpus).batch(chosen)
    assert found.trained_rows == int((found.rows < 10).sum()) < len(found.rows)
    assert alike(GpuBatchSource(corpus, "cpu").batch(chosen), found)


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(tiny_corpus().labels) - 1), min_size=1, max_size=20))
def test_any_choice_of_sentences_gives_the_batch_of_the_cpu(places: list[int]) -> None:
    """Also one sentence alone, the last of the corpus, and the same one twice."""
    corpus, chosen = tiny_corpus(), np.array(places)
    assert alike(GpuBatchSource(corpus, "cpu").batch(chosen), CpuBatchSource(corpus).batch(chosen))


def test_the_corpus_is_copied_once_and_then_only_places_move(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []

    def counted(array: np.ndarray, device: str) -> torch.Tensor:
        moved.append(len(array))
        return torch.from_numpy(array.astype(np.int64))

    monkeypatch.setattr("core.training.batching._to_device", counted)
    corpus = tiny_corpus()
    resident = GpuBatchSource(corpus, "cpu")
    assert moved == [len(corpus.tokens), len(corpus.offsets), len(corpus.labels)]
    resident.batch(corpus.indices(TRAIN)[:5])
    assert moved[3:] == [5]


def test_a_cpu_reads_the_corpus_where_it_is() -> None:
    assert isinstance(batch_source(tiny_corpus(), "cpu"), CpuBatchSource)
