"""Assessment of a study's trials from its stored predictions and test evaluations."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.io.text import quoted
from core.metrics import METRICS, Metric
from core.nn.model_size import count_trainable_parameters, multiplications_per_word
from core.stats import ALPHA, Interval, holm, wilson
from tuning.analysis.ensemble import SIZE, EnsembleEstimate, estimate_ensemble, load_plain_probabilities, read_library
from tuning.analysis.recommendation import ONE_CLASS, Recommendation, majority_baseline, useless_trials
from tuning.analysis.selection_bias import FEW_SENTENCES, FIXED, REPEATS, Corrected, Resamples, n_repeats
from tuning.journal.folder import JOURNAL
from tuning.journal.predictions import journal_damage, unpack_labels, unpack_validation_labels
from tuning.journal.probabilities import epoch_name, load_probabilities
from tuning.journal.records import (
    PLAIN_BASELINE,
    RANKED,
    TestEvaluation,
    TrialRecord,
    describe_plain,
    evaluations_on_test,
    is_candidate,
    rank_trials,
    study_attributes,
)

MAX_RESAMPLED_TRIALS = 1000
"""Number of best trials that are resampled; a worse trial would hardly ever be chosen."""
MAX_OUTPUTS = 2**27
"""Maximum work (see Metric.work) of their outputs: for accuracy, 130 trials of 10 epochs on 100,000 sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutResult:
    """Result of a trial or an ensemble on the test split, trained on the training split alone as in the search."""

    accuracy: float
    """Mean over the evaluated seeds."""
    interval: Interval
    """Binomial (Wilson), for one split of this size; more seeds do not make it narrower."""
    metric: float | None
    """Mean of the study's metric over the same seeds; None if a seed's value is not stored, as of accuracy."""
    seeds: int
    members: Mapping[str, float] | None = None
    """Weights of the members of an ensemble, by the number of the trial or PLAIN."""


def held_out_results(
    evaluations: Sequence[TestEvaluation], split: str, records: Sequence[TrialRecord]
) -> dict[int, HeldOutResult]:
    """Return results by trial number; of a seed that was evaluated more than once, the first counts.

    A later one with another number of epochs replaces it: with `patience`, seeds end after different epochs.

    Args:
        evaluations: The study's test evaluations.
        split: The study's split rule; evaluations on other splits, such as folds, do not count.
        records: The study's trials. An evaluation after another number of epochs does not count for their row:
            `confirm` trains a stopped trial to the end, and a study with more trials may train a trial further.
    """
    known = {record.number: record for record in records}
    by_trial: dict[int, dict[int, TestEvaluation]] = {}
    for each in evaluations:
        trial, seed, counts = each["trial"], each["seed"], each["on"] == "train" and each["split"] == split
        if not counts or trial is None or seed is None or (trial in known and not _is_of_row(known[trial], each)):
            continue
        seeds = by_trial.setdefault(trial, {})
        if seed not in seeds or each.get("epochs") != seeds[seed].get("epochs"):
            seeds[seed] = each
    return {trial: _mean_result(list(seeds.values())) for trial, seeds in by_trial.items()}


def _is_of_row(record: TrialRecord, each: TestEvaluation) -> bool:
    """Return whether an evaluation is of the trial as it is now; `patience` ends seeds after different epochs."""
    epochs, length = each.get("epochs"), len(record.epochs)
    if epochs is None or record.state not in RANKED:
        return True
    if record.config["patience"] is None or (record.state != "COMPLETE" and each["seed"] == record.config["seed"]):
        return epochs == length
    # `confirm` trains to the end: of a stopped trial, a seed that ends here does so by chance.
    return record.state == "COMPLETE" or (each["verb"] != "confirm" and epochs <= length)


def _mean_result(found: Sequence[TestEvaluation]) -> HeldOutResult:
    # The result of fmean does not depend on which run ended first.
    mean, n = fmean(each["test_accuracy"] for each in found), int(found[0]["test_sentences"])
    values = [each["test_metric"] for each in found if "test_metric" in each]
    metric = fmean(values) if len(values) == len(found) else None
    seeds, members = len(found), found[-1].get("members")
    return HeldOutResult(accuracy=mean, interval=wilson(mean * n, n), metric=metric, seeds=seeds, members=members)


def evaluations_elsewhere(folder: Path, attributes: Mapping[str, Any]) -> dict[str, int]:
    """Return how often other studies of the same results folder used this study's test split, by their names.

    A study that cannot be read is left out, and so are the uses that a copy of a study has from it.
    """
    fingerprint, known, counts = attributes["test_fingerprint"], evaluations_on_test(attributes), {}
    for journal in sorted(folder.absolute().parent.glob(f"*/{JOURNAL}")):
        if journal.parent == folder.absolute():
            continue
        with contextlib.suppress(UserError):
            others = [each for each in evaluations_on_test(study_attributes(journal.parent)) if each not in known]
            known = [*known, *others]
            counts[journal.parent.name] = sum(each.get("test_fingerprint") == fingerprint for each in others)
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Reference:
    """A simple classifier that the search should beat, on the validation split."""

    name: str
    """PLAIN or MAJORITY."""
    about: str
    """Description of the classifier."""
    predictions: NDArray[np.int64]
    """(n,) predicted classes."""
    metric: str
    """Metric that the study optimises."""
    value: float | None
    """Value of the metric, in its own direction; None if it is undefined."""
    accuracy: float
    interval: Interval
    """Binomial interval (Wilson) of the accuracy. Nothing was chosen by it, so it needs no correction."""


PLAIN, MAJORITY = "plain", "major"
"""Names of the references, in place of the number of a trial."""


def references(attributes: Mapping[str, Any], labels: NDArray[np.int64]) -> tuple[Reference, ...]:
    """Return the references that the study has stored, the plain baseline first.

    Args:
        attributes: The study's user attributes.
        labels: (n,) of the validation split.

    Raises:
        CorruptionError: The stored predictions are damaged.
    """
    metric, n_classes = METRICS[attributes["spec"]["metric"]], len(attributes["validation"]["classes"])

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
        predictions = _unpack(stored["val_predictions"], labels, n_classes, "the plain baseline")
        about = describe_plain(stored.get("train_sentences"))
        found.append(reference(PLAIN, about, predictions, stored.get("val_metric")))
    constant, value = majority_baseline(attributes, labels)
    shares = ", with the shares of the classes in train as probabilities" if metric.needs_probabilities else ""
    about = f"the majority class, always {quoted(attributes['audit']['majority_baseline']['class'])}{shares}"
    return (*found, reference(MAJORITY, about, constant, None if math.isnan(value) else value))


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyAssessment:
    """Assessment of one study."""

    sentences: int | None = None
    """Size of the validation split."""
    n_candidates: int = 0
    """Number of trials from which the best was chosen."""
    corrected: Corrected | None = None
    """Value of the best trial. This and the next three fields are None if the outputs of a trial were not recorded."""
    recommended_corrected: Corrected | None = None
    """Value of the recommended trial; that of the best trial if it is the same."""
    corrected_gain: Corrected | None = None
    """Gain of the best trial over the baseline; None if the baseline is the best, or is not ranked."""
    difference: Corrected | None = None
    """Gain of the recommended trial over the best; None if it is the best."""
    recommended: int | None = None
    """Number of the trial that tuning.analysis.recommendation chooses; None if no trial may be recommended."""
    useless: Mapping[int, str] = field(default_factory=dict)
    """Reason why a trial may not be recommended, by its number: ONE_CLASS or NOT_BETTER."""
    nothing_learned: bool = False
    """Whether no trial is better than always predicting the majority class, or only by selection bias."""
    tied: Mapping[int, bool] = field(default_factory=dict)
    """Whether a paired test finds no difference from the best, by trial number; the best is tied with itself."""
    n_parameters: Mapping[int, int] = field(default_factory=dict)
    """Number of trained parameters by trial number."""
    multiplications: Mapping[int, int] = field(default_factory=dict)
    """Multiplications per word by trial number."""
    held_out: Mapping[int, HeldOutResult] = field(default_factory=dict)
    held_out_ensemble: HeldOutResult | None = None
    """Result of the last ensemble that `ensemble` made; None if it is a single trial, whose result it is."""
    test_evaluations: Sequence[TestEvaluation] = ()
    """All evaluations on a test split."""
    references: Sequence[Reference] = ()
    """The plain baseline and the majority class."""
    gain_over_plain: Corrected | None = None
    """Gain of the best trial over the plain baseline; None without one."""
    ensemble: EnsembleEstimate | None = None
    """The ensemble that tuning.analysis.ensemble selects; None if it selects none, or if nothing was learned."""


def assess(
    records: Sequence[TrialRecord],
    attributes: Mapping[str, Any],
    folder: Path,
    *,
    ensemble_size: int = SIZE,
    max_cost: float | None = None,
) -> StudyAssessment:
    """Compute the assessment from the journal and the stored probabilities.

    Args:
        records: Trials of the study.
        attributes: The study's user attributes, see tuning.journal.records.study_attributes.
        folder: Folder of the study, for its stored probabilities.
        ensemble_size: Number of selections of the ensemble; 0 for no ensemble, which takes most of the time.
        max_cost: Upper bound of the multiplications per word of its members together; None for no bound.

    Raises:
        ConfigError: Each model of the study costs more than `max_cost`.
        CorruptionError: Stored labels, predictions or probabilities are damaged.
        UserError: A later version of sentune recorded a setting that this version lacks.
    """
    labels = unpack_validation_labels(attributes)
    metric, n_classes = METRICS[attributes["spec"]["metric"]], len(attributes["validation"]["classes"])
    majority = float(metric.oriented(majority_baseline(attributes, labels)[1]))
    width, configs = attributes["spec"]["embedding_dim"], {record.number: record.trial_config for record in records}
    shape = attributes["vocabulary"], width, n_classes
    evaluations = evaluations_on_test(attributes)
    own = _resampled_trials(records, metric, metric.work(len(labels), n_classes))
    outputs = {r.number: found for r in own if len(found := _outputs(r, metric, labels, n_classes, folder))}
    shown = {number: found[0] for number, found in outputs.items()}
    if not metric.needs_probabilities:
        stored = ((r.number, validation_predictions(r, labels, n_classes)) for r in own)
        shown = {number: predictions for number, predictions in stored if predictions is not None}
    split = attributes["spec"]["data"]["split"]
    of_split = [each for each in evaluations if each["on"] == "train" and each["split"] == split]
    last = next((each for each in reversed(of_split) if "members" in each), None)
    known = StudyAssessment(
        sentences=len(labels),
        n_candidates=sum(map(is_candidate, records)),
        useless=_with_copies(records, useless_trials(own, majority, shown)),
        n_parameters={number: count_trainable_parameters(each, *shape) for number, each in configs.items()},
        multiplications={number: multiplications_per_word(each, width) for number, each in configs.items()},
        held_out=held_out_results(evaluations, split, records),
        held_out_ensemble=_mean_result([last]) if last and last["trial"] is None else None,
        test_evaluations=evaluations,
        references=references(attributes, labels),
    )
    if not own or own[0].number not in outputs or len(labels) < 2:
        return known
    resampled = [record for record in own if record.number in outputs]
    ordered = sorted(resampled, key=lambda record: (record.best.val_loss if record.best else 0, record.number))
    # For comparison: outputs that no search chose.
    predictions = next((each.predictions for each in known.references if each.name == PLAIN), None)
    plain: NDArray[Any] | None = None
    if predictions is not None and metric.needs_probabilities:
        plain = load_plain_probabilities(folder, predictions, n_classes)
    elif predictions is not None:
        plain = predictions.astype(np.min_scalar_type(n_classes - 1))
    fixed = [] if plain is None else [[plain]]
    resamples = Resamples(
        metric=metric,
        labels=labels,
        n_classes=n_classes,
        trials=[*(record.number for record in ordered), *[FIXED] * len(fixed)],
        outputs=[*(outputs[record.number] for record in ordered), *fixed],
        repeats=n_repeats(len(labels), REPEATS // 4 if metric.needs_probabilities else REPEATS),  # roc_auc is slow
    )
    judged = _conclusions(known, records, own, resamples, majority, complete=len(outputs) == len(own))
    if judged.corrected is None or judged.nothing_learned or not ensemble_size:
        return judged
    members = [record for record in own if known.useless.get(record.number) != ONE_CLASS]
    library = read_library(folder, metric, labels, n_classes, members, known.multiplications, plain=predictions)
    if library is None:
        return judged
    return replace(judged, ensemble=estimate_ensemble(library, resamples, size=ensemble_size, max_cost=max_cost))


def _conclusions(
    known: StudyAssessment,
    records: Sequence[TrialRecord],
    own: Sequence[TrialRecord],
    resamples: Resamples,
    majority: float,
    *,
    complete: bool,
) -> StudyAssessment:
    """Add what follows from the resamples. A trial without outputs prevents corrections: it was a candidate, too."""
    trials = list(resamples.places)
    useful = np.array([number not in known.useless and number != FIXED for number in trials])
    rule = Recommendation(
        resamples=resamples,
        multiplications=np.array([known.multiplications.get(number, 0) for number in trials], dtype=float),
        sizes=np.array([known.n_parameters.get(number, 0) for number in trials], dtype=float),
        useful=useful,
    )
    best, recommended = own[0].number, trials[int(rule(resamples.raw[None])[0])]
    found = replace(known, tied=_tied(records, resamples, best), nothing_learned=not useful.any() and complete)
    if not complete:
        return replace(found, recommended=recommended if useful.any() else None)
    first, chosen = resamples.repeated(resamples.first), resamples.repeated(rule)
    corrected = resamples.corrected(first)
    baseline = next((record.number for record in own if record.origin == "baseline" and record.number != best), None)
    learned = bool(useful.any()) and resamples.metric.oriented(corrected.value) > majority
    rule_differs = learned and recommended != best
    return replace(
        found,
        corrected=corrected,
        corrected_gain=None if baseline is None else resamples.difference(first, resamples.only(baseline)),
        gain_over_plain=resamples.difference(first, resamples.only(FIXED)) if FIXED in trials else None,
        recommended=recommended if learned else None,
        recommended_corrected=(resamples.corrected(chosen) if rule_differs else corrected) if learned else None,
        difference=resamples.difference(chosen, first) if rule_differs else None,
        nothing_learned=not learned,
    )


def _resampled_trials(records: Sequence[TrialRecord], metric: Metric, work: int) -> list[TrialRecord]:
    """Return the best trials that repeat no other: as MAX_RESAMPLED_TRIALS and MAX_OUTPUTS allow, and at least two."""
    own = [record for record in rank_trials(records) if record.copy_of is None][:MAX_RESAMPLED_TRIALS]
    numbers = np.cumsum([work * (1 if metric.needs_probabilities else len(r.epochs)) for r in own])  # see _outputs
    return own[: max(2, int(np.searchsorted(numbers, MAX_OUTPUTS, side="right")))]


def _outputs(
    record: TrialRecord, metric: Metric, labels: NDArray[np.int64], n_classes: int, folder: Path
) -> list[NDArray[Any]]:
    """Return the outputs of the trial's epochs, lowest validation loss first; empty if its best one has none.

    If the metric needs probabilities, they are those of the best epoch: the others' are not kept.
    """
    best = record.best
    if best is None or record.val_predictions is None:
        return []
    if metric.needs_probabilities:
        found = load_probabilities(folder, epoch_name(record.number, best.epoch), len(labels), n_classes)
        return [] if found is None else [found]
    epochs = sorted(zip(record.epochs, record.predictions, strict=False), key=lambda each: each[0].val_loss)
    unpacked = (_unpack(packed, labels, n_classes, f"trial {record.number}") for _, packed in epochs if packed)
    smallest = np.min_scalar_type(n_classes - 1)  # the predictions of many epochs are in memory at once
    return [predictions.astype(smallest) for predictions in unpacked]


def validation_predictions(record: TrialRecord, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64] | None:
    """Return (n,) predicted classes of a trial; None if they were not recorded.

    Raises:
        CorruptionError: They are damaged, or their number differs from that of the (n,) labels.
    """
    packed = record.val_predictions
    return _unpack(packed, labels, n_classes, f"trial {record.number}") if packed else None


def _unpack(packed: Mapping[str, Any], labels: NDArray[np.int64], n_classes: int, who: str) -> NDArray[np.int64]:
    where = f"what {who} predicted"
    predictions = unpack_labels(packed, where, n_classes)
    if predictions.shape != labels.shape:
        raise journal_damage(where, f"{len(predictions)} predictions for {len(labels)} validation sentences")
    return predictions


def _tied(records: Sequence[TrialRecord], resamples: Resamples, best: int) -> dict[int, bool]:
    """Test the paired differences to the best trial (normal, by resampled errors; Holm's correction over all)."""
    leads, errors = resamples.leads(resamples.places[best])
    p_values = [2 * NormalDist().cdf(-float(z)) for z in leads / errors]
    others = [number for number in resamples.places if number not in (best, FIXED)]
    adjusted = holm([p_values[resamples.places[number]] for number in others])
    few = resamples.n < FEW_SENTENCES  # which show no gain either
    tied = {best: True, **{number: few or bool(p >= ALPHA) for number, p in zip(others, adjusted, strict=True)}}
    return _with_copies(records, tied)


def _with_copies(records: Sequence[TrialRecord], found: Mapping[int, Any]) -> dict[int, Any]:
    """Return what was found of trials by number, with the same for the trials that repeat them."""
    originals = {r.number: r.number if r.copy_of is None else r.copy_of for r in rank_trials(records)}
    return {number: found[source] for number, source in originals.items() if source in found}
