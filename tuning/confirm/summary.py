"""Summary of the runs on fresh seeds: means, paired differences, ties, and the metric over folds.

All differences are to the search's first-ranked trial, which was chosen before any fresh seed was drawn. A comparison
with the best of the confirmed configurations would favour that one.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics import METRICS, Metric
from core.stats import ALPHA, Interval, Z, holm, paired_t, wilson
from tuning.analysis.assessment import MAJORITY, PLAIN
from tuning.confirm.runs import Candidate, ConfirmRun
from tuning.journal.predictions import journal_damage, unpack_labels

MIN_IN_CLASS = 6
"""Number of sentences of a class below which a difference in it proves nothing: all five right instead of wrong has
p = 0.06 in a sign test."""
Outcome = Mapping[str, Any]
"""Recorded result of a run, see tuning.confirm.execution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """One configuration over cross-validation folds."""

    trial: int | str
    """Number of the trial, or the name of a reference."""
    folds: int
    values: tuple[float, ...]
    """The metric on the test split of each fold that did not fail."""
    mean: float
    sd: float
    interval: Interval | None
    """Wilson interval over the sentences of all folds; None if the metric is not accuracy."""
    sentences: int


def summarize_folds(metric: str, ended: Mapping[ConfirmRun, Outcome]) -> tuple[Folds, ...]:
    """Summarize the runs on folds: those of the trials in their order, the plain baseline, the majority class."""
    values: dict[int | str, list[tuple[float, int]]] = {}  # metric and number of sentences of each fold
    for run, outcome in ended.items():
        for name, key in ((PLAIN if run.trial is None else run.trial, f"test_{metric}"), (MAJORITY, "majority_test")):
            if key in outcome:
                values.setdefault(name, []).append((outcome[key], outcome["test_sentences"]))
    count = max((run.folds or 0 for run in ended), default=0)
    order = sorted(values, key=lambda name: (name == MAJORITY, name == PLAIN))
    return tuple(_folds(metric, name, count, values[name]) for name in order if len(values[name]) > 1)


def _folds(metric: str, name: int | str, count: int, found: Sequence[tuple[float, int]]) -> Folds:
    values, sizes = zip(*found, strict=True)
    if metric == "accuracy" and not all(0 <= value <= 1 for value in values):
        raise journal_damage("the study's journal", f"a fold has an accuracy of {max(values, key=abs)}")
    correct = sum(round(value * size) for value, size in found)
    return Folds(
        trial=name,
        folds=count,
        values=values,
        mean=statistics.fmean(values),
        sd=statistics.stdev(values),
        interval=wilson(correct, sum(sizes)) if metric == "accuracy" else None,
        sentences=sum(sizes),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Difference between the first-ranked configuration and another one, over the seeds that both have."""

    mean: float
    """Gain of the first over this one."""
    half: float
    """Half the width of the 95% interval, over seeds and sentences together."""
    p: float
    """Two-sided p-value, after Holm's correction for all configurations; the plain baseline is compared on its own."""
    sentences_half: float | None
    """Part of `half` that is due to the sentences. None if the metric is undefined without some of the sentences, so
    that `half` is over seeds alone."""
    pairs: int
    tied: bool
    """Whether seeds and sentences show no difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRow:
    """One configuration over its seeds.

    Means are None if all runs failed. Those on test are None, too, if there is no test split, or if the metric is
    undefined on it.
    """

    rank: int | None = None
    trial: int | str
    """Number of the trial, or the name of a reference."""
    baseline: bool = False
    recommended: bool = False
    seeds: tuple[int, ...] = ()
    val_metric: float | None
    test_metric: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    sd: float | None = None
    """Standard deviation over seeds of the metric on the compared split."""
    difference: Difference | None
    """Difference to the first; None for the first itself, and with fewer than two seeds to compare."""
    n_parameters: int | None = None
    seconds: float | None
    """Mean training time of a run in seconds."""
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All results of `confirm`."""

    study: str
    metric: str
    """Metric that the study optimises, and that is compared."""
    rows: tuple[ConfirmRow, ...]
    """The first-ranked configuration, then the others by rank, among them the baseline; then the references."""
    compared: str
    """test; val if there is no test split, or if the metric is undefined on it."""
    sentences: int | None
    """Number of sentences in the compared split."""
    rare_part: float = 0.0
    """Part of the metric that classes with fewer than MIN_IN_CLASS sentences decide; it is in each interval."""
    folds: tuple[Folds, ...]
    """Results over folds of the winner, the baseline, the plain baseline and the majority class."""
    plain_sentences: int | None = None
    """Number of training sentences of the plain baseline, if that is a part of them."""
    missing: tuple[str, ...]
    """Runs without a result because their worker died or failed; the same command tries them again."""


def summarize(
    study: str, chosen: Sequence[Candidate], runs: Sequence[ConfirmRun], attributes: Mapping[str, Any]
) -> Summary:
    """Summarize the results of the runs.

    Args:
        study: Name of the study.
        chosen: The configurations to compare, the first-ranked first.
        runs: The planned runs.
        attributes: The study's user attributes, which have the results by key.
    """
    outcomes = {run: attributes[run.key] for run in runs if run.key in attributes}
    by_trial: dict[int, dict[int, Outcome]] = {contender.record.number: {} for contender in chosen}
    for run, outcome in outcomes.items():
        if run.fold is None and run.trial is not None and run.seed is not None:
            by_trial[run.trial][run.seed] = outcome
    good = {trial: {s: o for s, o in found.items() if "error" not in o} for trial, found in by_trial.items()}
    ended = [outcome for found in good.values() for outcome in found.values()]
    metric = METRICS[attributes["spec"]["metric"]]
    compared = "test" if ended and all(f"test_{metric.name}" in outcome for outcome in ended) else "val"
    sentences = ended[0][f"{compared}_sentences"] if ended else 0
    sizes = next((found["class_sentences"] for found in ended if "class_sentences" in found), ())
    rare_part = _part_of_rare_classes(sizes, metric)
    differences = _differences(good, metric, compared, rare_part)
    rows = [_row(c, by_trial[c.record.number], metric, compared, differences.get(c.record.number)) for c in chosen]
    if plain := next((found for run, found in outcomes.items() if run.trial is None and run.fold is None), None):
        first = chosen[0].record.number
        # The plain baseline has no seed: each seed of the search's best is compared with it.
        again = dict.fromkeys(good[first], plain) if f"{compared}_{metric.name}" in plain else {}
        difference = _differences({first: good[first], PLAIN: again}, metric, compared, rare_part).get(PLAIN)
        rows.append(_reference_row(PLAIN, plain, metric, difference))
    majority = attributes["audit"]["majority_baseline"]  # its shares are rounded
    shares = {f"{split}_accuracy": majority[split] for split in ("val", "test") if split in majority}
    exact = {
        f"{split}_{metric.name}": value
        for split in ("val", "test")
        if (value := (plain or {}).get(f"majority_{split}")) is not None
    }
    rows.append(_reference_row(MAJORITY, shares | exact, metric))
    return Summary(
        study=study,
        metric=metric.name,
        rows=tuple(rows),
        compared=compared,
        sentences=sentences or None,
        rare_part=rare_part,
        folds=summarize_folds(metric.name, {run: out for run, out in outcomes.items() if run.fold is not None}),
        plain_sentences=(plain or {}).get("train_sentences"),
        missing=tuple(str(run) for run in runs if run not in outcomes),
    )


def _part_of_rare_classes(sizes: Sequence[int], metric: Metric) -> float:
    """Return how much of the metric classes with fewer than MIN_IN_CLASS of the compared sentences decide.

    Such a class is a C-th of a mean over the C classes that occur. MCC is no mean, and takes the same part.

    Args:
        sizes: Number of compared sentences of each class; empty if no run has succeeded.
        metric: The study's metric.
    """
    present = [size for size in sizes if size]
    if metric.name in ("accuracy", "log_loss") or not present:
        return 0.0
    return sum(size < MIN_IN_CLASS for size in present) / len(present)


def _differences(
    good: Mapping[Any, Mapping[int, Outcome]], metric: Metric, compared: str, rare_part: float
) -> dict[Any, Difference]:
    """Return the difference of the first trial to each other one with which it shares two or more seeds.

    Of each difference, `rare_part` is taken for chance.
    """
    (first, best), *others = good.items()
    pairs = {trial: [(best[seed], found[seed]) for seed in best if seed in found] for trial, found in others}
    pairs = {trial: each for trial, each in pairs.items() if len(each) > 1}
    name = f"{compared}_{metric.name}"
    errors = {trial: _sentence_error(each, metric, f"trials {first} and {trial}") for trial, each in pairs.items()}
    values = {trial: np.array([metric.oriented(a[name] - b[name]) for a, b in each]) for trial, each in pairs.items()}
    chance = {trial: float(np.clip(each.mean(), -rare_part, rare_part)) for trial, each in values.items()}
    found = {
        trial: paired_t(
            list(values[trial] - chance[trial]),
            sentence_error=errors[trial] or 0.0,
            sentences=each[0][0][f"{compared}_sentences"],
        )
        for trial, each in pairs.items()
    }
    p_values = holm([each.p for each in found.values()])
    return {
        trial: Difference(
            mean=each.mean + chance[trial],
            half=(each.interval.high - each.interval.low) / 2 + rare_part,
            p=float(p),
            sentences_half=None if (error := errors[trial]) is None else Z * error,
            pairs=each.pairs,
            tied=bool(p >= ALPHA),
        )
        for (trial, each), p in zip(found.items(), p_values, strict=True)
    }


def _sentence_error(pairs: Sequence[tuple[Outcome, Outcome]], metric: Metric, where: str) -> float | None:
    """Return the standard error over sentences of the difference averaged over seeds.

    It is None if the metric is undefined without some of the sentences, and for a single sentence. The accuracy of a
    single sentence has the error 1.
    """

    def values(outcome: Outcome) -> NDArray[np.float64]:
        if metric.name == "accuracy":
            return unpack_labels(outcome["correct"], f"the correctness of fresh runs of {where}").astype(np.float64)
        return np.array(outcome["pseudo_values"], dtype=np.float64)

    if metric.name != "accuracy" and not all("pseudo_values" in each for pair in pairs for each in pair):
        return None
    found = [values(each) for pair in pairs for each in pair]
    if len({each.shape for each in found}) > 1:
        raise journal_damage(f"the record of fresh runs of {where}", "they have different numbers of sentences")
    differences = np.mean(np.subtract(found[::2], found[1::2]), axis=0)  # (n,), or by group
    return float(differences.std(ddof=1) / len(differences) ** 0.5) if len(differences) > 1 else 1.0


def _row(
    contender: Candidate, found: Mapping[int, Outcome], metric: Metric, compared: str, difference: Difference | None
) -> ConfirmRow:
    good = {seed: outcome for seed, outcome in found.items() if "error" not in outcome}
    values = [outcome[f"{compared}_{metric.name}"] for outcome in good.values()]

    def mean(name: str) -> float | None:
        each = [outcome[name] for outcome in good.values() if name in outcome]
        return statistics.fmean(each) if each else None

    return ConfirmRow(
        rank=contender.rank,
        trial=contender.record.number,
        baseline=contender.baseline,
        recommended=contender.recommended,
        seeds=tuple(good),
        val_metric=mean(f"val_{metric.name}"),
        test_metric=mean(f"test_{metric.name}"),
        val_accuracy=mean("val_accuracy"),
        test_accuracy=mean("test_accuracy"),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        difference=difference,
        n_parameters=next((outcome["n_parameters"] for outcome in good.values()), None),
        seconds=mean("seconds"),
        errors=tuple(outcome["error"] for outcome in found.values() if "error" in outcome),
    )


def _reference_row(name: str, outcome: Outcome, metric: Metric, difference: Difference | None = None) -> ConfirmRow:
    return ConfirmRow(
        trial=name,
        val_metric=outcome.get(f"val_{metric.name}"),
        test_metric=outcome.get(f"test_{metric.name}"),
        val_accuracy=outcome.get("val_accuracy"),
        test_accuracy=outcome.get("test_accuracy"),
        difference=difference,
        seconds=outcome.get("seconds"),
        errors=(outcome["error"],) if "error" in outcome else (),
    )
