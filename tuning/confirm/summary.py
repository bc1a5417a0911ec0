"""What fresh seeds say of a search's best settings: means, paired differences, who is tied, and the figure over folds.

All differences are to the search's first-ranked trial, which was chosen before a fresh seed was drawn: choosing the
best of the confirmed ones to compare with would favour it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.stats import ALPHA, Interval, Z, holm, paired_t, wilson
from tuning.confirm.runs import Candidate, ConfirmRun
from tuning.journal.predictions import unpack_labels

Outcome = Mapping[str, Any]
"""What tuning.confirm.execution wrote down of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """The winner over cross-validation folds."""

    trial: int
    folds: int
    accuracies: tuple[float, ...]
    """On the test split of each fold that ended well."""
    mean: float
    sd: float
    interval: Interval
    """Wilson's, over the sentences of all folds."""
    sentences: int


def over_folds(ended: Sequence[tuple[ConfirmRun, Mapping[str, Any]]]) -> Folds | None:
    good = [(run, outcome) for run, outcome in ended if "error" not in outcome]
    if len(good) < 2:
        return None
    run = good[0][0]
    accuracies = [outcome["test_accuracy"] for _, outcome in good]
    sentences = sum(outcome["test_sentences"] for _, outcome in good)
    correct = sum(round(outcome["test_accuracy"] * outcome["test_sentences"]) for _, outcome in good)
    return Folds(
        trial=run.trial,
        folds=run.folds or 0,
        accuracies=tuple(accuracies),
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies),
        interval=wilson(correct, sentences),
        sentences=sentences,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Between the first-ranked setting and another one, over the seeds that both have; of accuracies in [0, 1]."""

    mean: float
    """The first's minus this one's."""
    half: float
    """Half the width of the 95% interval over seeds."""
    p: float
    """Two-sided, after Holm's correction for all comparisons."""
    sentences_half: float
    """What the choice of sentences adds: half the width of the 95% interval over them, seeds averaged."""
    pairs: int

    @property
    def tied(self) -> bool:
        """The seeds do not tell the two apart."""
        return self.p >= ALPHA


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRow:
    """One setting over its seeds. Means are None where no run ended well."""

    rank: int | None
    trial: int
    notebook: bool
    seeds: tuple[int, ...]
    val_accuracy: float | None
    test_accuracy: float | None
    sd: float | None
    """Of the accuracy that is compared, over seeds."""
    difference: Difference | None
    """None for the first, and where fewer than two seeds can be compared."""
    n_parameters: int | None
    seconds: float | None
    """Mean of a run."""
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All that is known."""

    study: str
    rows: tuple[SettingRow, ...]
    """The first-ranked setting, then the others by rank; the notebook's is among them."""
    compared: str
    """test, or val where there is no test split."""
    sentences: int | None
    """That are compared on."""
    folds: Folds | None
    missing: tuple[str, ...]
    """Runs without an outcome: their worker died."""


def summarize(study: str, chosen: Sequence[Candidate], runs: Sequence[ConfirmRun], known: Mapping[str, Any]) -> Summary:
    """Put the runs' outcomes together.

    Args:
        study: its name.
        chosen: what is compared, the first-ranked first.
        runs: that were wanted.
        known: the study's user attributes, with an outcome by each run's key.
    """
    outcomes = {run: known[run.key] for run in runs if run.key in known}
    by_trial: dict[int, dict[int, Outcome]] = {contender.record.number: {} for contender in chosen}
    for run, outcome in outcomes.items():
        if run.fold is None:
            by_trial[run.trial][run.seed] = outcome
    good = {trial: {s: o for s, o in found.items() if "error" not in o} for trial, found in by_trial.items()}
    ended = [outcome for found in good.values() for outcome in found.values()]
    compared = "test" if ended and all("test_accuracy" in outcome for outcome in ended) else "val"
    differences = _differences(good, compared)
    return Summary(
        study=study,
        rows=tuple(_row(c, by_trial[c.record.number], compared, differences.get(c.record.number)) for c in chosen),
        compared=compared,
        sentences=ended[0][f"{compared}_sentences"] if ended else None,
        folds=over_folds([(run, outcome) for run, outcome in outcomes.items() if run.fold is not None]),
        missing=tuple(str(run) for run in runs if run not in outcomes),
    )


def _differences(good: Mapping[int, Mapping[int, Outcome]], compared: str) -> dict[int, Difference]:
    """Each trial's against the first one, where two seeds or more can be compared."""
    (first, best), *others = good.items()
    pairs = {trial: [(best[seed], found[seed]) for seed in best if seed in found] for trial, found in others}
    pairs = {trial: each for trial, each in pairs.items() if len(each) > 1}
    name = f"{compared}_accuracy"
    over_seeds = {trial: paired_t([a[name] - b[name] for a, b in each]) for trial, each in pairs.items()}
    p_values = holm([found.p for found in over_seeds.values()])
    return {
        trial: Difference(
            mean=found.mean,
            half=(found.interval.high - found.interval.low) / 2,
            p=float(p),
            sentences_half=_over_sentences(pairs[trial], f"trials {first} and {trial}"),
            pairs=found.pairs,
        )
        for (trial, found), p in zip(over_seeds.items(), p_values, strict=True)
    }


def _over_sentences(pairs: Sequence[tuple[Outcome, Outcome]], where: str) -> float:
    """Half the 95% interval of the mean difference over sentences, each sentence's averaged over the seeds; of a single
    sentence all that it could be."""
    correct = [
        [unpack_labels(each["correct"], f"what fresh runs of {where} got right") for each in pair] for pair in pairs
    ]
    differences = np.mean([one - other for one, other in correct], axis=0)  # (n,)
    return float(Z * differences.std(ddof=1) / len(differences) ** 0.5) if len(differences) > 1 else 1.0


def _row(
    contender: Candidate, found: Mapping[int, Outcome], compared: str, difference: Difference | None
) -> SettingRow:
    good = {seed: outcome for seed, outcome in found.items() if "error" not in outcome}
    scores = [outcome[f"{compared}_accuracy"] for outcome in good.values()]

    def mean(name: str) -> float | None:
        values = [outcome[name] for outcome in good.values() if name in outcome]
        return statistics.fmean(values) if values else None

    return SettingRow(
        rank=contender.rank,
        trial=contender.record.number,
        notebook=contender.notebook,
        seeds=tuple(good),
        val_accuracy=mean("val_accuracy"),
        test_accuracy=mean("test_accuracy"),
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        difference=difference,
        n_parameters=next((outcome["n_parameters"] for outcome in good.values()), None),
        seconds=mean("seconds"),
        errors=tuple(outcome["error"] for outcome in found.values() if "error" in outcome),
    )
