"""What a study's stored predictions and its readings of the test split say about its trials."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import TrialConfig
from core.nn.model_size import count_trainable_parameters
from core.stats import ALPHA, Correct, Interval, holm, mcnemar, wilson
from tuning.analysis.selection_bias import CorrectedAccuracy, corrected_accuracy
from tuning.journal.predictions import journal_damage, unpack_labels
from tuning.journal.records import TrialRecord, is_candidate, rank_trials

EvaluationRecord = Mapping[str, Any]
"""One entry of the study's user attribute `readings`, which `retrain` and `confirm` append to: verb, trial, seed, on
(train or train+val), split, val_accuracy, test_accuracy, test_sentences, time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutResult:
    """One trial on the study's test split, trained on the training split alone as in the search."""

    accuracy: float
    """The mean over the seeds that were read."""
    interval: Interval
    """Binomial (Wilson), for one split of this size: further seeds do not make it narrower."""
    seeds: int
    sentences: int


def held_out_results(readings: Sequence[EvaluationRecord], split: str | None) -> dict[int, HeldOutResult]:
    """By trial number; a seed that was read again counts once, as it was read first.

    Args:
        readings: the study's.
        split: the study's split rule; readings of other splits, such as folds, do not count.
    """
    by_trial: dict[int, dict[int, EvaluationRecord]] = {}
    for reading in readings:
        if reading["on"] == "train" and reading["split"] == split:
            by_trial.setdefault(reading["trial"], {}).setdefault(reading["seed"], reading)
    return {trial: _figure(list(seeds.values())) for trial, seeds in by_trial.items()}


def _figure(readings: Sequence[EvaluationRecord]) -> HeldOutResult:
    accuracy = sum(reading["test_accuracy"] for reading in readings) / len(readings)
    sentences = int(readings[0]["test_sentences"])
    interval = wilson(accuracy * sentences, sentences)
    return HeldOutResult(accuracy=accuracy, interval=interval, seeds=len(readings), sentences=sentences)


def evaluations_note(readings: Sequence[EvaluationRecord]) -> str:
    """`the test split was read 3 times: 2 by confirm, 1 by retrain`."""
    if not readings:
        return "no reading of the test split is recorded"
    by_verb = Counter(str(reading["verb"]) for reading in readings)
    times = "once" if len(readings) == 1 else f"{len(readings)} times"
    return f"the test split was read {times}: " + ", ".join(f"{n} by {verb}" for verb, n in sorted(by_verb.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyAssessment:
    """Of one study. What an older study did not keep is None, or not in a mapping."""

    sentences: int | None
    """In the validation split."""
    corrected: CorrectedAccuracy | None
    """None too where a trial's predictions were not kept."""
    tied: Mapping[int, bool]
    """Trial number -> whether a paired test cannot tell it from the best, which is tied with itself."""
    recommended: int | None
    """The cheapest of the tied: fewest trained numbers, then seconds, then number."""
    n_parameters: Mapping[int, int]
    """Trial number -> trained numbers."""
    held_out: Mapping[int, HeldOutResult]
    test_evaluations: Sequence[EvaluationRecord]
    """Every reading of a test split."""


def assess(records: Sequence[TrialRecord], attributes: Mapping[str, Any]) -> StudyAssessment:
    """Compute it anew; the same journal gives the same.

    Args:
        records: the study's trials.
        attributes: its user attributes, see tuning.journal.records.study_attributes.

    Raises:
        CorruptionError: stored labels or predictions are damaged.
    """
    labels = _labels(attributes)
    own = [record for record in records if is_candidate(record)]
    known = {} if labels is None else _correct(own, labels)
    sizes = _sizes(records, attributes)
    tied = _tied(records, known)
    return StudyAssessment(
        sentences=None if labels is None else len(labels),
        corrected=_corrected(own, known),
        tied=tied,
        recommended=_cheapest([record for record in own if tied.get(record.number)], sizes),
        n_parameters=sizes,
        held_out=held_out_results(attributes.get("readings", ()), attributes["spec"].get("data", {}).get("split")),
        test_evaluations=attributes.get("readings", ()),
    )


def _labels(attributes: Mapping[str, Any]) -> NDArray[np.int64] | None:
    kept = attributes.get("validation")
    return unpack_labels(kept["labels"], "the study's validation labels") if kept else None


def _correct(records: Sequence[TrialRecord], labels: NDArray[np.int64]) -> dict[int, Correct]:
    """Trial number -> (n,), of the trials whose predictions were kept."""
    found = {}
    for record in records:
        if record.val_predictions:
            predictions = unpack_labels(record.val_predictions, f"what trial {record.number} predicted")
            if predictions.shape != labels.shape:
                counts = f"{len(predictions)} predictions for {len(labels)} validation sentences"
                raise journal_damage(f"what trial {record.number} predicted", counts)
            found[record.number] = predictions == labels
    return found


def _corrected(own: Sequence[TrialRecord], known: Mapping[int, Correct]) -> CorrectedAccuracy | None:
    """None where a trial is missing, because it may have been a rival, or where one sentence is all there is."""
    if not known or len(known) < len(own) or any(len(each) < 2 for each in known.values()):
        return None
    return corrected_accuracy(np.stack(list(known.values())))


def _tied(records: Sequence[TrialRecord], known: Mapping[int, Correct]) -> dict[int, bool]:
    """Exact McNemar against the best, with Holm's correction over all others."""
    order = rank_trials(records)
    if not order or _original(order[0]) not in known:
        return {}
    best = _original(order[0])
    others = [number for number in known if number != best]
    tied = {best: True}
    if others:
        p_values = holm(mcnemar(known[best], np.stack([known[number] for number in others])))
        tied |= {number: bool(p >= ALPHA) for number, p in zip(others, p_values, strict=True)}
    copies = {record.number: _original(record) for record in order}
    return {number: tied[source] for number, source in copies.items() if source in tied}


def _original(record: TrialRecord) -> int:
    return record.number if record.copy_of is None else record.copy_of


def _sizes(records: Sequence[TrialRecord], attributes: Mapping[str, Any]) -> dict[int, int]:
    """A trial says its size when it is complete; that of the others is worked out."""
    sizes = {record.number: record.n_parameters for record in records if record.n_parameters is not None}
    vocabulary, validation = attributes.get("vocabulary"), attributes.get("validation")
    if vocabulary is not None and validation:
        width, n_classes = attributes["spec"]["embedding_dim"], len(validation["classes"])
        for record in records:
            if record.number not in sizes:
                config = TrialConfig.from_dict(record.config)
                sizes[record.number] = count_trainable_parameters(config, vocabulary, width, n_classes)
    return sizes


def _cheapest(tied: Sequence[TrialRecord], sizes: Mapping[int, int]) -> int | None:
    sized = [record for record in tied if record.number in sizes]
    return min(sized, key=lambda r: (sizes[r.number], r.seconds, r.number)).number if sized else None
