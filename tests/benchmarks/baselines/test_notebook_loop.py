"""The notebook's loop has the words that occur in the data, and no others."""

import dataclasses

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
