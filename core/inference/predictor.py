"""Predictor: label texts with a saved model."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.data.tokenizer import tokenize, tokenizer_name, tokenizer_version
from core.data.vocabulary import UNK_ID
from core.errors import CorruptionError, DataError, check_rules, in_range
from core.inference.members import LstmMember, Member, file_of, tensors_of
from core.inference.saved_model import ModelParts, read_model
from core.io.atomic import expand_user
from core.io.text import error_summary, printable
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast, limit_cached_kernels, limit_threads_after_fork
from core.plain_baseline import PlainBaseline
from core.training.batching import length_sorted_batches
from core.training.evaluate import TOKENS_AT_ONCE

CACHED_KERNELS = 128
"""Number of compiled kernels that are kept; without any, `serve` gives 2 to 9% fewer answers per second."""
MAX_TOKENS = 50_000
"""Maximum number of tokens in a text; longer ones are refused, because memory grows with the length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A model's prediction for one text."""

    label: str | None
    """The most probable class; the first one in a tie. None if its probability is below the requested minimum."""
    probability: float
    """Probability of the most probable class."""
    probabilities: dict[str, float]
    """Probability of every class, in label order; their sum is 1."""
    unknown_words: float
    """Share of the text's words that the model does not know; 1 for a text without words."""


class Predictor:
    """A weighted mixture of trained classifiers with one vocabulary; a single model is a mixture of one.

    The probability of a class is softmax(log p / temperature), where p is the weighted mean of the members'
    probabilities. The temperature never changes a label, because the labels follow from p.
    """

    def __init__(self, parts: ModelParts) -> None:
        """Build the members' networks.

        Raises:
            CorruptionError: A member does not fit the vocabulary, the classes or its settings; the message names it.
        """
        self.members = tuple(parts.members)
        self.vocabulary = parts.vocabulary
        self.classes = parts.classes
        self.temperature = parts.temperature
        self.tokenizer = tokenizer_name(parts.tokenizer)
        self.text_column = parts.text_column
        self.coverage = parts.coverage
        self.metrics = parts.metrics
        self.digest = parts.digest
        self.card = parts.card
        self._models = [_model_of(each, parts) for each in parts.members]

    def predict(
        self,
        texts: Sequence[str],
        min_probability: float | None = None,
        location: Callable[[int], str] = "text {}".format,
    ) -> list[Prediction]:
        """Label texts, in their order. A text without a known word, or without any, is labelled like any other.

        Args:
            texts: (n,).
            min_probability: A text whose most probable class is less probable gets the label None.
            location: Called with the place of a text, from 1, for an error; returns its name.

        Raises:
            ConfigError: `min_probability` is not from 0 to 1.
            DataError: A value is no text, or a text has more than MAX_TOKENS tokens; the message names it.
            CorruptionError: The weights are too large, so that a result is no number.
        """
        check_rules({"min_probability": in_range(min_probability, 0, 1)})
        sentences = self.encode(texts, location)
        logs = self.log_probabilities(sentences)
        predictions = []
        rows = zip(sentences, logs.argmax(axis=1).tolist(), self.calibrate(logs).tolist(), strict=True)
        for sentence, place, row in rows:
            answered = min_probability is None or row[place] >= min_probability
            predictions.append(
                Prediction(
                    label=self.classes[place] if answered else None,
                    probability=row[place],
                    probabilities=dict(zip(self.classes, row, strict=True)),
                    unknown_words=sentence.count(UNK_ID) / len(sentence),
                )
            )
        return predictions

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return class probabilities: (n, C), rows in the order of `texts`, columns in that of `classes`.

        Raises:
            DataError, CorruptionError: As `predict`.
        """
        return self.calibrate(self.log_probabilities(self.encode(texts)))

    def encode(self, texts: Sequence[str], location: Callable[[int], str] = "text {}".format) -> list[list[int]]:
        """Return the word ids of texts.

        Raises:
            DataError: As `predict`.
        """
        sentences = [self.vocabulary.encode(tokenize(text, self.tokenizer)) for text in as_texts(texts, location)]
        for place, sentence in enumerate(sentences, 1):
            if len(sentence) > MAX_TOKENS:
                raise DataError(
                    f"{location(place)} has {len(sentence):,} words, more than {MAX_TOKENS:,}; "
                    "split the text into sentences"
                )
        return sentences

    @torch.no_grad()
    def log_probabilities(
        self, sentences: Sequence[Sequence[int]], precision: str | None = None
    ) -> NDArray[np.float64]:
        """Return the logarithms (n, C) of the mixture's probabilities before the temperature.

        Args:
            sentences: (n,) word ids, none empty.
            precision: Precision of all LSTMs; None for the one that each was trained with.

        Raises:
            CorruptionError: The weights are too large, so that a result is no number.
        """
        limit_threads_after_fork()
        lengths = np.array([len(each) for each in sentences], dtype=np.int64)
        found = np.empty((len(sentences), len(self.classes)))
        for places in length_sorted_batches(lengths, TOKENS_AT_ONCE):
            batch = [sentences[place] for place in places]
            logs = [_log_softmax(_check_logits(_logits(model, batch, precision))) for model in self._models]
            weighted = [log + np.log(member.weight) for log, member in zip(logs, self.members, strict=True)]
            found[places] = np.logaddexp.reduce(weighted, axis=0)
        return found

    def calibrate(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probabilities (n, C) for the result of `log_probabilities`."""
        relative = logs - logs.max(axis=1, keepdims=True)
        return np.asarray(np.exp(_log_softmax(relative / self.temperature)))


def _model_of(member: Member, parts: ModelParts) -> SentenceClassifier | PlainBaseline:
    n_classes = len(parts.classes)
    if isinstance(member, LstmMember):
        network = SentenceClassifier(member.config, len(parts.vocabulary), parts.embedding_dim, n_classes)
        try:
            network.load_state_dict(dict(member.weights), assign=True)
        except RuntimeError as error:
            reason = error_summary(error).partition(": ")[2]  # before it: that there were errors in loading
            raise CorruptionError(f"{file_of(member)} {_MISFIT}: {reason}") from error
        return network.eval()
    shapes = [tuple(value.shape) for value in tensors_of(member).values()]
    n_features = member.baseline.idf.size
    if shapes != [(n_features, 2), (n_features,), (n_classes, n_features), (n_classes,)]:
        raise CorruptionError(f"{file_of(member)} {_MISFIT}: its tensors have the shapes {shapes}")
    if not member.baseline.fits(len(parts.vocabulary)):
        raise CorruptionError(f"{file_of(member)} {_MISFIT}: its n-grams are not in order, or have unknown words")
    return member.baseline


_MISFIT = "does not fit config.json, vocabulary.json and labels.json"


def _logits(
    model: SentenceClassifier | PlainBaseline, sentences: Sequence[Sequence[int]], precision: str | None
) -> NDArray[np.float64]:
    """Return the logits (B, C) of word ids."""
    if isinstance(model, PlainBaseline):
        offsets = np.cumsum([0, *(len(each) for each in sentences)])
        return model.logits(np.concatenate(sentences).astype(np.int32), offsets)
    limit_cached_kernels(CACHED_KERNELS)  # here: an estimator that was unpickled has not called load_model
    with autocast(precision or model.config.precision, "cpu"):
        logits: Tensor = model(*pad_token_ids(sentences))
    return np.asarray(logits.double().numpy())


def _check_logits(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(logits.max(axis=1)).all():  # a single class may have minus infinity
        raise CorruptionError("the model's weights give no probabilities; run the command that saved it again")
    return logits


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    relative = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(relative - np.log(np.exp(relative).sum(axis=1, keepdims=True)))


def as_texts(values: Any, location: Callable[[int], str] = "text {}".format) -> list[str]:
    """Return values as a list, if all are texts.

    Args:
        values: A list, an iterator, an array or a column of a data frame.
        location: As in `Predictor.predict`.

    Raises:
        DataError: `values` is one text, a data frame or a set, or a value is no text; the message names its place.
    """
    # A data frame and a dictionary would give the names of their columns, and a set has no order.
    refused = isinstance(values, str | Mapping | set | frozenset) or hasattr(values, "columns")
    if refused or not isinstance(values, Iterable):
        kind = type(values).__name__
        raise DataError(f"texts must be a list, or a column of a data frame, got {kind}; pass [text] or frame['text']")
    texts = values.to_pylist() if hasattr(values, "to_pylist") else list(values)  # items of pyarrow are no str
    for place, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise DataError(
                f"{location(place)} must be a str, got {type(text).__name__}; remove it, or pass '' in its place"
            )
    return texts


def load_model(path: str | os.PathLike[str], *, notify: Callable[[str], None] | None = None) -> Predictor:
    """Open a model folder for prediction on the CPU.

    Args:
        path: A folder that core.inference.saved_model wrote.
        notify: Called with one line if words may be split differently than in training; by default, it is a warning.

    Raises:
        UserError: There is no model at `path`, it cannot be read, or a newer version saved it.
        CorruptionError: A file is missing or changed; the message names it.
    """
    limit_threads_after_fork()
    path = expand_user(os.fspath(path))
    parts = read_model(path)
    here = tokenizer_version(tokenizer_name(parts.tokenizer))
    if parts.tokenizer != here:
        say = notify or partial(warnings.warn, stacklevel=2)
        say(
            f"the model in {path} was trained with tokenizer {printable(parts.tokenizer, 80)}, installed is {here}: "
            "some words may be split differently, and labels may differ"
        )
    try:
        return Predictor(parts)
    except CorruptionError as error:
        raise CorruptionError(
            f"the model in {path} is damaged: {error}; run the command that saved it again"
        ) from error


def pad_token_ids(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return the word ids of sentences, none empty, as int64 (B, T), and their lengths, int64 (B,), on the CPU."""
    tokens = [torch.tensor(sentence, device="cpu") for sentence in sentences]
    lengths = torch.tensor([len(sentence) for sentence in sentences], device="cpu")
    return pad_sequence(tokens, batch_first=True), lengths
