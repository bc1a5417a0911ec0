"""Mistakes of the winner on the validation split: confused classes and wrong sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.class_report import ClassScores, class_report, confusion_matrix
from tuning.analysis.assessment import validation_predictions
from tuning.journal.predictions import unpack_labels
from tuning.report.facts import ReportData

MAX_MISTAKES = 60
"""Maximum number of mistakes shown."""
WIDEST_MATRIX = 15
"""Maximum number of classes in a confusion matrix; with more, the page lists the confusions."""
MAX_CONFUSIONS = 20
ALIKE = 0.01
"""A model whose answers differ from the recorded ones in a larger share of the sentences is another model."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Predictions:
    """Predictions of the trials for the n sentences of the validation split."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    """(n,) the right answers."""
    winner: NDArray[np.int64]
    """(n,) the winner's."""
    wrong: NDArray[np.float64]
    """(n,) share of the ended trials, the winner too, that got the sentence wrong."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(C, C) sentences by right class and the winner's answer."""
        return confusion_matrix(self.labels, self.winner, len(self.classes))

    @property
    def scores(self) -> list[ClassScores]:
        """How well each class is recognised."""
        return class_report(self.counts, self.classes)

    @property
    def matrix(self) -> list[list[tuple[int, int]]] | None:
        """Each count with its shade, 0 to 6, by its share of the class; None for more than WIDEST_MATRIX classes."""
        if len(self.classes) > WIDEST_MATRIX:
            return None
        shades = np.ceil(6 * self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)).astype(int)
        return [list(zip(*rows, strict=True)) for rows in zip(self.counts.tolist(), shades.tolist(), strict=True)]

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """Right class, answer and count of the most frequent confusions."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        found = [(self.classes[a], self.classes[b], int(wrong[a, b])) for a, b in zip(*np.nonzero(wrong), strict=True)]
        return sorted(found, key=lambda each: (-each[2], each[:2]))[:MAX_CONFUSIONS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A sentence that the winner got wrong."""

    sentence: int
    """Its place in the validation split, from 0."""
    right: str
    said: str
    confidence: float | None
    """The probability that the model gave to its answer; None without a model."""
    wrong: float
    """Share of the ended trials that got it wrong."""
    text: str | None
    """None if the data cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MistakesSection:
    """The section about the winner's mistakes."""

    answers: Predictions | None = None
    mistakes: Sequence[Mistake] = ()
    notes: Sequence[str] = ()
    """What is missing there, and why."""


def read_predictions(facts: ReportData) -> Predictions | None:
    """Return the stored predictions; None if the study has none.

    Raises:
        CorruptionError: they are damaged.
    """
    kept: dict[str, Any] = facts.attributes["validation"]
    if facts.winner is None or not facts.records[facts.winner.trial].val_predictions:
        return None
    labels = unpack_labels(kept["labels"], "the study's record of the validation labels")
    predicted = validation_predictions([record for _, record in facts.ranked], labels)
    wrong = np.mean([each != labels for each in predicted.values()], axis=0)
    winner = predicted[facts.winner.trial]
    return Predictions(classes=tuple(kept["classes"]), labels=labels, winner=winner, wrong=wrong)


def mistakes(
    answers: Predictions, texts: Sequence[str] | None, probabilities: NDArray[np.float64] | None
) -> list[Mistake]:
    """Return MAX_MISTAKES mistakes: the most confident first; without confidences, those that most trials share.

    Args:
        answers: Result of `read_predictions`.
        texts: (n,) the validation sentences.
        probabilities: (n, C) from the winner's model.
    """
    places = np.flatnonzero(answers.winner != answers.labels)
    confidence = None if probabilities is None else probabilities[np.arange(len(answers.winner)), answers.winner]
    order = np.lexsort((places, -answers.wrong[places] if confidence is None else -confidence[places]))
    return [
        Mistake(
            sentence=place,
            right=answers.classes[answers.labels[place]],
            said=answers.classes[answers.winner[place]],
            confidence=None if confidence is None else float(confidence[place]),
            wrong=float(answers.wrong[place]),
            text=None if texts is None else texts[place],
        )
        for place in places[order][:MAX_MISTAKES].tolist()
    ]


def same_model(answers: Predictions, probabilities: NDArray[np.float64]) -> bool:
    """Return whether a model predicts nearly as the winner did; it may have been trained on another device."""
    return float((probabilities.argmax(axis=1) != answers.winner).mean()) <= ALIKE
