"""The notebook's loop has the words that occur in the data, and no others."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.baselines.notebook_loop import NotebookLoop, Shape, loader
from core.data.corpus import VAL
from tests.support.corpora import tiny_corpus


def test_words_that_occur_in_no_sentence_have_no_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim, "Adadelta", lambda *args, **options: None)  # its first call imports for seconds
    corpus = tiny_corpus()
    assert corpus.vectors is not None
    larger = dataclasses.replace(
        corpus,
        words=(*corpus.words[:2], "other", *corpus.words[2:]),
        tokens=corpus.tokens + 1,  # each is at least 2
        vectors=np.insert(corpus.vectors, 2, 1.0, axis=0),
    )
    loop = NotebookLoop(Shape(hidden_dim=4, n_layers=1), larger)
    assert loop.net.embedding.num_embeddings == len(corpus.words)
    vectors = torch.from_numpy(corpus.vectors)
    for (found, *_), (tokens, *_) in zip(loop.val_loader, loader(corpus, VAL, 50, shuffle=False), strict=True):
        assert torch.equal(loop.net.embedding(found), vectors[tokens])


class ClassZero(torch.nn.Module):
    """Answers class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(tokens), 2)


@pytest.mark.parametrize("corrected", [False, True])
def test_padding_and_small_batches_count_unless_corrected(monkeypatch: pytest.MonkeyPatch, corrected: bool) -> None:
    """Of two validation batches, the small one has the only sentence of class 0."""
    monkeypatch.setattr(torch.optim, "Adadelta", lambda *args, **options: SimpleNamespace(step=lambda: None))
    corpus = tiny_corpus()
    val = corpus.indices(VAL)
    labels = np.ones_like(corpus.labels)
    labels[val[-1]] = 0
    shape = Shape(hidden_dim=4, n_layers=1, batch_size=len(val) - 1)
    loop = NotebookLoop(shape, dataclasses.replace(corpus, labels=labels), corrected=corrected, threads=2)
    tokens, lengths, _ = next(iter(loop.val_loader))
    loop.net.eval()
    with torch.no_grad():
        longer = torch.nn.functional.pad(tokens, (0, 3))
        assert torch.equal(loop.net(tokens, lengths), loop.net(longer, lengths)) == corrected
    asked, before = list[int](), torch.get_num_threads()
    loop.net = ClassZero()  # type: ignore[assignment]
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert loop.epoch()[1] == pytest.approx(1 / len(val) if corrected else 0.5)
    assert asked == [2, before]
