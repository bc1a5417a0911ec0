"""What a study's stored predictions and test evaluations say about its trials."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import TrialConfig
from core.io.text import quoted
from core.metrics import METRICS
from core.nn.model_size import count_trainable_parameters
from core.stats import ALPHA, Correct, Interval, Z, holm, mcnemar, wilson
from tuning.analysis.selection_bias import CorrectedAccuracy, corrected_accuracy
from tuning.journal.predictions import journal_damage, unpack_labels
from tuning.journal.records import PLAIN_BASELINE, TestEvaluation, TrialRecord, is_candidate, rank_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutResult:
    """One trial on the study's test split, trained on the training split alone as in the search."""

    accuracy: float
    """Mean over the evaluated seeds."""
    interval: Interval
    """Binomial (Wilson), for one split of this size; more seeds do not make it narrower."""
    seeds: int
    sentences: int


def held_out_results(readings: Sequence[TestEvaluation], split: str | None) -> dict[int, HeldOutResult]:
    """Return results by trial number; of a seed that was evaluated more than once, the first counts.

    Args:
        readings: The study's test evaluations.
        split: The study's split rule; evaluations on other splits, such as folds, do not count.
    """
    by_trial: dict[int, dict[int, TestEvaluation]] = {}
    for reading in readings:
        trial, seed = reading["trial"], reading["seed"]
        if reading["on"] == "train" and reading["split"] == split and trial is not None and seed is not None:
            by_trial.setdefault(trial, {}).setdefault(seed, reading)
    results = {}
    for trial, seeds in by_trial.items():
        accuracy = sum(reading["test_accuracy"] for reading in seeds.values()) / len(seeds)
        sentences = int(next(iter(seeds.values()))["test_sentences"])
        interval = wilson(accuracy * sentences, sentences)
        results[trial] = HeldOutResult(accuracy=accuracy, interval=interval, seeds=len(seeds), sentences=sentences)
    return results


def evaluations_note(readings: Sequence[TestEvaluation]) -> str:
    """Return `the test split was read 3 times: 2 by confirm, 1 by retrain`."""
    if not readings:
        return "no reading of the test split is recorded"
    by_verb = Counter(str(reading["verb"]) for reading in readings)
    times = "once" if len(readings) == 1 else f"{len(readings)} times"
    return f"the test split was read {times}: " + ", ".join(f"{n} by {verb}" for verb, n in sorted(by_verb.items()))


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Reference:
    """A simple classifier that the search should beat, on the validation split."""

    name: str
    """PLAIN or MAJORITY."""
    about: str
    """What it is."""
    predictions: NDArray[np.int64]
    """(n,) classes."""
    metric: str
    """What the study optimises."""
    value: float | None
    """Of the metric, in its own direction; None if it is undefined."""
    accuracy: float
    interval: Interval
    """Binomial (Wilson) of the accuracy; nothing was chosen by it, so it needs no correction."""


PLAIN, MAJORITY = "plain", "major"
"""Names of the references, where a trial has its number."""


def references(attributes: Mapping[str, Any], labels: NDArray[np.int64]) -> tuple[Reference, ...]:
    """Return the references of a study, the plain baseline first; those that the study knows.

    Args:
        attributes: The study's user attributes.
        labels: (n,) of the validation split.

    Raises:
        CorruptionError: the stored predictions are damaged.
    """
    metric, classes = METRICS[attributes["spec"]["metric"]], attributes["validation"]["classes"]

    def reference(name: str, about: str, predictions: NDArray[np.int64], value: float | None) -> Reference:
        correct = int((predictions == labels).sum())
        return Reference(
            name=name,
            about=about,
            predictions=predictions,
            metric=metric.name,
            value=value,
            accuracy=correct / len(labels),
            interval=wilson(correct, len(labels)),
        )

    found = []
    if stored := attributes.get(PLAIN_BASELINE):
        predictions = _unpack(stored["val_predictions"], labels, "what the plain baseline predicted")
        about = "TF-IDF of words and word pairs with logistic regression"
        found.append(reference(PLAIN, about, predictions, stored.get("val_metric")))
    if majority := attributes.get("audit", {}).get("majority_baseline"):
        constant = np.full_like(labels, classes.index(majority["class"]))
        shares = np.tile(np.bincount(labels, minlength=len(classes)) / len(labels), (len(labels), 1))
        value = metric.score(labels, constant, shares, len(classes))
        about = f"the majority class, always {quoted(majority['class'])}"
        found.append(reference(MAJORITY, about, constant, None if math.isnan(value) else value))
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Corrected accuracy of the best trial minus the accuracy of a reference."""

    gain: float
    interval: Interval
    """95%, paired over the sentences."""


def gain_over(reference: Reference, corrected: CorrectedAccuracy, best: Correct, labels: NDArray[np.int64]) -> Gain:
    """Return the gain over a reference that was not chosen by these sentences.

    Args:
        reference: The reference.
        corrected: The study's bias-corrected accuracy.
        best: (n,) whether the best trial got each sentence right.
        labels: (n,).
    """
    differences = best.astype(float) - (reference.predictions == labels)
    gain = corrected.corrected - reference.accuracy
    half = float(Z * differences.std(ddof=1) / len(labels) ** 0.5)
    return Gain(gain=gain, interval=Interval(low=gain - half, high=gain + half))


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyAssessment:
    """Assessment of one study."""

    sentences: int | None = None
    """Size of the validation split."""
    corrected: CorrectedAccuracy | None = None
    """Also None if the predictions of a trial were not recorded."""
    tied: Mapping[int, bool] = field(default_factory=dict)
    """By trial number, whether a paired test finds no difference from the best, which is tied with itself."""
    recommended: int | None = None
    """The cheapest tied trial: fewest trained parameters, then seconds, then number."""
    n_parameters: Mapping[int, int] = field(default_factory=dict)
    """Number of trained parameters by trial number."""
    held_out: Mapping[int, HeldOutResult] = field(default_factory=dict)
    test_evaluations: Sequence[TestEvaluation] = ()
    """All evaluations on a test split."""
    references: Sequence[Reference] = ()
    """The plain baseline and the majority class."""
    gain_over_plain: Gain | None = None
    """Of the best trial; None without a plain baseline or without a corrected accuracy."""


def assess(records: Sequence[TrialRecord], attributes: Mapping[str, Any]) -> StudyAssessment:
    """Compute the assessment; it follows from the journal alone.

    Args:
        records: Trials of the study.
        attributes: The study's user attributes, see tuning.journal.records.study_attributes.

    Raises:
        CorruptionError: stored labels or predictions are damaged.
    """
    labels = unpack_labels(attributes["validation"]["labels"], "the study's validation labels")
    own = [record for record in records if is_candidate(record)]
    correct = {}
    if attributes["spec"]["metric"] == "accuracy":  # McNemar's test and this correction compare single sentences
        correct = {number: each == labels for number, each in validation_predictions(own, labels).items()}
    sizes = _sizes(records, attributes)
    tied = _tied(records, correct)
    affordable = [record for record in own if tied.get(record.number) and record.number in sizes]
    cheapest = min(affordable, key=lambda r: (sizes[r.number], r.seconds, r.number), default=None)
    # A trial without predictions may have been a rival; one sentence cannot be resampled.
    complete = bool(correct) and len(correct) == len(own) and all(len(each) > 1 for each in correct.values())
    evaluations = attributes.get("test_evaluations", ())
    corrected = corrected_accuracy(np.stack(list(correct.values()))) if complete else None
    compared = references(attributes, labels)
    plain = next((reference for reference in compared if reference.name == PLAIN), None)
    best = max(correct.values(), key=np.count_nonzero, default=None)
    return StudyAssessment(
        sentences=len(labels),
        corrected=corrected,
        tied=tied,
        recommended=cheapest.number if cheapest else None,
        n_parameters=sizes,
        held_out=held_out_results(evaluations, attributes["spec"].get("data", {}).get("split")),
        test_evaluations=evaluations,
        references=compared,
        gain_over_plain=gain_over(plain, corrected, best, labels) if plain and corrected and best is not None else None,
    )


def validation_predictions(records: Sequence[TrialRecord], labels: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return (n,) predicted classes by trial number, for the trials whose predictions were recorded.

    Raises:
        CorruptionError: they are damaged, or not as many as the (n,) labels.
    """
    found = {}
    for record in records:
        if record.val_predictions:
            found[record.number] = _unpack(record.val_predictions, labels, f"what trial {record.number} predicted")
    return found


def _unpack(packed: Mapping[str, Any], labels: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    predictions = unpack_labels(packed, where)
    if predictions.shape != labels.shape:
        raise journal_damage(where, f"{len(predictions)} predictions for {len(labels)} validation sentences")
    return predictions


def _tied(records: Sequence[TrialRecord], correct: Mapping[int, Correct]) -> dict[int, bool]:
    """Apply the exact McNemar test against the best, with Holm's correction over all others."""
    originals = {r.number: r.number if r.copy_of is None else r.copy_of for r in rank_trials(records)}
    best = next(iter(originals.values()), None)
    if best is None or best not in correct:
        return {}
    others = [number for number in correct if number != best]
    tied = {best: True}
    if others:
        p_values = holm(mcnemar(correct[best], np.stack([correct[number] for number in others])))
        tied |= {number: bool(p >= ALPHA) for number, p in zip(others, p_values, strict=True)}
    return {number: tied[source] for number, source in originals.items() if source in tied}


def _sizes(records: Sequence[TrialRecord], attributes: Mapping[str, Any]) -> dict[int, int]:
    """Return the number of trained parameters: recorded for a complete trial, else computed from its settings."""
    sizes = {record.number: record.n_parameters for record in records if record.n_parameters is not None}
    if n_words := attributes.get("vocabulary"):
        width, n_classes = attributes["spec"]["embedding_dim"], len(attributes["validation"]["classes"])
        for record in records:
            if record.number not in sizes:
                config = TrialConfig.from_dict(record.config)
                sizes[record.number] = count_trainable_parameters(config, n_words, width, n_classes)
    return sizes
