"""Train a model as the tutorial notebook does: the baseline of several benchmarks.

Its faults are reproduced. Every sentence is padded to the longest of the data set, the last state is read after the
padding, and accuracy is the mean of batch means. The optimizer is dense Adadelta. With `corrected=True`, the state is
read at the sentence's end and accuracy is correct / total. Batches are then padded to their own longest sentence, which
changes no result.

As in the notebook, the words are those of the data set: dense Adadelta would update other words in each step.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.inputs.corpora import part_of_corpus
from core.data.corpus import TRAIN, VAL, Corpus


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Hyperparameters of the loop; the defaults are the tutorial notebook's setting."""

    hidden_dim: int = 128
    n_layers: int = 2
    bidirectional: bool = False
    lstm_dropout: float = 0.2
    fc_dropout: float = 0.5
    freeze_embedding: bool = False
    learning_rate: float = 0.25
    batch_size: int = 50


class NotebookNet(nn.Module):
    """Embedding, LSTM, last state, dropout two times, linear."""

    def __init__(self, shape: Shape, corpus: Corpus, *, corrected: bool) -> None:
        super().__init__()
        self.corrected = corrected
        if corpus.vectors is None:
            self.embedding = nn.Embedding(len(corpus.words), corpus.embedding_dim, padding_idx=0, max_norm=5.0)
            self.embedding.weight.requires_grad_(not shape.freeze_embedding)
        else:
            vectors = torch.tensor(np.array(corpus.vectors))
            self.embedding = nn.Embedding.from_pretrained(vectors, freeze=shape.freeze_embedding)
        self.lstm = nn.LSTM(
            corpus.embedding_dim,
            shape.hidden_dim,
            shape.n_layers,
            batch_first=True,
            dropout=shape.lstm_dropout if shape.n_layers > 1 else 0.0,
            bidirectional=shape.bidirectional,
        )
        self.dropout = nn.Dropout(shape.fc_dropout)
        self.output = nn.Linear(shape.hidden_dim * (2 if shape.bidirectional else 1), len(corpus.classes))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Map tokens int64 (B, T) and lengths int64 (B,) to logits (B, C)."""
        vectors = self.embedding(tokens)
        if self.corrected:
            packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
            _, (hidden, _) = self.lstm(packed)
        else:
            _, (hidden, _) = self.lstm(vectors)
        last = torch.cat([hidden[-2], hidden[-1]], dim=1) if self.lstm.bidirectional else hidden[-1]
        logits: Tensor = self.output(self.dropout(self.dropout(last)))
        return logits


class NotebookLoop:
    """Trains one model, an epoch at a time."""

    def __init__(
        self, shape: Shape, corpus: Corpus, *, corrected: bool = False, seed: int = 0, threads: int = 1
    ) -> None:
        self.threads = threads
        self.corrected = corrected
        corpus = part_of_corpus(corpus, np.arange(len(corpus.labels)))  # without words that occur in no sentence
        torch.manual_seed(seed)
        self.net = NotebookNet(shape, corpus, corrected=corrected)
        wanted = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adadelta(wanted, lr=shape.learning_rate, rho=0.95)
        self.train_loader = loader(corpus, TRAIN, shape.batch_size, shuffle=True)
        self.val_loader = loader(corpus, VAL, shape.batch_size, shuffle=False)

    def epoch(self) -> tuple[float, float]:
        """Train one epoch and validate; return (seconds, validation accuracy)."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        start = time.perf_counter()
        self._train()
        accuracy = self._validate()
        seconds = time.perf_counter() - start
        torch.set_num_threads(before)
        return seconds, accuracy

    def _train(self) -> None:
        self.net.train()
        for tokens, lengths, labels in self.train_loader:
            self.net.zero_grad()
            loss = nn.functional.cross_entropy(self.net(self._cut(tokens, lengths), lengths), labels)
            loss.backward()
            self.optimizer.step()
            loss.item()

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the validation accuracy."""
        self.net.eval()
        hits = [
            (self.net(self._cut(tokens, lengths), lengths).argmax(dim=1) == labels).double()
            for tokens, lengths, labels in self.val_loader
        ]
        return float(torch.cat(hits).mean() if self.corrected else torch.stack([h.mean() for h in hits]).mean())

    def _cut(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return tokens[:, : int(lengths.max())] if self.corrected else tokens


def loader(corpus: Corpus, split: int, batch_size: int, *, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
    """Return the sentences of a split, each padded to the longest of the data set."""
    longest = int(corpus.lengths().max())
    sentences = corpus.indices(split)
    tokens = np.zeros((len(sentences), longest), dtype=np.int64)
    for row, at in zip(tokens, sentences, strict=True):
        words = corpus.tokens[corpus.offsets[at] : corpus.offsets[at + 1]]
        row[: len(words)] = words
    arrays = (tokens, corpus.lengths()[sentences], np.array(corpus.labels[sentences]))
    return DataLoader(TensorDataset(*map(torch.from_numpy, arrays)), batch_size=batch_size, shuffle=shuffle)
