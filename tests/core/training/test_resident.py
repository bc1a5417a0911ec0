"""The corpus on a GPU: its batches are those of the CPU. Torch's operations are the same, so a CPU shows it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.corpus import TRAIN, VAL
from core.nn.seeding import seeded
from core.training.batching import Batch, by_length, gather, shuffled
from core.training.resident import Reader, Resident, batches_of
from tests.support.corpora import tiny_corpus


def alike(left: Batch, right: Batch) -> bool:
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in Batch.__slots__)


def test_an_epochs_batches_are_those_of_the_cpu() -> None:
    corpus = tiny_corpus()
    resident, sentences = Resident(corpus, "cpu"), corpus.indices(TRAIN)
    for places in shuffled(corpus.lengths()[sentences], 7, seeded(1, "order")):
        assert alike(resident.batch(sentences[places]), gather(corpus, sentences[places]))


def test_the_batches_of_evaluation_are_those_of_the_cpu() -> None:
    corpus = tiny_corpus()
    resident, sentences = Resident(corpus, "cpu"), corpus.indices(VAL)
    for places in by_length(corpus.lengths()[sentences], 100):
        assert alike(resident.batch(sentences[places]), gather(corpus, sentences[places]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(tiny_corpus().labels) - 1), min_size=1, max_size=20))
def test_any_choice_of_sentences_gives_the_batch_of_the_cpu(places: list[int]) -> None:
    """Also one sentence alone, the last of the corpus, and the same one twice."""
    corpus, chosen = tiny_corpus(), np.array(places)
    assert alike(Resident(corpus, "cpu").batch(chosen), gather(corpus, chosen))


def test_the_corpus_is_copied_once_and_then_only_places_move(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []

    def counted(array: np.ndarray, device: str) -> torch.Tensor:
        moved.append(len(array))
        return torch.from_numpy(array.astype(np.int64))

    monkeypatch.setattr("core.training.resident._moved", counted)
    corpus = tiny_corpus()
    resident = Resident(corpus, "cpu")
    assert moved == [len(corpus.tokens), len(corpus.offsets), len(corpus.labels)]
    resident.batch(corpus.indices(TRAIN)[:5])
    assert moved[3:] == [5]


def test_a_cpu_reads_the_corpus_where_it_is() -> None:
    assert isinstance(batches_of(tiny_corpus(), "cpu"), Reader)
