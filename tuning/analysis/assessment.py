"""What a study's stored predictions and test evaluations say about its trials."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import TrialConfig
from core.nn.model_size import count_trainable_parameters
from core.stats import ALPHA, Correct, Interval, holm, mcnemar, wilson
from tuning.analysis.selection_bias import CorrectedAccuracy, corrected_accuracy
from tuning.journal.predictions import journal_damage, unpack_labels
from tuning.journal.records import TestEvaluation, TrialRecord, is_candidate, rank_trials


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
        if reading["on"] == "train" and reading["split"] == split:
            by_trial.setdefault(reading["trial"], {}).setdefault(reading["seed"], reading)
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
    return StudyAssessment(
        sentences=len(labels),
        corrected=corrected_accuracy(np.stack(list(correct.values()))) if complete else None,
        tied=tied,
        recommended=cheapest.number if cheapest else None,
        n_parameters=sizes,
        held_out=held_out_results(evaluations, attributes["spec"].get("data", {}).get("split")),
        test_evaluations=evaluations,
    )


def validation_predictions(records: Sequence[TrialRecord], labels: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return (n,) predicted classes by trial number, for the trials whose predictions were recorded.

    Raises:
        CorruptionError: they are damaged, or not as many as the (n,) labels.
    """
    found = {}
    for record in records:
        if record.val_predictions:
            predictions = unpack_labels(record.val_predictions, f"what trial {record.number} predicted")
            if predictions.shape != labels.shape:
                counts = f"{len(predictions)} predictions for {len(labels)} validation sentences"
                raise journal_damage(f"what trial {record.number} predicted", counts)
            found[record.number] = predictions
    return found


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
