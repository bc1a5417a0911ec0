"""Predictor: label texts with a saved model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.tokenizer import tokenize, tokenizer_version
from core.data.vocabulary import Vocabulary
from core.errors import CorruptionError, DataError
from core.inference.saved_model import read_model
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast
from core.training.batching import length_sorted_batches
from core.training.evaluate import TOKENS_AT_ONCE

MAX_TOKENS = 50_000
"""Largest number of tokens in a text; longer ones are refused, because memory grows with the length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A model's prediction for one text."""

    label: str
    """The most probable class; the first one in a tie."""
    probability: float
    """Probability of `label`."""
    probabilities: dict[str, float]
    """Probability of every class, in label order; their sum is 1."""


class Predictor:
    """A trained classifier with its vocabulary."""

    def __init__(self, network: SentenceClassifier, vocabulary: Vocabulary, classes: tuple[str, ...]) -> None:
        self.network = network
        self.vocabulary = vocabulary
        self.classes = classes

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Label texts, in their order. A text without a known word, or without any, is labelled like any other.

        Raises:
            DataError: a text has more than MAX_TOKENS tokens; it is named by its place.
        """
        rows = (dict(zip(self.classes, row, strict=True)) for row in self.probabilities(texts).tolist())
        best = ((max(row, key=row.__getitem__), row) for row in rows)
        return [Prediction(label=label, probability=row[label], probabilities=row) for label, row in best]

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return class probabilities: (n, C), rows in the order of `texts`, columns in that of `classes`.

        Raises:
            DataError: as `predict`.
        """
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, got one text")
        ids = [self.vocabulary.encode(tokenize(text)) for text in texts]
        lengths = np.array([len(each) for each in ids], dtype=np.int64)
        if len(lengths) and lengths.max() > MAX_TOKENS:
            place = int(lengths.argmax())
            raise DataError(
                f"text {place + 1} has {lengths[place]:,} words and is not cut: "
                f"split texts of more than {MAX_TOKENS:,} words into sentences"
            )
        found = np.empty((len(ids), len(self.classes)))
        for places in length_sorted_batches(lengths, TOKENS_AT_ONCE):
            tokens, batch_lengths = pad_token_ids([ids[place] for place in places])
            with autocast(self.network.config.precision, "cpu"):
                logits = self.network(tokens, batch_lengths)  # (B, C)
            found[places] = logits.double().softmax(dim=1).numpy()
        return found


def load_model(path: Path | str, *, notify: Callable[[str], None] | None = None) -> Predictor:
    """Open a model folder for prediction on the CPU.

    Args:
        path: a folder that core.inference.saved_model wrote.
        notify: Called with one line if words may be split differently than in training.

    Raises:
        UserError: there is no model at `path`, or a newer version saved it.
        CorruptionError: a file is missing or changed; it is named.
    """
    saved = read_model(Path(path))
    if notify is not None and saved.tokenizer != tokenizer_version():
        notify(
            f"the model in {path} was trained with tokenizer {saved.tokenizer}, here is {tokenizer_version()}: "
            "some words may be split in another way, and labels may differ"
        )
    network = SentenceClassifier(saved.config, len(saved.vocabulary), saved.embedding_dim, len(saved.classes))
    try:
        network.load_state_dict(dict(saved.weights), assign=True)
    except RuntimeError as error:
        shown = f"the weights in {path} do not fit its config.json, vocabulary.json and labels.json"
        raise CorruptionError(f"{shown}: {' '.join(str(error).split())}") from error
    return Predictor(network.eval(), saved.vocabulary, saved.classes)


def pad_token_ids(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return the word ids of sentences, none empty, as int64 (B, T), and their lengths, int64 (B,)."""
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    tokens = torch.zeros(len(sentences), int(lengths.max()), dtype=torch.int64)
    for row, sentence in zip(tokens, sentences, strict=True):
        row[: len(sentence)] = torch.tensor(sentence)
    return tokens, lengths
