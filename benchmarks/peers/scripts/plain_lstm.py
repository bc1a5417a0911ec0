"""An LSTM classifier in plain torch for optuna_peer and ray_peer, as the tutorials of these libraries show one.

Tokens and vectors are those of sentune, without the words that occur in no sentence: Adam updates every vector in
each step. Batches are padded to their longest sentence and lengths are respected, as a careful user of torch does.
The ranges and the number of epochs are those of sentune's default search, as far as this model has such settings.
"""

import csv
import time
from pathlib import Path

import torch
from torch import nn

TRAINING_SENTENCES = 70_000
"""Sentences that a whole training sees: decides the number of epochs, as in sentune."""


class Sentences:
    """The tokens of the task as numbers; 0 pads."""

    def __init__(self, folder):
        with Path(folder, "tokens.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        words = {"<pad>", "<unk>"}.union(*(row["text"].split(" ") for row in rows))
        lines = Path(folder, "vectors.txt").read_text(encoding="utf-8").split("\n")
        vectors = [line.split(" ") for line in lines if line.split(" ", 1)[0] in words]
        self.codes = {word: at for at, (word, *_) in enumerate(vectors)}
        self.vectors = torch.tensor([[float(value) for value in values] for _, *values in vectors])
        self.classes = sorted({row["label"] for row in rows})
        self.splits = {
            split: [
                (self.encode(row["text"]), self.classes.index(row["label"])) for row in rows if row["split"] == split
            ]
            for split in ("train", "val")
        }
        self.test = [row["text"] for row in rows if row["split"] == "test"]
        self.epochs = round(TRAINING_SENTENCES / len(self.splits["train"]))

    def encode(self, text):
        return torch.tensor([self.codes.get(word, 1) for word in text.split(" ")])


class Net(nn.Module):
    """Embedding, LSTM, last state or maximum over time, dropout, linear."""

    def __init__(self, settings, vectors, classes):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors.clone(), freeze=settings["freeze_embedding"])
        layers, directions = settings["n_layers"], 1 + settings["bidirectional"]
        self.pooling = settings["pooling"]
        self.lstm = nn.LSTM(
            vectors.shape[1],
            settings["hidden_dim"],
            layers,
            batch_first=True,
            bidirectional=settings["bidirectional"],
            dropout=settings["lstm_dropout"] if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(settings["fc_dropout"])
        self.output = nn.Linear(settings["hidden_dim"] * directions, classes)

    def forward(self, sentences):
        lengths = torch.tensor([len(each) for each in sentences])
        tokens = nn.utils.rnn.pad_sequence(sentences, batch_first=True)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        states, (hidden, _) = self.lstm(packed)
        if self.pooling == "max":
            padded, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True, padding_value=-torch.inf)
            pooled = padded.amax(1)
        else:
            pooled = torch.cat([*hidden[-2:]], 1) if self.lstm.bidirectional else hidden[-1]
        return self.output(self.dropout(pooled))


def suggest(trial):
    """Suggest settings from the ranges of sentune's `quick` space."""
    return {
        "n_layers": trial.suggest_int("n_layers", 1, 2),
        "hidden_dim": trial.suggest_int("hidden_dim", 32, 192, log=True),
        "bidirectional": trial.suggest_categorical("bidirectional", [True, False]),
        "pooling": trial.suggest_categorical("pooling", ["last", "max"]),
        "lstm_dropout": trial.suggest_float("lstm_dropout", 0.0, 0.5),
        "fc_dropout": trial.suggest_float("fc_dropout", 0.1, 0.6),
        "freeze_embedding": trial.suggest_categorical("freeze_embedding", [True, False]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [16, 32, 50, 64]),
    }


def train(settings, sentences, report, deadline=None):
    """Train for all epochs, or until `report` returns True or the deadline is over.

    Args:
        settings: Result of `suggest`.
        sentences: Sentences of the task.
        report: Called after each epoch with its number, from 1, and its validation accuracy; True ends the training.
        deadline: End of the training by time.monotonic; None for none.

    Returns:
        The weights of the best epoch, and its accuracy.
    """
    torch.manual_seed(0)
    net = Net(settings, sentences.vectors, len(sentences.classes))
    optimizer = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), lr=settings["learning_rate"])
    data, best = sentences.splits["train"], (None, -1.0)
    for epoch in range(1, sentences.epochs + 1):
        net.train()
        for chosen in torch.randperm(len(data)).split(settings["batch_size"]):
            batch = [data[at] for at in chosen.tolist()]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net([t for t, _ in batch]), torch.tensor([c for _, c in batch]))
            loss.backward()
            optimizer.step()
        val = sentences.splits["val"]
        found = predict(net, [tokens for tokens, _ in val])
        accuracy = sum(code == label for code, (_, label) in zip(found, val, strict=True)) / len(val)
        if accuracy > best[1]:
            best = ({name: value.clone() for name, value in net.state_dict().items()}, accuracy)
        if report(epoch, accuracy) or (deadline is not None and time.monotonic() > deadline):
            break
    return best


@torch.no_grad()
def predict(net, sentences):
    """Return the numbers of the most probable classes."""
    net.eval()
    return [code for at in range(0, len(sentences), 256) for code in net(sentences[at : at + 256]).argmax(1).tolist()]


def predictor(settings, weights, sentences):
    """Return a function that labels texts whose tokens are separated by spaces."""
    net = Net(settings, sentences.vectors, len(sentences.classes))
    net.load_state_dict(weights)
    return lambda texts: [sentences.classes[code] for code in predict(net, [sentences.encode(text) for text in texts])]
